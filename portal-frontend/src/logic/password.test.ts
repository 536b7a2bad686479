import { expect, it } from 'vitest';
import { judge } from './password';

it('says how many characters are missing', () => {
  expect(judge('short')).toMatchObject({
    strength: 'short',
    advice: 'Short. Take 12 characters or more: 7 to go.',
  });
});

it('is not fooled by length alone', () => {
  for (const poor of ['aaaaaaaaaaaaaaaa', '123456789012', 'abcabcabcabc', 'abcdefghijklm']) {
    expect(judge(poor).strength, poor).toBe('weak');
  }
});

it('values unrelated words', () => {
  expect(judge('copper lantern willow').strength).toBe('strong');
  expect(judge('lantern-willow').score).toBeGreaterThanOrEqual(2);
});

it('counts characters as people do', () => {
  expect(judge('ÄÖÜäöüßéèêçñ').strength).not.toBe('short');
  expect(judge('🌲🌲🌲').strength).toBe('short');
});

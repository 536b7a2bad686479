import { describe, expect, it } from 'vitest';
import { isWordAt, pickPositions, problemWithWords, readWords } from './recovery';

describe('recovery words', () => {
  it('are read from a numbered list, from lines and from one line alike', () => {
    const expected = ['abandon', 'ability', 'able'];
    expect(readWords('abandon ability able')).toEqual(expected);
    expect(readWords('1. Abandon\n2. ability\n3) ABLE\n')).toEqual(expected);
    expect(readWords('  abandon,ability;\table ')).toEqual(expected);
    expect(readWords(' \n')).toEqual([]);
  });

  it('are counted before they are sent', () => {
    const words = Array.from({ length: 24 }, () => 'zoo');
    expect(problemWithWords(words)).toBeUndefined();
    expect(problemWithWords(words.slice(1))).toBe('1 word is missing.');
    expect(problemWithWords(words.slice(4))).toBe('4 words are missing.');
    expect(problemWithWords([...words, 'zoo'])).toContain('1 too many');
    expect(problemWithWords([])).toContain('24 words');
  });

  it('are asked for at different places of the list', () => {
    for (const random of [0, 0.5, 0.999999]) {
      const positions = pickPositions(24, 3, () => random);
      expect(new Set(positions).size).toBe(3);
      expect(positions.map((position) => Math.floor(position / 8))).toEqual([0, 1, 2]);
    }
  });

  it('are compared as a person would', () => {
    const words = ['abandon', 'ability'];
    expect(isWordAt(words, 1, ' Ability ')).toBe(true);
    expect(isWordAt(words, 1, 'abandon')).toBe(false);
    expect(isWordAt(words, 2, '')).toBe(false);
  });
});

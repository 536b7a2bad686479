import { expect, it } from 'vitest';
import { RECONNECT, waitAfter } from './backoff';

it('doubles, stays under its cap and never becomes a busy loop', () => {
  expect(waitAfter(0, RECONNECT, 0.5)).toBe(0);
  for (const random of [0, 0.5, 0.999]) {
    let before = 0;
    for (let failures = 1; failures < 2_000; failures += 1) {
      const wait = waitAfter(failures, RECONNECT, random);
      expect(wait).toBeGreaterThanOrEqual(500);
      expect(wait).toBeLessThanOrEqual(RECONNECT.cap);
      expect(wait).toBeGreaterThanOrEqual(before);
      before = wait;
    }
  }
});

it('spreads its waits over half of their length', () => {
  expect(waitAfter(3, RECONNECT, 0)).toBe(2_000);
  expect(waitAfter(3, RECONNECT, 0.999)).toBe(3_998);
});

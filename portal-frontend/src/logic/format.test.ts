import { expect, it } from 'vitest';
import { bytes, clock, duration, relative, spoken } from './format';

it('says durations in one unit', () => {
  expect(duration(1)).toBe('1 second');
  expect(duration(59.9)).toBe('59 seconds');
  expect(duration(60)).toBe('1 minute');
  expect(duration(3 * 3600)).toBe('3 hours');
  expect(duration(47 * 3600)).toBe('47 hours');
  expect(duration(49 * 3600)).toBe('2 days');
  expect(duration(-3)).toBe('0 seconds');
});

it('says times from where the reader stands', () => {
  const now = Date.parse('2026-12-01T12:00:00Z');
  expect(relative('2026-12-01T11:57:00Z', now)).toBe('3 minutes ago');
  expect(relative('2026-12-13T12:00:00Z', now)).toBe('in 12 days');
  expect(relative('2026-12-01T12:00:02Z', now)).toBe('just now');
  expect(relative(null, now)).toBeUndefined();
  expect(relative('not a time', now)).toBeUndefined();
});

it('writes sizes as app specifications do', () => {
  expect(bytes(0)).toBe('0 B');
  expect(bytes(999)).toBe('999 B');
  expect(bytes(12_345_678)).toBe('12.3 MB');
  expect(bytes(999_960_000)).toBe('1.0 GB');
  expect(bytes(150_000)).toBe('150 KB');
});

it('counts down in minutes and seconds', () => {
  expect(clock(245)).toBe('4:05');
  expect(clock(0.2)).toBe('0:01');
  expect(clock(-4)).toBe('0:00');
});

it('turns identifiers into words', () => {
  expect(spoken('router-proxy')).toBe('Router proxy');
  expect(spoken('back_off')).toBe('Back off');
});

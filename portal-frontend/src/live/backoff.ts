/** Waits between tries: doubling to a cap, with jitter so that many browsers don't come at once. */
export interface Backoff {
  /** Longest first wait, milliseconds. */
  first: number;
  /** Longest wait ever, milliseconds. */
  cap: number;
}

/** A page someone looks at: the first try comes soon, the cap is what a person waits for. */
export const RECONNECT: Backoff = { first: 1_000, cap: 15_000 };

/** Milliseconds before the try after `failures` failed ones; `random` is in [0, 1). */
export function waitAfter(failures: number, backoff: Backoff, random: number): number {
  if (failures <= 0) return 0;
  const longest = Math.min(backoff.cap, backoff.first * 2 ** Math.min(failures - 1, 16));
  return Math.round(longest / 2 + (longest / 2) * random);
}

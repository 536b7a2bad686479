/** The present, for texts such as `3 minutes ago`. Ticks only while something shows it. */
import { createSubscriber } from 'svelte/reactivity';

const subscribe = createSubscriber((update) => {
  const timer = setInterval(update, 1_000);
  return () => clearInterval(timer);
});

/** Milliseconds since 1970; inside a component it is read again every second. */
export function now(): number {
  subscribe();
  return Date.now();
}

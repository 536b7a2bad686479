/**
 * The life of the link to the device, as a pure function.
 *
 *     idle ──start──▶ connecting ──opened──▶ live
 *                        ▲   │                │
 *                     due│   └──ended──┐  ended│
 *                        │             ▼      ▼
 *                        └────────── waiting
 *
 * `waiting` looks at every noun again before each new try, so a device whose stream can't be had
 * is still seen by polling, with the same back-off.
 */
import { RECONNECT, waitAfter } from './backoff';

export type Link =
  | { state: 'idle' }
  | { state: 'connecting'; failures: number; lostAt: number | undefined }
  | { state: 'live' }
  | { state: 'waiting'; failures: number; lostAt: number; until: number };

export type LinkEvent =
  | { kind: 'start' }
  | { kind: 'stop' }
  | { kind: 'opened' }
  /** The stream ended, was refused or fell silent. */
  | { kind: 'ended' }
  /** The wait is over, or the owner wants it over. */
  | { kind: 'due' };

export type LinkAction =
  | { kind: 'open' }
  | { kind: 'close' }
  /** Look at everything again. */
  | { kind: 'refresh' }
  | { kind: 'wait'; milliseconds: number };

export interface Step {
  link: Link;
  actions: LinkAction[];
}

export function step(link: Link, event: LinkEvent, now: number, random: number): Step {
  switch (event.kind) {
    case 'start':
      if (link.state !== 'idle') return { link, actions: [] };
      return {
        link: { state: 'connecting', failures: 0, lostAt: undefined },
        actions: [{ kind: 'open' }],
      };
    case 'stop':
      return { link: { state: 'idle' }, actions: [{ kind: 'close' }] };
    case 'opened':
      if (link.state !== 'connecting') return { link, actions: [] };
      // Between the last look and this moment something may have changed.
      return { link: { state: 'live' }, actions: [{ kind: 'refresh' }] };
    case 'ended':
      return ended(link, now, random);
    case 'due':
      if (link.state !== 'waiting') return { link, actions: [] };
      return {
        link: { state: 'connecting', failures: link.failures, lostAt: link.lostAt },
        actions: [{ kind: 'refresh' }, { kind: 'open' }],
      };
  }
}

function ended(link: Link, now: number, random: number): Step {
  if (link.state === 'idle' || link.state === 'waiting') return { link, actions: [] };
  const failures = link.state === 'connecting' ? link.failures + 1 : 1;
  const lostAt = link.state === 'connecting' ? (link.lostAt ?? now) : now;
  const milliseconds = waitAfter(failures, RECONNECT, random);
  return {
    link: { state: 'waiting', failures, lostAt, until: now + milliseconds },
    actions: [{ kind: 'wait', milliseconds }],
  };
}

import { describe, expect, it } from 'vitest';
import { step, type Link, type LinkEvent } from './link';

function walk(events: LinkEvent['kind'][]): Link {
  return events.reduce<Link>((link, kind, now) => step(link, { kind }, now, 0.5).link, {
    state: 'idle',
  });
}

describe('the link to the device', () => {
  it('looks at everything again as soon as the stream is open', () => {
    const opened = step(walk(['start']), { kind: 'opened' }, 1, 0.5);
    expect(opened.link).toEqual({ state: 'live' });
    expect(opened.actions).toEqual([{ kind: 'refresh' }]);
  });

  it('remembers since when it is lost, over any number of tries', () => {
    const link = walk(['start', 'opened', 'ended', 'due', 'ended', 'due', 'ended']);
    expect(link).toMatchObject({ state: 'waiting', lostAt: 2, failures: 3 });
  });

  it('polls while it waits, so that a device without a stream is still seen', () => {
    const due = step(walk(['start', 'ended']), { kind: 'due' }, 5, 0.5);
    expect(due.actions).toEqual([{ kind: 'refresh' }, { kind: 'open' }]);
  });

  it('starts over with a short wait after it was live', () => {
    const link = walk(['start', 'ended', 'due', 'ended', 'due', 'opened', 'ended']);
    expect(link).toMatchObject({ state: 'waiting', failures: 1, lostAt: 6 });
  });

  it('stays stopped when a late end arrives', () => {
    expect(walk(['start', 'opened', 'stop', 'ended', 'due', 'opened'])).toEqual({ state: 'idle' });
  });
});

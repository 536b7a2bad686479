import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ProblemError, unreachable } from '../api/problem';
import { connection } from './connection.svelte';
import { Resource } from './resource.svelte';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('a noun on the page', () => {
  it('is looked at once for a burst of hints, and not at all after it left the page', async () => {
    const load = vi.fn(() => Promise.resolve(1));
    const leave = new Resource(load, ['app.changed']).watch();
    await vi.runAllTimersAsync();
    expect(load).toHaveBeenCalledTimes(1);
    for (let hint = 0; hint < 5; hint += 1) connection.refreshAll();
    await vi.runAllTimersAsync();
    expect(load).toHaveBeenCalledTimes(2);
    leave();
    connection.refreshAll();
    await vi.runAllTimersAsync();
    expect(load).toHaveBeenCalledTimes(2);
  });

  it('is looked at again when something changed during a look', async () => {
    const answers: ((value: string) => void)[] = [];
    const noun = new Resource(() => new Promise<string>((resolve) => answers.push(resolve)), []);
    const both = Promise.all([noun.refresh(), noun.refresh(), noun.refresh()]);
    answers[0]?.('old');
    await vi.waitFor(() => expect(answers).toHaveLength(2));
    answers[1]?.('new');
    await both;
    expect(noun.data).toBe('new');
    expect(answers).toHaveLength(2);
  });

  it('keeps what it knew beside the reason why that is old', async () => {
    let reachable = true;
    const noun = new Resource(
      () =>
        reachable ? Promise.resolve('known') : Promise.reject(new ProblemError(unreachable(false))),
      [],
    );
    await noun.refresh();
    reachable = false;
    await noun.refresh();
    expect(noun.data).toBe('known');
    expect(noun.problem?.code).toBe('unreachable');
    reachable = true;
    await noun.refresh();
    expect(noun.problem).toBeUndefined();
  });

  it('does not take an answer that was meant for the last owner', async () => {
    let answer: (value: string) => void = () => undefined;
    const noun = new Resource(() => new Promise<string>((resolve) => (answer = resolve)), []);
    const look = noun.refresh();
    noun.forget();
    answer('of the last owner');
    await look;
    expect(noun.data).toBeUndefined();
  });
});

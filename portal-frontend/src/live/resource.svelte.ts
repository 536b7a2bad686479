/** A noun as this page knows it: loaded, looked at again on hints, never silently old. */
import type { Topic } from '../api/events';
import { problemOf, type Problem } from '../api/problem';
import { connection } from './connection.svelte';

/** A burst of events costs one look. */
const GATHER_MS = 80;

export class Resource<T> {
  #data = $state.raw<T | undefined>();
  #problem = $state.raw<Problem | undefined>();
  #running = false;
  #again = false;
  /** An answer that was asked for before [`forget`] is not taken. */
  #generation = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly load: () => Promise<T>,
    private readonly topics: readonly Topic[],
  ) {}

  /** The last answer; with a `problem` beside it, it is an old one. */
  get data(): T | undefined {
    return this.#data;
  }

  /** Why the last look failed. */
  get problem(): Problem | undefined {
    return this.#problem;
  }

  /** For `$effect`: loads now and keeps looking until the returned function is called. */
  watch(everyMs?: number): () => void {
    const unwatch = connection.watch(this.topics, () => this.hint());
    const tick = (): void => {
      if (document.visibilityState === 'visible') this.hint();
    };
    const clock = everyMs === undefined ? undefined : setInterval(tick, everyMs);
    void this.refresh();
    return () => {
      unwatch();
      clearInterval(clock);
      clearTimeout(this.#timer);
      this.#timer = undefined;
    };
  }

  /** Something may have changed. */
  hint(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.refresh();
    }, GATHER_MS);
  }

  /** Looks once; a look asked for during a look follows it. */
  async refresh(): Promise<void> {
    if (this.#running) {
      this.#again = true;
      return;
    }
    this.#running = true;
    try {
      do {
        this.#again = false;
        await this.#look();
      } while (this.#again);
    } finally {
      this.#running = false;
    }
  }

  /** Takes an answer that came with a mutation. */
  set(data: T): void {
    this.#data = data;
    this.#problem = undefined;
  }

  forget(): void {
    this.#generation += 1;
    this.#data = undefined;
    this.#problem = undefined;
  }

  async #look(): Promise<void> {
    const generation = this.#generation;
    try {
      const data = await this.load();
      if (generation === this.#generation) this.set(data);
    } catch (error) {
      if (generation === this.#generation) this.#problem = problemOf(error);
    }
  }
}

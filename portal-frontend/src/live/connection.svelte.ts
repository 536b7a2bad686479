/** The running link: shell around `link.ts`, and where nouns subscribe to hints. */
import { EVENTS_URL, isTopic, type Topic } from '../api/events';
import { problemOf } from '../api/problem';
import { step, type Link, type LinkEvent } from './link';
import { readStream } from './stream';

type Refresh = () => void;

class Connection {
  #link = $state.raw<Link>({ state: 'idle' });
  #watchers = new Set<{ topics: readonly Topic[]; refresh: Refresh }>();
  #stream: AbortController | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #lastId: string | undefined;
  #paused = false;
  /** Told when the stream is refused because nobody is signed in or the device is locked. */
  onRefused: () => void = () => undefined;

  get link(): Link {
    return this.#link;
  }

  start(): void {
    this.#handle({ kind: 'start' });
  }

  stop(): void {
    this.#paused = false;
    this.#lastId = undefined;
    this.#handle({ kind: 'stop' });
  }

  /** Lets go of the stream while nobody looks; browsers have few connections for all tabs. */
  pause(): void {
    if (this.#link.state === 'idle') return;
    this.#paused = true;
    this.#handle({ kind: 'stop' });
  }

  /** Somebody looks again, and what happened meanwhile was missed. */
  resume(): void {
    if (this.#paused) {
      this.#paused = false;
      this.start();
    } else if (this.#link.state === 'live') this.refreshAll();
    else this.retry();
  }

  /** Tries at once instead of at the end of the wait. */
  retry(): void {
    this.#handle({ kind: 'due' });
  }

  /** Looks at every watched noun again. */
  refreshAll(): void {
    for (const watcher of [...this.#watchers]) watcher.refresh();
  }

  /** Calls `refresh` at each hint about one of `topics`; returns how to stop. */
  watch(topics: readonly Topic[], refresh: Refresh): () => void {
    const watcher = { topics, refresh };
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  #handle(event: LinkEvent): void {
    const { link, actions } = step(this.#link, event, Date.now(), Math.random());
    this.#link = link;
    for (const action of actions) {
      switch (action.kind) {
        case 'open':
          clearTimeout(this.#timer);
          this.#open();
          break;
        case 'close':
          clearTimeout(this.#timer);
          this.#stream?.abort();
          break;
        case 'refresh':
          this.refreshAll();
          break;
        case 'wait':
          clearTimeout(this.#timer);
          this.#timer = setTimeout(() => this.retry(), action.milliseconds);
          break;
      }
    }
  }

  #open(): void {
    const stream = new AbortController();
    this.#stream?.abort();
    this.#stream = stream;
    const handlers = {
      opened: () => this.#handle({ kind: 'opened' }),
      event: (event: { name: string }) => this.#hint(event.name),
    };
    const remember = (id: string | undefined): void => {
      this.#lastId = id;
    };
    readStream(EVENTS_URL, this.#lastId, handlers, stream.signal, remember)
      .catch((error: unknown) => {
        const { status } = problemOf(error);
        if (status === 401 || status === 423) this.onRefused();
      })
      .finally(() => {
        // An older stream that ends late says nothing about the present one.
        if (this.#stream === stream && !stream.signal.aborted) this.#handle({ kind: 'ended' });
      });
  }

  #hint(name: string): void {
    if (name === 'reset') {
      this.#lastId = undefined;
      this.refreshAll();
    } else if (isTopic(name)) {
      for (const watcher of [...this.#watchers]) {
        if (watcher.topics.includes(name)) watcher.refresh();
      }
    }
  }
}

export const connection = new Connection();

/** A glance at another tab is not worth a new connection. */
const PAUSE_AFTER_MS = 30_000;

/** A page that comes back to the front has missed what happened behind it. */
export function followVisibility(): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  document.addEventListener('visibilitychange', () => {
    clearTimeout(timer);
    if (document.visibilityState === 'visible') connection.resume();
    else timer = setTimeout(() => connection.pause(), PAUSE_AFTER_MS);
  });
  window.addEventListener('online', () => connection.resume());
}

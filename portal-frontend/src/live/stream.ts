/** One connection to an event stream, from opening to its end. */
import { ProblemError, parseProblem, unreachable } from '../api/problem';
import { SseParser, type ServerEvent } from './sse';

/** The device sends something every 15 s; three times that is silence. */
const SILENCE_MS = 45_000;
/** To the first byte of the answer. */
const OPEN_MS = 15_000;

export interface StreamHandlers {
  opened(): void;
  event(event: ServerEvent): void;
}

/**
 * Reads until the stream ends. Resolves with the id to resume after when the device closed it;
 * rejects with [`ProblemError`] when it was refused, lost or silent. `signal` ends it at once.
 */
export async function readStream(
  url: string,
  lastId: string | undefined,
  handlers: StreamHandlers,
  signal: AbortSignal,
  remember: (id: string | undefined) => void = () => undefined,
): Promise<void> {
  const ender = new AbortController();
  const end = (): void => ender.abort();
  signal.addEventListener('abort', end, { once: true });
  let timer = setTimeout(end, OPEN_MS);
  const heard = (): void => {
    clearTimeout(timer);
    timer = setTimeout(end, SILENCE_MS);
  };
  try {
    const headers: Record<string, string> = { Accept: 'text/event-stream' };
    if (lastId !== undefined) headers['Last-Event-ID'] = lastId;
    const response = await fetch(url, {
      headers,
      signal: ender.signal,
      credentials: 'same-origin',
      cache: 'no-store',
    });
    if (!response.ok || !response.body) {
      const body = await response.text();
      const retryAfter = response.headers.get('Retry-After');
      throw new ProblemError(parseProblem(response.status, body, retryAfter));
    }
    heard();
    handlers.opened();
    const parser = new SseParser(lastId);
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      heard();
      for (const event of parser.push(decoder.decode(value, { stream: true }))) {
        handlers.event(event);
      }
      remember(parser.lastId);
    }
  } catch (error) {
    if (error instanceof ProblemError) throw error;
    throw new ProblemError(unreachable(ender.signal.aborted && !signal.aborted));
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', end);
    // A stream left half-read would keep its connection.
    ender.abort();
  }
}

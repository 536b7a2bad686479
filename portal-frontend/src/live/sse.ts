/**
 * Parser of an event stream, fed in pieces (HTML Living Standard, 9.2.6 "Interpreting an event
 * stream"). Ours instead of `EventSource`, because that one can't tell a dead connection from a
 * quiet one, hides why it was refused, and forgets its last id when it is made anew.
 */
export interface ServerEvent {
  name: string;
  data: string;
  /** Id to resume after, as of this event. */
  id: string | undefined;
}

export class SseParser {
  #rest = '';
  #name = '';
  #data: string[] = [];
  #afterCarriageReturn = false;

  constructor(
    /** Sent as `Last-Event-ID` by whoever comes back. */
    public lastId: string | undefined = undefined,
  ) {}

  /** Events completed by this piece; an unfinished one waits for the next. */
  push(chunk: string): ServerEvent[] {
    const events: ServerEvent[] = [];
    let text = this.#rest + chunk;
    // CR LF may be cut in two between chunks.
    if (this.#afterCarriageReturn && this.#rest === '' && text.startsWith('\n')) {
      text = text.slice(1);
    }
    if (chunk !== '') this.#afterCarriageReturn = text.endsWith('\r');
    const lines = text.split(/\r\n|\r|\n/);
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      const event = this.#line(line);
      if (event) events.push(event);
    }
    return events;
  }

  #line(line: string): ServerEvent | undefined {
    if (line === '') return this.#dispatch();
    // A comment: the heartbeat.
    if (line.startsWith(':')) return undefined;
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') this.#name = value;
    else if (field === 'data') this.#data.push(value);
    else if (field === 'id' && !value.includes('\0'))
      this.lastId = value === '' ? undefined : value;
    return undefined;
  }

  #dispatch(): ServerEvent | undefined {
    const name = this.#name === '' ? 'message' : this.#name;
    const data = this.#data;
    this.#name = '';
    this.#data = [];
    return data.length === 0 ? undefined : { name, data: data.join('\n'), id: this.lastId };
  }
}

import { describe, expect, it } from 'vitest';
import { SseParser } from './sse';

describe('an event stream', () => {
  it('gives name, data and id of each event', () => {
    const parser = new SseParser();
    expect(parser.push('id: 7-1\nevent: app.changed\ndata: {"app":"demo"}\n\n')).toEqual([
      { name: 'app.changed', data: '{"app":"demo"}', id: '7-1' },
    ]);
  });

  it('is the same however it is cut into pieces', () => {
    const text = 'id: 7-1\r\nevent: a\r\ndata: one\r\ndata: two\r\n\r\n: heartbeat\n\ndata: x\n\n';
    const whole = new SseParser().push(text);
    expect(whole.map((event) => event.data)).toEqual(['one\ntwo', 'x']);
    for (let cut = 0; cut <= text.length; cut += 1) {
      const parser = new SseParser();
      const pieces = [...parser.push(text.slice(0, cut)), ...parser.push(text.slice(cut))];
      expect(pieces, `cut at ${cut}`).toEqual(whole);
    }
    const single = new SseParser();
    expect([...text].flatMap((character) => single.push(character))).toEqual(whole);
  });

  it('ignores heartbeats and events without data', () => {
    expect(new SseParser().push(': heartbeat\n\nevent: nothing\n\n')).toEqual([]);
  });

  it('remembers the last id for whoever comes back', () => {
    const parser = new SseParser('7-3');
    parser.push('data: no id of its own\n\n');
    expect(parser.lastId).toBe('7-3');
    parser.push('id: 7-4\ndata: x\n\n');
    expect(parser.lastId).toBe('7-4');
  });

  it('keeps an id even when the connection ends in mid-event', () => {
    const parser = new SseParser();
    expect(parser.push('id: 7-9\ndata: half')).toEqual([]);
    expect(parser.lastId).toBe('7-9');
  });
});

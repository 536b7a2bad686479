import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { forgetCsrfToken, listenToGate, request } from './http';
import { ProblemError } from './problem';

interface Seen {
  url: string;
  init: RequestInit;
}

/** Answers in order; the last one again and again. */
function device(...answers: [number, object][]): Seen[] {
  const seen: Seen[] = [];
  vi.stubGlobal('fetch', (url: string, init: RequestInit) => {
    const [status, body] = answers[Math.min(seen.length, answers.length - 1)] ?? [500, {}];
    seen.push({ url, init });
    return Promise.resolve(new Response(status === 204 ? null : JSON.stringify(body), { status }));
  });
  return seen;
}

function header(seen: Seen | undefined, name: string): string | null {
  return new Headers(seen?.init.headers).get(name);
}

const gate = vi.fn();

beforeEach(() => {
  forgetCsrfToken();
  gate.mockReset();
  listenToGate(gate);
});
afterEach(() => void vi.unstubAllGlobals());

describe('a mutation', () => {
  it('carries the token, which is asked for once', async () => {
    const seen = device([200, { token: 't1' }], [204, {}]);
    await request('/apps/demo/stop', { method: 'POST' });
    await request('/apps/demo/start', { method: 'POST' });
    expect(seen.map(({ url }) => url)).toEqual([
      '/api/v1/auth/csrf',
      '/api/v1/apps/demo/stop',
      '/api/v1/apps/demo/start',
    ]);
    expect(header(seen[2], 'X-CSRF-Token')).toBe('t1');
  });

  it('is tried once more when the token was renewed elsewhere, and only once', async () => {
    const seen = device(
      [200, { token: 'old' }],
      [403, { code: 'csrf' }],
      [200, { token: 'new' }],
      [204, {}],
    );
    await request('/crypto/lock', { method: 'POST' });
    expect(header(seen[3], 'X-CSRF-Token')).toBe('new');

    forgetCsrfToken();
    const refused = device(
      [200, { token: 'x' }],
      [403, { code: 'csrf' }],
      [200, { token: 'y' }],
      [403, { code: 'csrf' }],
    );
    await expect(request('/crypto/lock', { method: 'POST' })).rejects.toThrow(ProblemError);
    expect(refused).toHaveLength(4);
  });

  it('needs no token where nobody is signed in yet', async () => {
    const seen = device([200, {}]);
    await request('/auth/login', { method: 'POST', json: { password: 'x' } });
    expect(seen).toHaveLength(1);
    expect(header(seen[0], 'Content-Type')).toBe('application/json');
  });
});

describe('a refusal', () => {
  it('leads to the door when the session ended or the device is locked', async () => {
    for (const status of [401, 423]) {
      device([status, { detail: 'no' }]);
      await expect(request('/apps')).rejects.toThrow('no');
      expect(gate).toHaveBeenLastCalledWith(status);
    }
  });

  it('of a wrong password leads nowhere', async () => {
    device([200, { token: 't' }], [401, { field: 'old_password' }]);
    await expect(request('/auth/password', { method: 'POST', json: {} })).rejects.toThrow();
    device([401, { field: 'password' }]);
    await expect(request('/auth/login', { method: 'POST', json: {} })).rejects.toThrow();
    expect(gate).not.toHaveBeenCalled();
  });

  it('can be an answer: a device that is not well says so with 503', async () => {
    device([503, { status: 'fault' }]);
    expect(await request('/health/ready', { answers: [503] })).toEqual({ status: 'fault' });
  });

  it('has words when there is no answer at all', async () => {
    vi.stubGlobal('fetch', () => Promise.reject(new TypeError('network')));
    await expect(request('/apps')).rejects.toMatchObject({ problem: { code: 'unreachable' } });
  });
});

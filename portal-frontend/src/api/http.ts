/** One request to the device. Every other file of this folder is a noun of the API. */
import { ProblemError, parseProblem, unreachable } from './problem';

export const PREFIX = '/api/v1';

/** Most answers come at once; the rest of the time is for a slow path through the relay. */
const PATIENCE_MS = 20_000;
/** Setup, sign-in and lock: one password hash at a time, and volumes to mount or unmount. */
export const LONG_PATIENCE_MS = 90_000;

export interface Call {
  method?: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Sent as JSON. */
  json?: unknown;
  /** Sent as `application/yaml`. */
  yaml?: string;
  headers?: Record<string, string>;
  timeoutMs?: number;
  /** Statuses beside 2xx whose body is the answer and not a problem. */
  answers?: readonly number[];
}

let csrfToken: string | undefined;

/** A new session has a new token. */
export function forgetCsrfToken(): void {
  csrfToken = undefined;
}

type GateListener = (status: 401 | 423) => void;
let onGate: GateListener = () => undefined;

/** Told whenever the device says that nobody is signed in (401) or that it is locked (423). */
export function listenToGate(listener: GateListener): void {
  onGate = listener;
}

/** JSON of an answer. The caller names the type the contract promises. */
export async function request<T>(path: string, call: Call = {}): Promise<T> {
  const response = await send(path, call);
  if (response.status === 204) return undefined as T;
  return (await read(response, (body) => body.json())) as T;
}

export async function requestText(path: string, call: Call = {}): Promise<string> {
  return read(await send(path, call), (body) => body.text());
}

/** Raw response; a refusal is thrown as [`ProblemError`]. */
async function send(path: string, call: Call): Promise<Response> {
  const method = call.method ?? 'GET';
  try {
    return await attempt(path, method, call);
  } catch (error) {
    // The session was renewed elsewhere: its token is another one now.
    if (error instanceof ProblemError && error.problem.code === 'csrf') {
      forgetCsrfToken();
      return attempt(path, method, call);
    }
    throw error;
  }
}

async function attempt(path: string, method: string, call: Call): Promise<Response> {
  const headers: Record<string, string> = { Accept: 'application/json', ...call.headers };
  let body: string | undefined;
  if (call.json !== undefined) {
    headers['Content-Type'] = 'application/json';
    body = JSON.stringify(call.json);
  } else if (call.yaml !== undefined) {
    headers['Content-Type'] = 'application/yaml';
    body = call.yaml;
  }
  if (method !== 'GET' && !isPublic(path)) headers['X-CSRF-Token'] = await csrf();

  const response = await exchange(PREFIX + path, call.timeoutMs ?? PATIENCE_MS, {
    method,
    headers,
    body: body ?? null,
  });
  if (response.ok || call.answers?.includes(response.status)) return response;

  const problem = parseProblem(
    response.status,
    await response.text().catch(() => ''),
    response.headers.get('Retry-After'),
  );
  if (!isPublic(path) && (problem.status === 401 || problem.status === 423)) {
    // A wrong old password is a 401 about a field, not about the session.
    if (problem.field === undefined) onGate(problem.status);
  }
  throw new ProblemError(problem);
}

async function exchange(url: string, timeoutMs: number, init: RequestInit): Promise<Response> {
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), timeoutMs);
  try {
    return await fetch(url, {
      ...init,
      signal: deadline.signal,
      credentials: 'same-origin',
      cache: 'no-store',
    });
  } catch {
    throw new ProblemError(unreachable(deadline.signal.aborted));
  } finally {
    clearTimeout(timer);
  }
}

/** A body cut short is a lost connection. */
async function read<T>(response: Response, take: (body: Response) => Promise<T>): Promise<T> {
  try {
    return await take(response);
  } catch {
    throw new ProblemError(unreachable(false));
  }
}

/** Mutations that need no session and so have no token. */
function isPublic(path: string): boolean {
  return ['/crypto/setup', '/crypto/unlock', '/crypto/reset-password', '/auth/login'].includes(
    path,
  );
}

async function csrf(): Promise<string> {
  csrfToken ??= (await request<{ token: string }>('/auth/csrf')).token;
  return csrfToken;
}

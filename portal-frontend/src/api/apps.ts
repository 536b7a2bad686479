/** Apps, their specs and their logs: `/api/v1/apps`. */
import { PREFIX, request } from './http';

export type AppStatus = 'installing' | 'running' | 'stopped' | 'failed' | 'updating' | 'standby';

export interface Listener {
  name: string;
  guest_port: number;
  host_port: number;
  /** Port on the LAN. */
  public_port: number;
  flow: 'tcp' | 'tls';
  protocol: 'raw' | 'http' | 'websocket' | 'udp';
  remote_ports: number[];
  remote_host: string | null;
  local_url: string;
  remote_url: string | null;
  /** Where its route leads: here, to the leader, or nowhere. */
  mode: 'local' | 'tunnel' | 'none';
  leader?: string | null;
  up?: boolean;
}

export interface App {
  name: string;
  status: AppStatus;
  /** Why it is not running. */
  detail?: string | null;
  image: string;
  /** The owner's own text. */
  spec: string;
  revision?: number;
  installed_at?: string | null;
  can_revert?: boolean;
  /** The job that works on it now. */
  job?: string | null;
  listeners: Listener[];
}

export interface SpecProblem {
  /** `listeners[0].guest_port`. */
  path: string;
  message: string;
}

export interface Validation {
  valid: boolean;
  problems: SpecProblem[];
}

/** What an install would do. */
export interface Plan {
  changes: string[];
  risks: string[];
  leaks: string[];
}

/** Recorded; completion is the job's end. */
export interface Accepted {
  app: string;
  job: string;
}

export type Action = 'start' | 'stop' | 'restart' | 'update' | 'revert';

export function list(): Promise<App[]> {
  return request('/apps');
}

export function show(name: string): Promise<App> {
  return request(`/apps/${encodeURIComponent(name)}`);
}

export function validate(spec: string): Promise<Validation> {
  return request('/apps/validate', { method: 'POST', yaml: spec });
}

export function plan(spec: string): Promise<Plan> {
  return request('/apps/plan', { method: 'POST', yaml: spec });
}

/** The same name again changes the spec; `revision` is the one the owner saw. */
export function install(spec: string, revision?: number): Promise<Accepted> {
  const headers: Record<string, string> =
    revision === undefined ? {} : { 'If-Match': `"${revision}"` };
  return request('/apps', { method: 'POST', yaml: spec, headers });
}

export function act(name: string, action: Action): Promise<Accepted> {
  return request(`/apps/${encodeURIComponent(name)}/${action}`, { method: 'POST' });
}

/** Data is kept unless `purge`. */
export function remove(name: string, purge: boolean): Promise<Accepted> {
  const query = purge ? '?purge=true' : '';
  return request(`/apps/${encodeURIComponent(name)}${query}`, { method: 'DELETE' });
}

/** Address of the log stream: one event a line, its sequence number as id. */
export function logStream(name: string, tail: number, since: string | undefined): string {
  const after = since === undefined ? '' : `&since=${encodeURIComponent(since)}`;
  return `${PREFIX}/apps/${encodeURIComponent(name)}/logs?tail=${tail}&follow=true${after}`;
}

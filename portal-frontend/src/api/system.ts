/** The device itself and the processes it is made of: `/api/v1/system`. */
import { request } from './http';

export interface Identity {
  id: string;
  hostname: string;
  os: string;
  kernel: string;
  architecture: string;
  /** Bytes. */
  memory: number;
  booted_at: string | null;
  clock_synchronised: boolean;
}

export interface System {
  version: string;
  /** Seconds. */
  uptime: number;
  identity: Identity | null;
  control: { rev: number; checksum: string; verified_at: string | null } | null;
  portal?: { http: string; https: string; lan_fingerprint: string } | null;
}

export type UnitState =
  | 'stopped'
  | 'waiting'
  | 'starting'
  | 'ready'
  | 'stopping'
  | 'back_off'
  | 'degraded'
  | 'misconfigured';

export interface Unit {
  name: string;
  state: UnitState;
  for_seconds: number;
  pid: number | null;
  restarts: number;
  /** Bytes. */
  memory: number | null;
  last_exit: string | null;
  status: string | null;
  last_lines: string[];
}

export function show(): Promise<System> {
  return request('/system');
}

export function services(): Promise<Unit[]> {
  return request('/system/services');
}

/** Remote access through a relay: `/api/v1/remote`. */
import type { Certificate } from './certificates';
import { request } from './http';

export type RemoteState = 'disabled' | 'connecting' | 'connected' | 'error';

export interface Relay {
  endpoint: string;
  state: RemoteState;
  round_trip_ms: number | null;
  streams: number;
  bytes_in: number;
  bytes_out: number;
}

export interface RemoteListener {
  app: string;
  name: string;
  remote_host: string;
  /** Does the live session claim the name? */
  claimed: boolean;
}

export interface RemoteStatus {
  state: RemoteState;
  /** RFC 3339, as the other times. */
  since: string | null;
  endpoint: string | null;
  portal_hostname: string | null;
  tld: string | null;
  relays: Relay[];
  last_error: string | null;
  next_attempt: string | null;
  listeners: RemoteListener[];
  certificates: Certificate[];
}

export interface RemoteConfiguration {
  /** `wss://relay.example.com:8443/connect`. */
  endpoint: string;
  device_secret: string;
  tld: string;
  portal_hostname: string;
  acme_email?: string;
}

export function status(): Promise<RemoteStatus> {
  return request('/remote/status');
}

export function configure(configuration: RemoteConfiguration): Promise<RemoteStatus> {
  return request('/remote/configure', { method: 'POST', json: configuration });
}

/** Switches remote access off; the configuration is kept. */
export function disable(): Promise<void> {
  return request('/remote/disable', { method: 'POST' });
}

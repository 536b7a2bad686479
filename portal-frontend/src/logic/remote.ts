/** Remote access in plain words. Pure. */
import type { Certificate } from '../api/certificates';
import type { RemoteStatus } from '../api/remote';
import { count, duration, relative } from './format';
import type { Tone } from './tone';

export interface Words {
  tone: Tone;
  title: string;
  detail: string;
}

export function describe(remote: RemoteStatus, now: number): Words {
  switch (remote.state) {
    case 'disabled':
      return {
        tone: 'quiet',
        title: remote.endpoint === null ? 'Not set up' : 'Switched off',
        detail: 'Your apps are reachable in your own network only.',
      };
    case 'connecting':
      return {
        tone: 'busy',
        title: 'Connecting',
        detail: `Calling the relay${host(remote)}.`,
      };
    case 'connected':
      return {
        tone: 'ok',
        title: 'Connected',
        detail: `Your apps are reachable from anywhere${since(remote, now)}.`,
      };
    case 'error':
      return {
        tone: 'warn',
        title: 'Not connected',
        detail: `${remote.last_error ?? 'The relay can’t be reached.'}${nextTry(remote, now)}`,
      };
  }
}

/** The inventory in one sentence; `undefined` when there is nothing to say. */
export function describeCertificates(certificates: readonly Certificate[]): Words | undefined {
  if (certificates.length === 0) return undefined;
  const bad = certificates.filter((one) => one.status === 'failed' || one.status === 'expired');
  const first = bad[0];
  if (first) {
    const more = bad.length > 1 ? ` and ${bad.length - 1} more` : '';
    return {
      tone: 'warn',
      title: 'A certificate is missing',
      detail: `${first.id}${more}: ${first.last_error ?? 'the certificate has expired.'}`,
    };
  }
  const pending = certificates.filter((one) => one.status === 'pending');
  if (pending.length > 0) {
    return {
      tone: 'busy',
      title: 'Getting certificates',
      detail: `Waiting for ${pending.map((one) => one.id).join(', ')}.`,
    };
  }
  return {
    tone: 'ok',
    title: 'Certificates are valid',
    detail: `${count(certificates.length, 'certificate')}, renewed by the device itself.`,
  };
}

function host(remote: RemoteStatus): string {
  if (remote.endpoint === null) return '';
  try {
    return ` at ${new URL(remote.endpoint).host}`;
  } catch {
    return ` at ${remote.endpoint}`;
  }
}

function since(remote: RemoteStatus, now: number): string {
  const time = remote.since === null ? Number.NaN : Date.parse(remote.since);
  return Number.isNaN(time) ? '' : `, for ${duration((now - time) / 1000)} now`;
}

function nextTry(remote: RemoteStatus, now: number): string {
  const next = relative(remote.next_attempt, now);
  if (next === undefined) return '';
  // A time that has just passed is a try that goes on.
  return next.startsWith('in') ? ` Next try ${next}.` : ' Trying again now.';
}

import { describe as group, expect, it } from 'vitest';
import type { Certificate } from '../api/certificates';
import type { RemoteStatus } from '../api/remote';
import { firstSteps } from './first-steps';
import { describe, describeCertificates } from './remote';

const now = Date.parse('2026-12-01T12:00:00Z');

function remote(changes: Partial<RemoteStatus> = {}): RemoteStatus {
  return {
    state: 'connected',
    since: '2026-12-01T11:00:00Z',
    endpoint: 'wss://relay.example.com:8443/connect',
    portal_hostname: 'home.example.com',
    tld: 'example.com',
    relays: [],
    last_error: null,
    next_attempt: null,
    listeners: [],
    certificates: [],
    ...changes,
  };
}

function certificate(changes: Partial<Certificate> = {}): Certificate {
  return {
    id: 'demo.example.com',
    domains: ['demo.example.com'],
    status: 'valid',
    issuer: 'Test CA',
    issued_at: null,
    expires_at: null,
    next_attempt: null,
    last_error: null,
    ...changes,
  };
}

group('remote access in plain words', () => {
  it('tells what was never set up from what was switched off', () => {
    expect(describe(remote({ state: 'disabled', endpoint: null }), now).title).toBe('Not set up');
    expect(describe(remote({ state: 'disabled' }), now).title).toBe('Switched off');
  });

  it('says for how long it is connected', () => {
    expect(describe(remote(), now).detail).toContain('for 1 hour now');
  });

  it('says why it is not connected and when it tries again', () => {
    const words = describe(
      remote({
        state: 'error',
        last_error: 'The relay refused the device secret.',
        next_attempt: '2026-12-01T12:00:30Z',
      }),
      now,
    );
    expect(words.tone).toBe('warn');
    expect(words.detail).toBe('The relay refused the device secret. Next try in 30 seconds.');
  });
});

group('certificates in one sentence', () => {
  it('a failing one comes before everything else', () => {
    const words = describeCertificates([
      certificate(),
      certificate({ status: 'pending', id: 'a.example.com' }),
      certificate({ status: 'failed', id: 'b.example.com', last_error: 'the CA is down' }),
    ]);
    expect(words).toMatchObject({ tone: 'warn', detail: 'b.example.com: the CA is down' });
  });

  it('a renewal under way is nothing to worry about', () => {
    expect(describeCertificates([certificate({ status: 'renewing' })])?.tone).toBe('ok');
  });

  it('nothing is said when there are none', () => {
    expect(describeCertificates([])).toBeUndefined();
  });
});

group('first steps', () => {
  it('are done only when all three are', () => {
    expect(firstSteps([], remote(), true).allDone).toBe(false);
    expect(firstSteps([], remote({ state: 'error' }), false)).toEqual({
      remote: false,
      app: false,
      opened: false,
      allDone: false,
    });
  });
});

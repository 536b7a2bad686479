/** Setup, lock state and recovery: `/api/v1/crypto`. */
import { LONG_PATIENCE_MS, forgetCsrfToken, request } from './http';

export interface CryptoStatus {
  /** Is there an owner? */
  initialized: boolean;
  locked: boolean;
}

export interface RecoveryWords {
  /** 24 words, shown once. */
  recovery_key: string[];
}

export function status(): Promise<CryptoStatus> {
  return request('/crypto/status');
}

/** Sets the owner's password; leaves the device unlocked and this browser signed in. */
export async function setup(password: string): Promise<RecoveryWords> {
  forgetCsrfToken();
  return request('/crypto/setup', {
    method: 'POST',
    json: { password },
    timeoutMs: LONG_PATIENCE_MS,
  });
}

/** Ends every session, stops apps and forgets the keys. */
export async function lock(): Promise<void> {
  await request('/crypto/lock', { method: 'POST', timeoutMs: LONG_PATIENCE_MS });
  forgetCsrfToken();
}

/** `recoveryKey`: 24 words with single spaces. Ends every session. */
export async function resetPassword(recoveryKey: string, newPassword: string): Promise<void> {
  await request('/crypto/reset-password', {
    method: 'POST',
    json: { recovery_key: recoveryKey, new_password: newPassword },
    timeoutMs: LONG_PATIENCE_MS,
  });
  forgetCsrfToken();
}

/** New words; the old ones stop working at once. */
export function generateRecoveryKey(password: string): Promise<RecoveryWords> {
  return request('/crypto/recovery-key/generate', {
    method: 'POST',
    json: { password },
    timeoutMs: LONG_PATIENCE_MS,
  });
}

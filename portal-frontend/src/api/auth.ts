/** Sign-in and the owner's password: `/api/v1/auth`. */
import { LONG_PATIENCE_MS, forgetCsrfToken, request } from './http';

export interface Session {
  authenticated: boolean;
  /** RFC 3339. */
  expires_at: string | null;
  locked: boolean;
}

export function session(): Promise<Session> {
  return request('/auth/session');
}

/** Signs in; a locked device is unlocked by it. */
export async function login(password: string): Promise<void> {
  forgetCsrfToken();
  await request('/auth/login', {
    method: 'POST',
    json: { password },
    timeoutMs: LONG_PATIENCE_MS,
  });
}

export async function logout(): Promise<void> {
  await request('/auth/logout', { method: 'POST' });
  forgetCsrfToken();
}

/** Ends all other sessions; this browser gets a new one. */
export async function changePassword(oldPassword: string, newPassword: string): Promise<void> {
  await request('/auth/password', {
    method: 'POST',
    json: { old_password: oldPassword, new_password: newPassword },
    timeoutMs: LONG_PATIENCE_MS,
  });
  forgetCsrfToken();
}

/** Certificates of the portal and the listeners: `/api/v1/remote/certificates`. */
import { request } from './http';

export type CertificateStatus = 'pending' | 'valid' | 'renewing' | 'failed' | 'expired';

export interface Certificate {
  id: string;
  domains: string[];
  status: CertificateStatus;
  issuer: string | null;
  /** RFC 3339, as the other times. */
  issued_at: string | null;
  expires_at: string | null;
  next_attempt: string | null;
  last_error: string | null;
}

export async function list(): Promise<Certificate[]> {
  return (await request<{ certificates: Certificate[] }>('/remote/certificates')).certificates;
}

export function renew(id: string): Promise<{ job: string }> {
  return request(`/remote/certificates/${encodeURIComponent(id)}/renew`, { method: 'POST' });
}

/** Work that outlives its request: `/api/v1/jobs`. */
import { request } from './http';
import type { Problem } from './problem';

export interface Job {
  id: string;
  /** `app.install`, `certificate.renew`. */
  kind: string;
  /** What it works on: `app demo`. */
  subject?: string;
  /** What it does right now. */
  stage: string;
  /** 0 to 100. */
  progress: number;
  /** RFC 3339. */
  started: string | null;
  finished: string | null;
  error: Problem | null;
  children: string[];
}

export function show(id: string): Promise<Job> {
  return request(`/jobs/${encodeURIComponent(id)}`);
}

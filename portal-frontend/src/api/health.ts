/** How the device is: `/api/v1/health`. */
import { request } from './http';

export type Level = 'ok' | 'warn' | 'error';

export interface Component {
  name: string;
  level: Level;
  /** For the owner; at `warn` and `error` it ends with the next step. */
  message: string;
  role?: string;
  since: string | null;
}

export type Readiness = 'ready' | 'locked' | 'setup' | 'starting' | 'fault';

export interface Health {
  status: Readiness;
  ready: boolean;
  components: Component[];
}

/** Answers whoever asks; a device that is not well says so with 503 and the same body. */
export function ready(): Promise<Health> {
  return request('/health/ready', { answers: [503] });
}

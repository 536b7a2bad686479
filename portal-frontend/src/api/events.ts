/** The event stream: `/api/v1/events`. Every event is a hint; listing restores the truth. */
import { PREFIX } from './http';

export const EVENTS_URL = `${PREFIX}/events`;

export const TOPICS = [
  'lock.changed',
  'leadership.changed',
  'volume.changed',
  'app.changed',
  'endpoint.changed',
  'route.changed',
  'remote.changed',
  'certificate.changed',
  'job.progressed',
  'update.changed',
  'health.changed',
  'device.changed',
] as const;

export type Topic = (typeof TOPICS)[number];

export function isTopic(name: string): name is Topic {
  return (TOPICS as readonly string[]).includes(name);
}

/** What several pages look at, each known once. */
import * as appsApi from '../api/apps';
import * as healthApi from '../api/health';
import * as remoteApi from '../api/remote';
import * as systemApi from '../api/system';
import { Resource } from '../live/resource.svelte';

export const apps = new Resource(appsApi.list, [
  'app.changed',
  'endpoint.changed',
  'route.changed',
  'remote.changed',
  'leadership.changed',
]);

export const remote = new Resource(remoteApi.status, [
  'remote.changed',
  'certificate.changed',
  'endpoint.changed',
]);

export const health = new Resource(healthApi.ready, [
  'health.changed',
  'lock.changed',
  'leadership.changed',
]);

export const system = new Resource(systemApi.show, ['device.changed', 'update.changed']);

export const units = new Resource(systemApi.services, ['health.changed']);

/** The next owner of this browser tab sees nothing of the last one. */
export function forgetNouns(): void {
  for (const noun of [apps, remote, health, system, units]) noun.forget();
}

/** What a new owner still has to do. Pure. */
import type { App } from '../api/apps';
import type { RemoteStatus } from '../api/remote';

export interface FirstSteps {
  remote: boolean;
  app: boolean;
  opened: boolean;
  allDone: boolean;
}

/** `openedOutside`: an app was opened at its remote address, or this page was. */
export function firstSteps(
  apps: readonly App[],
  remote: RemoteStatus,
  openedOutside: boolean,
): FirstSteps {
  const steps = {
    remote: remote.state === 'connected',
    app: apps.some((app) => app.status === 'running'),
    opened: openedOutside,
  };
  return { ...steps, allDone: steps.remote && steps.app && steps.opened };
}

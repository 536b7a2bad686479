/** Whether this owner has ever opened an app from outside; remembered by the browser. */
import type { RemoteStatus } from '../api/remote';

const KEY = 'piccolo.opened-outside';
const HIDDEN = 'piccolo.first-steps-hidden';

function read(key: string): boolean {
  try {
    return window.localStorage.getItem(key) === 'yes';
  } catch {
    return false;
  }
}

function write(key: string): void {
  try {
    window.localStorage.setItem(key, 'yes');
  } catch {
    // A browser without storage asks again next time.
  }
}

class OpenedOutside {
  #opened = $state(read(KEY));
  #hidden = $state(read(HIDDEN));

  get opened(): boolean {
    return this.#opened;
  }

  get hidden(): boolean {
    return this.#hidden;
  }

  remember(): void {
    this.#opened = true;
    write(KEY);
  }

  hide(): void {
    this.#hidden = true;
    write(HIDDEN);
  }

  /** This page itself came through the relay. */
  isHere(remote: RemoteStatus): boolean {
    return window.location.hostname === remote.portal_hostname;
  }
}

export const openedOutside = new OpenedOutside();

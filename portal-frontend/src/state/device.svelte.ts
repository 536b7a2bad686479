/** Whose turn it is: the owner-to-be's, the lock's, the visitor's or the owner's. */
import * as auth from '../api/auth';
import * as crypto from '../api/crypto';
import { problemOf, type Problem } from '../api/problem';

export type Phase =
  | { name: 'unknown' }
  /** No answer, or one that says the store can't be opened. */
  | { name: 'unavailable'; problem: Problem }
  | { name: 'setup' }
  | { name: 'locked' }
  | { name: 'signed-out' }
  | { name: 'signed-in' };

class Device {
  #phase = $state.raw<Phase>({ name: 'unknown' });
  /** Recovery words that were made in this page and not yet confirmed. */
  #words = $state.raw<string[] | undefined>();
  #running: Promise<void> | undefined;

  get phase(): Phase {
    return this.#phase;
  }

  get words(): string[] | undefined {
    return this.#words;
  }

  /** Words stay on the screen, whatever the phase, until the owner has confirmed them. */
  showWords(words: string[]): void {
    this.#words = words;
  }

  forgetWords(): void {
    this.#words = undefined;
  }

  /** Asks the device. Questions asked at the same time share one answer. */
  refresh(): Promise<void> {
    this.#running ??= this.#look().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #look(): Promise<void> {
    try {
      const { initialized, locked } = await crypto.status();
      if (!initialized) this.#enter({ name: 'setup' });
      else if (locked) this.#enter({ name: 'locked' });
      else {
        const { authenticated } = await auth.session();
        this.#enter({ name: authenticated ? 'signed-in' : 'signed-out' });
      }
    } catch (error) {
      const problem = problemOf(error);
      // Who is in the middle of something keeps the page; the banner tells of the lost connection.
      if (this.#phase.name === 'signed-in' && problem.code !== 'store_fault') return;
      this.#enter({ name: 'unavailable', problem });
    }
  }

  #enter(phase: Phase): void {
    // The same phase again must not rebuild the page under the owner's hands.
    if (phase.name !== this.#phase.name || phase.name === 'unavailable') this.#phase = phase;
  }
}

export const device = new Device();

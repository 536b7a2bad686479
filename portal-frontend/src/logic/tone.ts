/** How a state should feel, and the words for the states the API names. Pure. */
import type { AppStatus, Listener } from '../api/apps';
import type { CertificateStatus } from '../api/certificates';
import type { Health, Level } from '../api/health';
import type { UnitState } from '../api/system';
import { count, spoken } from './format';

export type Tone = 'ok' | 'warn' | 'error' | 'quiet' | 'busy';

export interface Said {
  tone: Tone;
  text: string;
}

const APPS: Record<AppStatus, Said> = {
  installing: { tone: 'busy', text: 'Installing' },
  running: { tone: 'ok', text: 'Running' },
  stopped: { tone: 'quiet', text: 'Stopped' },
  failed: { tone: 'error', text: 'Failed' },
  updating: { tone: 'busy', text: 'Updating' },
  standby: { tone: 'quiet', text: 'Standby' },
};

const CERTIFICATES: Record<CertificateStatus, Said> = {
  pending: { tone: 'busy', text: 'On its way' },
  valid: { tone: 'ok', text: 'Valid' },
  renewing: { tone: 'ok', text: 'Renewing' },
  failed: { tone: 'error', text: 'Failed' },
  expired: { tone: 'error', text: 'Expired' },
};

const UNITS: Record<UnitState, Said> = {
  stopped: { tone: 'quiet', text: 'Stopped' },
  waiting: { tone: 'busy', text: 'Waiting' },
  starting: { tone: 'busy', text: 'Starting' },
  ready: { tone: 'ok', text: 'Ready' },
  stopping: { tone: 'busy', text: 'Stopping' },
  back_off: { tone: 'warn', text: 'Restarting' },
  degraded: { tone: 'error', text: 'Keeps failing' },
  misconfigured: { tone: 'error', text: 'Misconfigured' },
};

const LEVELS: Record<Level, Said> = {
  ok: { tone: 'ok', text: 'Well' },
  warn: { tone: 'warn', text: 'Attention' },
  error: { tone: 'error', text: 'Broken' },
};

const MODES: Record<Listener['mode'], Said> = {
  local: { tone: 'ok', text: 'Served here' },
  tunnel: { tone: 'warn', text: 'Served by the leader' },
  none: { tone: 'quiet', text: 'Not routed' },
};

/** A state this portal has not heard of is shown as it is. */
function say(words: Record<string, Said>, state: string): Said {
  return words[state] ?? { tone: 'quiet', text: state };
}

export const ofApp = (status: AppStatus): Said => say(APPS, status);
export const ofCertificate = (status: CertificateStatus): Said => say(CERTIFICATES, status);
export const ofUnit = (state: UnitState): Said => say(UNITS, state);
export const ofLevel = (level: Level): Said => say(LEVELS, level);
export const ofMode = (mode: Listener['mode']): Said => say(MODES, mode);

/** Components by what they do for the owner; the others by their own name. */
const PARTS: Record<string, string> = {
  store: 'Sealed store',
  apps: 'Apps',
  engine: 'Container engine',
  'router-proxy': 'Router',
  'nexus-agent': 'Tunnel',
  acme: 'Certificates',
  host: 'Host',
  fuse: 'Encrypted volumes',
  'health-api': 'Portal',
};

export function partName(component: string): string {
  return PARTS[component] ?? spoken(component);
}

/** The device in one headline. */
export function headline(health: Health): Said {
  const attention = health.components.filter((component) => component.level !== 'ok').length;
  switch (health.status) {
    case 'ready':
      return attention === 0
        ? { tone: 'ok', text: 'Everything is well' }
        : { tone: 'warn', text: `Running, with ${count(attention, 'thing')} to look at` };
    case 'starting':
      return { tone: 'busy', text: 'Starting up' };
    case 'locked':
    case 'setup':
      return { tone: 'quiet', text: 'Locked' };
    case 'fault':
      return { tone: 'error', text: 'Something is broken' };
  }
}

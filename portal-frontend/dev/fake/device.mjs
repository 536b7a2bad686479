/** The state of the device that is not there, and what the API says of it. */
import { emit } from './stream.mjs';

export const WORDS = (
  'copper lantern willow harbor violin meadow pencil garden silver window orbit maple ' +
  'candle river puzzle velvet anchor forest marble thunder cotton bridge planet summer'
).split(' ');

const ready = process.argv.includes('--ready');
export const isoNow = (offsetSeconds = 0) =>
  new Date(Date.now() + offsetSeconds * 1000).toISOString();

export const state = {
  password: ready ? 'copper lantern willow' : undefined,
  locked: true,
  sessions: new Set(),
  failures: 0,
  blockedUntil: 0,
  remote: undefined,
  weather: { health: 'fine', remote: 'connected', stream: 'up' },
  apps: new Map(),
  jobs: new Map(),
  certificates: new Map(),
  nextPort: 35_000,
  started: Date.now(),
};
if (ready) {
  configure({
    endpoint: 'wss://relay.example.com:8443/connect',
    tld: 'example.com',
    portal_hostname: 'home.example.com',
  });
  for (const name of ['photos', 'notes']) addApp(name, specOf(name), 'running');
  state.apps.get('notes').status = 'stopped';
}

function specOf(name) {
  return `name: ${name}\nimage: localhost/${name}:1.0\nlisteners:\n  - name: ${name}\n    guest_port: 80\n    protocol: http\n`;
}

export function configure({ endpoint, tld, portal_hostname: portalHostname }) {
  state.remote = { endpoint, tld, portal_hostname: portalHostname, since: isoNow(), enabled: true };
  certify(portalHostname);
  for (const app of state.apps.values()) certify(`${app.listener}.${tld}`);
}

export function certify(host) {
  const pending = {
    id: host,
    domains: [host],
    status: 'pending',
    issuer: null,
    issued_at: null,
    expires_at: null,
    next_attempt: null,
    last_error: null,
  };
  state.certificates.set(host, pending);
  setTimeout(
    () => {
      state.certificates.set(host, {
        ...pending,
        status: 'valid',
        issuer: 'Pebble Intermediate CA',
        issued_at: isoNow(),
        expires_at: isoNow(90 * 86_400),
      });
      emit('certificate.changed', { host, status: 'valid' });
    },
    ready ? 0 : 2_500,
  );
}

export function addApp(name, spec, status) {
  const listener = /listeners:\s*\n\s*- name: (\S+)/.exec(spec)?.[1] ?? name;
  const known = state.apps.get(name);
  const app = {
    name,
    spec,
    status,
    listener,
    image: /image: (\S+)/.exec(spec)?.[1] ?? '?',
    port: known?.port ?? state.nextPort++,
    revision: (known?.revision ?? 0) + 1,
    installed_at: isoNow(),
    can_revert: known !== undefined,
    job: null,
  };
  state.apps.set(name, app);
  return app;
}

export function viewOfApp(app) {
  const remote = state.remote?.enabled ? state.remote : undefined;
  const host = `${app.listener}.${remote?.tld}`;
  const { listener, port: publicPort, ...rest } = app;
  return {
    ...rest,
    detail: app.status === 'failed' ? 'The container ended with code 1.' : null,
    generation: 1,
    listeners: [
      {
        name: listener,
        guest_port: 80,
        host_port: publicPort - 20_000,
        public_port: publicPort,
        flow: 'tcp',
        protocol: 'http',
        remote_ports: [80, 443],
        remote_host: remote ? host : null,
        local_url: `http://127.0.0.1:${publicPort}/`,
        remote_url: remote ? `https://${host}/` : null,
        mode: app.status === 'running' ? 'local' : 'none',
        leader: null,
        up: app.status === 'running',
      },
    ],
  };
}

export function viewOfRemote() {
  const { remote, weather } = state;
  const tunnel = !remote?.enabled ? 'disabled' : weather.remote;
  const base = {
    endpoint: remote?.endpoint ?? null,
    portal_hostname: remote?.portal_hostname ?? null,
    tld: remote?.tld ?? null,
  };
  return {
    ...base,
    state: tunnel,
    since: remote?.since ?? null,
    relays: remote
      ? [
          {
            endpoint: remote.endpoint,
            state: tunnel,
            since: remote.since,
            round_trip_ms: tunnel === 'connected' ? 18.42 : null,
            streams: 2,
            bytes_in: 48_211,
            bytes_out: 5_902_118,
            hostnames: [],
          },
        ]
      : [],
    last_error: tunnel === 'error' ? 'The relay at relay.example.com:8443 does not answer.' : null,
    next_attempt: tunnel === 'error' ? isoNow(20) : null,
    listeners: remote
      ? [...state.apps.values()].map((app) => ({
          app: app.name,
          name: app.listener,
          remote_host: `${app.listener}.${remote.tld}`,
          claimed: tunnel === 'connected',
        }))
      : [],
    certificates: remote ? [...state.certificates.values()] : [],
  };
}

export function viewOfHealth() {
  const since = new Date(state.started).toISOString();
  const component = (name, level, message) => ({ name, level, message, since });
  const fault = state.weather.health === 'fault';
  const components = [
    component('store', 'ok', 'All records verify.'),
    component('apps', 'ok', `${state.apps.size} apps, all as wanted.`),
    fault
      ? component('engine', 'error', 'No container engine answers. Install docker.io and start it.')
      : component('engine', 'ok', 'Docker 20.10.24 answers.'),
    component('router-proxy', 'ok', 'Listening on ports 80 and 443.'),
    component(
      'nexus-agent',
      state.weather.remote === 'error' ? 'warn' : 'ok',
      state.weather.remote === 'error'
        ? 'The relay does not answer. It is tried again every minute; check the address if it stays away.'
        : 'The tunnel is as wanted.',
    ),
    component('acme', 'ok', 'Nothing is due.'),
    component('host', 'ok', 'Ready.'),
    component('fuse', 'ok', 'gocryptfs 2.3 and FUSE are there.'),
    component('health-api', 'ok', 'Answering.'),
  ];
  const status = fault
    ? 'fault'
    : state.password === undefined
      ? 'setup'
      : state.locked
        ? 'locked'
        : 'ready';
  return { status, ready: status === 'ready', components };
}

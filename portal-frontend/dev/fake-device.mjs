/**
 * A device that is not there: the API in memory, for working on the portal without one. It serves
 * `dist/` under the device's own content security policy; with `--vite`, Vite serves `src/` instead.
 * A development aid only; nothing of it gets into `dist/`.
 *
 *   node dev/fake-device.mjs [--vite] [--ready]     PORT=8600
 *
 * `--ready` starts set up, signed out (password `copper lantern willow`), with remote access and
 * two apps. POST `/__fake` with `{"health": "fault"}`, `{"remote": "error"}` or `{"stream": "down"}`
 * changes the weather.
 */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const DIST = fileURLToPath(new URL('../dist', import.meta.url));
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
  "font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; " +
  "frame-ancestors 'none'";
const TYPES = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
};
const WORDS = (
  'copper lantern willow harbor violin meadow pencil garden silver window orbit maple ' +
  'candle river puzzle velvet anchor forest marble thunder cotton bridge planet summer'
).split(' ');

const ready = process.argv.includes('--ready');
const port = Number(process.env.PORT ?? 8600);
const isoNow = (offsetSeconds = 0) => new Date(Date.now() + offsetSeconds * 1000).toISOString();

const state = {
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

function configure({ endpoint, tld, portal_hostname: portalHostname }) {
  state.remote = { endpoint, tld, portal_hostname: portalHostname, since: isoNow(), enabled: true };
  certify(portalHostname);
  for (const app of state.apps.values()) certify(`${app.listener}.${tld}`);
}

function certify(host) {
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

function addApp(name, spec, status) {
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

function viewOfApp(app) {
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

function viewOfRemote() {
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

function viewOfHealth() {
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

// Events ---------------------------------------------------------------------------------------

const epoch = state.started;
const memory = [];
const streams = new Set();

function emit(name, data) {
  const entry = { id: `${epoch}-${memory.length + 1}`, name, data: JSON.stringify(data) };
  memory.push(entry);
  for (const stream of streams) write(stream, entry);
}

function write(stream, { id, name, data }) {
  stream.write(`${id ? `id: ${id}\n` : ''}event: ${name}\ndata: ${data}\n\n`);
}

function openStream(request, response) {
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
  response.write(': hello\n\n');
  const last = request.headers['last-event-id'];
  if (last !== undefined) {
    const at = memory.findIndex((entry) => entry.id === last);
    if (at < 0) write(response, { name: 'reset', data: '{}' });
    else memory.slice(at + 1).forEach((entry) => write(response, entry));
  }
  streams.add(response);
  const heartbeat = setInterval(() => response.write(': heartbeat\n\n'), 15_000);
  response.on('close', () => {
    streams.delete(response);
    clearInterval(heartbeat);
  });
}

function closeStreams() {
  for (const stream of streams) stream.end();
}

// Jobs -----------------------------------------------------------------------------------------

let jobs = 0;

function startJob(kind, subject, stages, end) {
  const id = `job-${(jobs += 1)}`;
  const job = {
    id,
    kind,
    subject,
    state: 'running',
    stage: stages[0],
    progress: 2,
    started: isoNow(),
    finished: null,
    error: null,
    children: [],
  };
  state.jobs.set(id, job);
  let step = 0;
  const timer = setInterval(() => {
    step += 1;
    if (step < stages.length) {
      Object.assign(job, {
        stage: stages[step],
        progress: Math.round((100 * step) / stages.length),
      });
    } else {
      clearInterval(timer);
      const error = end();
      Object.assign(job, {
        finished: isoNow(),
        progress: error ? job.progress : 100,
        state: error ? 'failed' : 'done',
        error: error ?? null,
      });
    }
    emit('job.progressed', { job: { id } });
  }, 500);
  return job;
}

function workOn(app, kind, stages, during, after) {
  app.status = during;
  const job = startJob(kind, `app ${app.name}`, stages, () => {
    app.job = null;
    const error = after(app);
    emit('app.changed', { app: app.name, status: app.status });
    return error;
  });
  app.job = job.id;
  emit('app.changed', { app: app.name, status: app.status });
  return [202, { app: app.name, job: job.id }];
}

function install(spec) {
  const { problems, name } = check(spec);
  if (problems.length > 0) throw problem(422, problems[0].message, { field: problems[0].path });
  const app = addApp(name, spec, 'installing');
  if (state.remote) certify(`${app.listener}.${state.remote.tld}`);
  const stages = [
    'checking the specification',
    `pulling ${app.image}`,
    'creating the volumes',
    'starting the container',
    'waiting for its first answer',
  ];
  return workOn(app, 'app.install', stages, 'installing', () => {
    app.status = app.image.includes('missing') ? 'failed' : 'running';
    return app.status === 'failed'
      ? {
          title: 'Service Unavailable',
          status: 503,
          code: 'unavailable',
          detail: `The image ${app.image} can’t be pulled: the registry answers “manifest unknown”.`,
          next_step: 'Check the name and the tag of the image.',
        }
      : undefined;
  });
}

function check(spec) {
  const problems = [];
  const name = /^name: *(\S+)/m.exec(spec)?.[1];
  if (!name) problems.push({ path: 'name', message: 'This is required.' });
  else if (!/^[a-z]([a-z0-9-]*[a-z0-9])?$/.test(name))
    problems.push({
      path: 'name',
      message: 'Must be a DNS label: lower-case letters, digits and hyphens.',
    });
  if (!/^image:/m.test(spec))
    problems.push({ path: 'image', message: 'Either image or build is required.' });
  if (!/^listeners:/m.test(spec))
    problems.push({ path: 'listeners', message: 'At least one listener is required.' });
  const guest = /guest_port: *(\S+)/.exec(spec)?.[1];
  if (guest !== undefined && !(Number(guest) >= 1 && Number(guest) <= 65_535))
    problems.push({
      path: 'listeners[0].guest_port',
      message: `Must be 1 to 65535, not ${guest}.`,
    });
  return { problems, name };
}

function act(name, action, purge) {
  const app = state.apps.get(name);
  if (!app) throw problem(404, `App ${name} does not exist.`);
  if (app.job) throw problem(409, `Another job works on ${name}.`);
  switch (action) {
    case 'start':
      return workOn(
        app,
        'app.start',
        ['mounting the volumes', 'starting the container'],
        'installing',
        () => void (app.status = 'running'),
      );
    case 'stop':
      return workOn(
        app,
        'app.stop',
        ['stopping the container'],
        'running',
        () => void (app.status = 'stopped'),
      );
    case 'remove':
      return workOn(
        app,
        'app.remove',
        ['stopping the container', purge ? 'deleting its data' : 'keeping its data'],
        'stopped',
        () => void state.apps.delete(name),
      );
    default:
      return workOn(
        app,
        `app.${action}`,
        ['stopping the container', 'starting the container'],
        action === 'update' ? 'updating' : 'running',
        () => void (app.status = 'running'),
      );
  }
}

// Requests -------------------------------------------------------------------------------------

class Refusal extends Error {}

function problem(status, detail, more = {}) {
  const titles = {
    401: 'Unauthorized',
    403: 'Forbidden',
    404: 'Not Found',
    409: 'Conflict',
    422: 'Unprocessable Entity',
    423: 'Locked',
    429: 'Too Many Requests',
    503: 'Service Unavailable',
  };
  const refusal = new Refusal(detail);
  refusal.document = {
    type: 'about:blank',
    title: titles[status] ?? 'Error',
    status,
    detail,
    ...more,
  };
  return refusal;
}

function sessionOf(request) {
  const id = /piccolo_session=(\w+)/.exec(request.headers.cookie ?? '')?.[1];
  return id !== undefined && state.sessions.has(id) ? id : undefined;
}

function signIn(response) {
  const id = Math.random().toString(36).slice(2);
  state.sessions.add(id);
  response.setHeader('Set-Cookie', `piccolo_session=${id}; HttpOnly; SameSite=Lax; Path=/`);
}

function proven(password, field = 'password') {
  const wait = Math.ceil((state.blockedUntil - Date.now()) / 1000);
  if (wait > 0)
    throw problem(429, `Too many tries. Wait ${wait} s.`, { retry_after: wait, code: 'busy' });
  if (password === state.password) {
    state.failures = 0;
    return;
  }
  state.failures += 1;
  if (state.failures >= 5) state.blockedUntil = Date.now() + 1000 * 2 ** (state.failures - 2);
  throw problem(401, 'The password is wrong.', {
    field,
    next_step: 'Try again, or use the recovery key.',
  });
}

function acceptable(password, field) {
  if (typeof password !== 'string' || password.length < 8)
    throw problem(422, 'Must have at least 8 characters.', { field });
}

function lock() {
  state.locked = true;
  state.sessions.clear();
  emit('lock.changed', { state: 'locked' });
  closeStreams();
}

const PUBLIC = {
  'GET /crypto/status': () => [
    200,
    { initialized: state.password !== undefined, locked: state.locked },
  ],
  'GET /health/ready': () => {
    const view = viewOfHealth();
    return [view.status === 'fault' ? 503 : 200, view];
  },
  'GET /auth/session': ({ session }) => [
    200,
    { authenticated: session !== undefined, expires_at: null, locked: state.locked },
  ],
  'POST /crypto/setup': ({ body, response }) => {
    if (state.password !== undefined) throw problem(409, 'This device has an owner.');
    acceptable(body.password, 'password');
    Object.assign(state, { password: body.password, locked: false });
    signIn(response);
    return [201, { recovery_key: WORDS }];
  },
  'POST /auth/login': ({ body, response }) => {
    if (state.password === undefined) throw problem(409, 'This device is not set up yet.');
    proven(body.password);
    state.locked = false;
    signIn(response);
    return [200, { authenticated: true }];
  },
  'POST /crypto/reset-password': ({ body }) => {
    if (body.recovery_key !== WORDS.join(' '))
      throw problem(401, 'The recovery key is wrong.', {
        field: 'recovery_key',
        next_step: 'Check the 24 words and their order.',
      });
    acceptable(body.new_password, 'new_password');
    state.password = body.new_password;
    state.sessions.clear();
    return [204];
  },
};

const OWN = {
  'GET /auth/csrf': ({ session }) => [200, { token: `csrf-${session}` }],
  'POST /auth/logout': ({ session }) => [204, void state.sessions.delete(session)],
  'POST /auth/password': ({ body }) => {
    proven(body.old_password, 'old_password');
    acceptable(body.new_password, 'new_password');
    state.password = body.new_password;
    return [204];
  },
  'POST /crypto/lock': () => [204, lock()],
  'POST /crypto/recovery-key/generate': ({ body }) => {
    proven(body.password);
    return [200, { recovery_key: WORDS }];
  },
  'GET /apps': () => [200, [...state.apps.values()].map(viewOfApp)],
  'POST /apps': ({ text }) => install(text),
  'POST /apps/validate': ({ text }) => {
    const { problems } = check(text);
    return [200, { valid: problems.length === 0, problems }];
  },
  'POST /apps/plan': ({ text }) => [
    200,
    {
      changes: [`A new app ${check(text).name} is installed.`],
      risks: [],
      leaks: ['The image lies in the engine’s own storage, which is not encrypted.'],
    },
  ],
  'GET /remote/status': () => [200, viewOfRemote()],
  'POST /remote/configure': ({ body }) => {
    if (!/^wss:\/\/[^/]+\/connect$/.test(body.endpoint))
      throw problem(422, 'Must look like wss://relay.example.com:8443/connect.', {
        field: 'endpoint',
        code: 'invalid',
      });
    if (body.device_secret === '')
      throw problem(422, 'This is required.', { field: 'device_secret', code: 'invalid' });
    configure(body);
    state.weather.remote = 'connecting';
    setTimeout(() => {
      state.weather.remote = 'connected';
      emit('remote.changed', {});
    }, 1_200);
    return [200, viewOfRemote()];
  },
  'POST /remote/disable': () => {
    state.remote.enabled = false;
    return [204, emit('remote.changed', {})];
  },
  'GET /system': () => [
    200,
    {
      version: '0.1.0',
      uptime: Math.round((Date.now() - state.started) / 1000),
      identity: {
        id: 'b7e1c0de4a51',
        hostname: 'piccolo',
        os: 'Debian GNU/Linux 12',
        kernel: '6.1.0',
        architecture: 'x86_64',
        memory: 4_106_000_000,
        booted_at: isoNow(-90_000),
        clock_synchronised: true,
      },
      control: { rev: 17, checksum: 'a1b2', verified_at: isoNow(-40) },
      portal: {
        http: '[::]:80',
        https: '[::]:443',
        lan_fingerprint:
          '5F:0A:91:3C:DD:27:84:BE:10:66:F2:0C:9E:43:71:AA:38:C5:0D:62:E8:14:7B:F9:25:D0:AC:53:86:1E:B4:97',
      },
    },
  ],
  'GET /system/services': () => [
    200,
    ['store', 'apps', 'router-proxy', 'nexus-agent', 'acme', 'health-api', 'host'].map(
      (name, index) => ({
        name,
        state: state.weather.health === 'fault' && name === 'apps' ? 'degraded' : 'ready',
        for_seconds: 3_000 + index,
        pid: 100 + index,
        restarts: name === 'acme' ? 1 : 0,
        memory: 9_500_000 + index * 1_300_000,
        last_exit: name === 'acme' ? 'signal 9' : null,
        status: null,
        last_lines:
          state.weather.health === 'fault' && name === 'apps'
            ? ['cannot reach the engine at /var/run/docker.sock: no such file']
            : [],
      }),
    ),
  ],
};

function ownByPattern(method, path, context) {
  const [, noun, id, verb] = path.split('/').map(decodeURIComponent);
  if (noun === 'apps' && id !== undefined) {
    if (method === 'GET' && verb === undefined) {
      const app = state.apps.get(id);
      if (!app) throw problem(404, `App ${id} does not exist.`);
      return [200, viewOfApp(app)];
    }
    if (method === 'DELETE')
      return act(id, 'remove', context.url.searchParams.get('purge') === 'true');
    if (method === 'POST') return act(id, verb);
  }
  if (noun === 'jobs' && method === 'GET') {
    const job = state.jobs.get(id);
    if (!job) throw problem(404, `There is no job ${id}.`);
    return [200, job];
  }
  if (path.startsWith('/remote/certificates/') && method === 'POST') {
    const host = decodeURIComponent(path.split('/')[3]);
    return [
      202,
      {
        job: startJob(
          'certificate.renew',
          host,
          ['ordering', 'publishing the challenge', 'waiting for the authority', 'storing'],
          () => certify(host),
        ).id,
      },
    ];
  }
  throw problem(404, `There is nothing at ${path}.`);
}

function answer(request, response, text, url) {
  const path = url.pathname.replace('/api/v1', '');
  const key = `${request.method} ${path}`;
  const session = sessionOf(request);
  const isJson = (request.headers['content-type'] ?? '').includes('json');
  const context = {
    body: isJson && text !== '' ? JSON.parse(text) : {},
    text,
    url,
    session,
    response,
  };
  const open = PUBLIC[key];
  if (open) return open(context);
  if (state.locked && !['POST /crypto/lock'].includes(key))
    throw problem(423, 'The device is locked.', {
      code: 'locked',
      next_step: 'Unlock it with the owner’s password.',
    });
  if (session === undefined) throw problem(401, 'You are not signed in.', { code: 'unauthorized' });
  if (request.method !== 'GET' && request.headers['x-csrf-token'] !== `csrf-${session}`)
    throw problem(403, 'The X-CSRF-Token header is missing or wrong.', { code: 'csrf' });
  if (key === 'GET /events') {
    if (state.weather.stream === 'down') throw problem(503, 'The stream is down.');
    return openStream(request, response);
  }
  if (/^GET \/apps\/[^/]+\/logs$/.test(key)) return openLog(response, url);
  return OWN[key] ? OWN[key](context) : ownByPattern(request.method, path, context);
}

function openLog(response, url) {
  response.writeHead(200, { 'Content-Type': 'text/event-stream' });
  let line = Number(url.searchParams.get('since') ?? 0);
  const next = () =>
    response.write(`id: ${(line += 1)}\ndata: ${isoNow()} GET /?page=${line} 200\n\n`);
  for (let index = 0; index < 5; index += 1) next();
  const timer = setInterval(next, 1_000);
  response.on('close', () => clearInterval(timer));
}

async function api(request, response, url) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  try {
    if (url.pathname === '/__fake') {
      Object.assign(state.weather, JSON.parse(text));
      if (state.weather.stream === 'down') closeStreams();
      for (const topic of ['health.changed', 'remote.changed', 'app.changed']) emit(topic, {});
      response.writeHead(204).end();
      return;
    }
    const answered = answer(request, response, text, url);
    if (answered === undefined) return;
    const [status, body] = answered;
    response.writeHead(status, { 'Content-Type': 'application/json' });
    response.end(status === 204 ? undefined : JSON.stringify(body));
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    const { document } = error;
    const wait = document.retry_after ? { 'Retry-After': String(document.retry_after) } : {};
    response.writeHead(document.status, { 'Content-Type': 'application/problem+json', ...wait });
    response.end(JSON.stringify(document));
  }
}

async function page(response, path) {
  const name = normalize(path).replace(/^\/+/, '');
  for (const candidate of [name, 'index.html']) {
    const body = await readFile(join(DIST, candidate)).catch(() => undefined);
    if (body && !(candidate === 'index.html' && name.startsWith('assets/'))) {
      response.writeHead(200, {
        'Content-Type': TYPES[extname(candidate)] ?? 'application/octet-stream',
        'Content-Security-Policy': POLICY,
      });
      response.end(body);
      return;
    }
  }
  response.writeHead(404).end();
}

const server = createServer((request, response) => {
  const url = new URL(request.url, 'http://device');
  const handled =
    url.pathname.startsWith('/api/') || url.pathname === '/__fake'
      ? api(request, response, url)
      : page(response, url.pathname);
  handled.catch((error) => {
    console.error(error);
    response.destroy();
  });
});
server.listen(port, '127.0.0.1', async () => {
  const { port: bound } = server.address();
  console.log(`fake device on http://127.0.0.1:${bound}/`);
  if (!process.argv.includes('--vite')) return;
  process.env.PICCOLO_DEVICE = `http://127.0.0.1:${bound}`;
  const { createServer: createVite } = await import('vite');
  const vite = await createVite({ root: fileURLToPath(new URL('..', import.meta.url)) });
  await vite.listen();
  vite.printUrls();
});

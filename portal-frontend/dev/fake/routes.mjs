/** The routes of the API and their gates. */
import {
  WORDS,
  certify,
  configure,
  isoNow,
  state,
  viewOfApp,
  viewOfHealth,
  viewOfRemote,
} from './device.mjs';
import { act, check, install, startJob } from './jobs.mjs';
import { Refusal, problem } from './problem.mjs';
import { closeStreams, emit, openStream } from './stream.mjs';

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

export async function api(request, response, url) {
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

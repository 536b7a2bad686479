/** Work that takes a few seconds, and the apps it works on. */
import { addApp, certify, isoNow, state } from './device.mjs';
import { problem } from './problem.mjs';
import { emit } from './stream.mjs';

let jobs = 0;

export function startJob(kind, subject, stages, end) {
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

export function install(spec) {
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

export function check(spec) {
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

export function act(name, action, purge) {
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

/** What a page shows of a job: its stages as they went by. Pure. */
import type { Job } from '../api/jobs';

export interface Stage {
  text: string;
  /** Milliseconds since 1970. */
  seenAt: number;
}

export interface Progress {
  job: Job;
  stages: Stage[];
}

export type Outcome = 'running' | 'done' | 'failed';

export function outcome(job: Job): Outcome {
  if (job.error !== null) return 'failed';
  return job.finished === null ? 'running' : 'done';
}

/** Takes a look at the job. Looks may be repeated and may arrive late: it never goes backwards. */
export function observe(seen: Progress | undefined, job: Job, now: number): Progress {
  if (seen?.job.id !== job.id) return { job, stages: stagesAfter([], job, now) };
  if (isOlder(job, seen.job)) return seen;
  return { job, stages: stagesAfter(seen.stages, job, now) };
}

function isOlder(candidate: Job, known: Job): boolean {
  if (outcome(known) !== 'running') return outcome(candidate) === 'running';
  return outcome(candidate) === 'running' && candidate.progress < known.progress;
}

/** Stages are written as parts of a sentence. */
function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function stagesAfter(stages: Stage[], job: Job, now: number): Stage[] {
  if (job.stage === '' || stages.at(-1)?.text === sentence(job.stage)) return stages;
  return [...stages, { text: sentence(job.stage), seenAt: now }];
}

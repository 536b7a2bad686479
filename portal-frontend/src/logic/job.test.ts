import { describe, expect, it } from 'vitest';
import type { Job } from '../api/jobs';
import { observe, outcome, type Progress } from './job';

function job(changes: Partial<Job> = {}): Job {
  return {
    id: 'j1',
    kind: 'app.install',
    stage: 'pulling the image',
    progress: 10,
    started: '2026-12-01T12:00:00Z',
    finished: null,
    error: null,
    children: [],
    ...changes,
  };
}

function observeAll(jobs: Job[]): Progress | undefined {
  return jobs.reduce<Progress | undefined>((seen, one, now) => observe(seen, one, now), undefined);
}

describe('the progress of a job', () => {
  it('lists each stage once, in the order they came', () => {
    const seen = observeAll([
      job(),
      job({ progress: 30 }),
      job({ progress: 60, stage: 'starting' }),
      job({ progress: 60, stage: 'starting' }),
    ]);
    expect(seen?.stages).toEqual([
      { text: 'Pulling the image', seenAt: 0 },
      { text: 'Starting', seenAt: 2 },
    ]);
  });

  it('never goes backwards when a late look arrives', () => {
    const seen = observeAll([job({ progress: 60, stage: 'starting' }), job({ progress: 10 })]);
    expect(seen?.job.progress).toBe(60);
    expect(seen?.stages).toHaveLength(1);
  });

  it('stays ended once it has ended', () => {
    const done = job({ progress: 100, stage: 'running', finished: '2026-12-01T12:00:09Z' });
    const seen = observeAll([job(), done, job({ progress: 90 })]);
    expect(seen && outcome(seen.job)).toBe('done');
  });

  it('keeps the failure and how far it came', () => {
    const error = { status: 503, title: 'No', detail: 'The image can’t be pulled.' };
    const seen = observeAll([
      job(),
      job({ progress: 10, finished: '2026-12-01T12:00:09Z', error }),
    ]);
    expect(seen && outcome(seen.job)).toBe('failed');
    expect(seen?.job.error?.detail).toBe('The image can’t be pulled.');
  });

  it('starts anew with another job', () => {
    const seen = observeAll([
      job({ progress: 90 }),
      job({ id: 'j2', progress: 5, stage: 'stopping' }),
    ]);
    expect(seen?.job.progress).toBe(5);
    expect(seen?.stages.map((stage) => stage.text)).toEqual(['Stopping']);
  });
});

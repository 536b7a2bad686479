/** A failure as the device tells it: RFC 9457 `application/problem+json`, or what stands for it. */
export interface Problem {
  /** HTTP status; 0 when there was no answer at all. */
  status: number;
  title: string;
  detail: string;
  /** Stable name of the kind of failure, e.g. `locked`, `csrf`, `invalid`. */
  code?: string;
  /** The field of the request that breaks a rule. */
  field?: string;
  next_step?: string;
  /** Seconds until another try makes sense. */
  retry_after?: number;
  /** Address of the node that may do it. */
  leader?: string;
  /** The job that failed. */
  job?: string;
}

export class ProblemError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail);
    this.name = 'ProblemError';
  }
}

const TEXTS = ['code', 'field', 'next_step', 'leader', 'job'] as const;

/** Reads a body that should be a problem document; never throws, whatever came. */
export function parseProblem(status: number, body: string, retryAfter: string | null): Problem {
  const fields = record(body);
  const problem: Problem = {
    status,
    title: text(fields['title']) ?? titleOf(status),
    detail: text(fields['detail']) ?? withoutWords(status),
  };
  for (const name of TEXTS) {
    const value = text(fields[name]);
    if (value !== undefined) problem[name] = value;
  }
  const wait = seconds(fields['retry_after']) ?? seconds(retryAfter);
  if (wait !== undefined) problem.retry_after = wait;
  return problem;
}

/** No answer: the network, or a device that is off. */
export function unreachable(timedOut: boolean): Problem {
  return {
    status: 0,
    title: timedOut ? 'No answer in time' : 'No connection',
    detail: timedOut
      ? 'The device did not answer in time. It may be busy, or the connection slow.'
      : 'The device can’t be reached.',
    code: timedOut ? 'timeout' : 'unreachable',
    next_step: 'Check that the device is on and that you are connected, then try again.',
  };
}

/** Anything that was thrown, as a problem. */
export function problemOf(error: unknown): Problem {
  if (error instanceof ProblemError) return error.problem;
  return {
    status: 0,
    title: 'The portal made a mistake',
    detail: error instanceof Error ? error.message : String(error),
    next_step: 'Reload the page. If it happens again, please report it.',
  };
}

function record(body: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === 'object' && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value.trim() !== '' ? value : undefined;
}

function seconds(value: unknown): number | undefined {
  if (value === null || value === '') return undefined;
  const number = Number(value);
  return Number.isFinite(number) && number >= 0 ? Math.ceil(number) : undefined;
}

function titleOf(status: number): string {
  if (status >= 500) return 'The device failed';
  return status === 404 ? 'Not found' : 'Refused';
}

function withoutWords(status: number): string {
  return `The device answered with status ${status} and did not say why.`;
}

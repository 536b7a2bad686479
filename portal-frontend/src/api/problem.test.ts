import { describe, expect, it } from 'vitest';
import { ProblemError, parseProblem, problemOf, unreachable } from './problem';

describe('a problem document', () => {
  it('is kept in full', () => {
    const body = JSON.stringify({
      type: 'urn:piccolo:problem:invalid',
      title: 'Unprocessable Entity',
      status: 422,
      detail: 'Must start with wss://.',
      code: 'invalid',
      field: 'endpoint',
      next_step: 'Copy the address from your relay.',
      retry_after: 3,
      job: 'j1',
    });
    expect(parseProblem(422, body, null)).toEqual({
      status: 422,
      title: 'Unprocessable Entity',
      detail: 'Must start with wss://.',
      code: 'invalid',
      field: 'endpoint',
      next_step: 'Copy the address from your relay.',
      retry_after: 3,
      job: 'j1',
    });
  });

  it('is made up from the status when something else answered', () => {
    for (const body of ['', '<html>Bad gateway</html>', 'null', '[]', '"x"', '{"detail": 7}']) {
      const problem = parseProblem(502, body, null);
      expect(problem).toMatchObject({ status: 502, title: 'The device failed' });
      expect(problem.detail).toContain('502');
    }
  });

  it('takes the wait from the header when the body has none', () => {
    expect(parseProblem(429, '{}', '17').retry_after).toBe(17);
    expect(parseProblem(429, '{"retry_after": 2.4}', '17').retry_after).toBe(3);
    expect(parseProblem(429, '{}', 'Wed, 21 Oct 2015 07:28:00 GMT').retry_after).toBeUndefined();
    expect(parseProblem(400, '{}', null).retry_after).toBeUndefined();
  });
});

describe('whatever was thrown', () => {
  it('has words for the owner', () => {
    const problem = unreachable(false);
    expect(problemOf(new ProblemError(problem))).toBe(problem);
    expect(problemOf(new TypeError('x is undefined')).detail).toBe('x is undefined');
    expect(unreachable(true).code).toBe('timeout');
  });
});

/** Refusals, as problem documents. */

export class Refusal extends Error {}

export function problem(status, detail, more = {}) {
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

/** Addresses of the portal. Pure. */
export type Route =
  | { page: 'dashboard' }
  | { page: 'install' }
  | { page: 'app'; name: string }
  | { page: 'remote' }
  | { page: 'system' }
  | { page: 'nowhere'; path: string };

export function match(path: string): Route {
  const parts = path.split('/').filter((part) => part !== '');
  const [first, second] = parts;
  if (parts.length === 0) return { page: 'dashboard' };
  if (parts.length === 1) {
    if (first === 'install') return { page: 'install' };
    if (first === 'remote') return { page: 'remote' };
    if (first === 'system') return { page: 'system' };
  }
  if (parts.length === 2 && first === 'apps' && second !== undefined) {
    const name = decoded(second);
    if (name !== undefined) return { page: 'app', name };
  }
  return { page: 'nowhere', path };
}

export function appPath(name: string): string {
  return `/apps/${encodeURIComponent(name)}`;
}

function decoded(part: string): string | undefined {
  try {
    return decodeURIComponent(part);
  } catch {
    return undefined;
  }
}

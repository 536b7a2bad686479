/** Where the owner is. Plain links work; this keeps them from reloading the page. */
import { match, type Route } from './routes';

class Router {
  #path = $state(window.location.pathname);
  #search = $state(window.location.search);

  get route(): Route {
    return match(this.#path);
  }

  /** A value of the query. */
  query(name: string): string | undefined {
    return new URLSearchParams(this.#search).get(name) ?? undefined;
  }

  go(to: string, how: 'push' | 'replace' = 'push'): void {
    if (how === 'push') window.history.pushState(null, '', to);
    else window.history.replaceState(null, '', to);
    this.#read();
    if (how === 'push') window.scrollTo(0, 0);
  }

  follow(): void {
    window.addEventListener('popstate', () => this.#read());
    document.addEventListener('click', (event) => {
      const to = ownLink(event);
      if (to === undefined) return;
      event.preventDefault();
      this.go(to);
    });
  }

  #read(): void {
    this.#path = window.location.pathname;
    this.#search = window.location.search;
  }
}

/** The address of a plain click on a link to a page of the portal. */
function ownLink(event: MouseEvent): string | undefined {
  if (event.defaultPrevented || event.button !== 0) return undefined;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return undefined;
  const link = event.target instanceof Element ? event.target.closest('a') : null;
  if (!link || link.target !== '' || link.hasAttribute('download')) return undefined;
  if (link.origin !== window.location.origin || link.pathname.startsWith('/api/')) return undefined;
  // A jump within the page, such as the skip link.
  if (link.getAttribute('href')?.startsWith('#')) return undefined;
  return link.pathname + link.search;
}

export const router = new Router();

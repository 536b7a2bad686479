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
import { api } from './fake/routes.mjs';

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
const port = Number(process.env.PORT ?? 8600);

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

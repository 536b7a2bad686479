import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

// `npm run dev` shows a device that runs elsewhere.
const device = process.env.PICCOLO_DEVICE ?? 'http://127.0.0.1:8600';

export default defineConfig({
  plugins: [svelte()],
  server: { proxy: { '/api': { target: device } } },
  build: {
    target: 'es2022',
    // The device's content security policy allows files of its own only; nothing is inlined.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  test: { include: ['src/**/*.test.ts'] },
});

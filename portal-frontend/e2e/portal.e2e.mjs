/**
 * The owner's road through the portal, in a real browser, against a device that is fresh.
 *
 *   PICCOLO_PORTAL_URL      where the portal is, e.g. http://127.0.0.1:8600
 *   PICCOLO_SAMPLE_SPEC     file with the specification of an app that can be installed there
 *   PICCOLO_SCREENSHOT_DIR  where pictures go (optional)
 *   PICCOLO_OWNER_PASSWORD  password to set (optional)
 *   PICCOLO_CHROMIUM        browser (default /usr/bin/chromium)
 *
 * Every step must pass; a console error, an uncaught exception or a page wider than its window
 * fails the step in which it is seen, and so
 * does a broken rule of accessibility. The last line is `N passed, N failed`.
 */
import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const DESKTOP = { width: 1280, height: 800 };
const PHONE = { width: 360, height: 800 };
/** What a page needs to answer. */
const SOON = 20_000;
/** Pulling, starting and probing an app; mounting and starting everything after an unlock. */
const LONG = 180_000;

const base = process.env.PICCOLO_PORTAL_URL;
const specFile = process.env.PICCOLO_SAMPLE_SPEC;
const pictures = process.env.PICCOLO_SCREENSHOT_DIR;
const password = process.env.PICCOLO_OWNER_PASSWORD ?? 'copper lantern willow';
if (!base || !specFile) {
  console.error('PICCOLO_PORTAL_URL and PICCOLO_SAMPLE_SPEC are needed.');
  process.exit(2);
}
const spec = await readFile(specFile, 'utf8');
const app = /^name:\s*(\S+)/m.exec(spec)?.[1];
assert(app, `${specFile} names no app`);
if (pictures) await mkdir(pictures, { recursive: true });

/** Rules of WCAG 2.1 at level AA that a program can check, contrast among them. */
const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

let passed = 0;
let failed = 0;
let complaints = [];

const browser = await chromium.launch({
  executablePath: process.env.PICCOLO_CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--no-first-run',
  ],
});

/** A step that needs the ones before it: the road ends at the first that fails. */
async function step(name, run) {
  const began = Date.now();
  complaints = [];
  try {
    await run();
    assert.deepEqual(complaints, [], 'the browser complained');
    passed += 1;
    console.log(`  ok    ${name} (${Date.now() - began} ms)`);
  } catch (error) {
    failed += 1;
    console.log(`  FAIL  ${name}\n${String(error.stack ?? error).replace(/^/gm, '        ')}`);
    throw error;
  }
}

async function open(size, colorScheme = 'light') {
  const context = await browser.newContext({
    viewport: size,
    colorScheme,
    hasTouch: size === PHONE,
  });
  context.setDefaultTimeout(SOON);
  const page = await context.newPage();
  page.on('pageerror', (error) => complaints.push(`uncaught: ${error.message}`));
  page.on('console', (message) => {
    if (message.type() === 'error' && !isExpected(message)) {
      complaints.push(`${message.text()} (${message.location().url})`);
    }
  });
  return page;
}

/**
 * Chromium writes an error for each refusal of the API, and some refusals are part of the road; a
 * device that is not ready yet says so with 503.
 */
function isExpected(message) {
  const status = Number(/status of (\d+)/.exec(message.text())?.[1]);
  const { pathname } = new URL(message.location().url, base);
  if (pathname === '/api/v1/health/ready') return status === 503;
  return pathname.startsWith('/api/v1/') && [401, 422, 423].includes(status);
}

/** Is all of the page in the window, and can a finger hit what can be hit? */
async function fits(page) {
  const found = await page.evaluate(() => {
    const root = document.documentElement;
    const controls = [
      ...document.querySelectorAll('.button, nav a, summary, input.input, textarea'),
    ];
    return {
      wide: root.scrollWidth - root.clientWidth,
      small: controls
        .filter((control) => control.checkVisibility())
        .map((control) => ({
          what: control.textContent?.trim(),
          box: control.getBoundingClientRect(),
        }))
        .filter(({ box }) => box.height > 0 && box.height < 43.5)
        .map(({ what, box }) => `${what}: ${box.height} px`),
    };
  });
  assert.equal(found.wide, 0, `${page.url()} is ${found.wide} px wider than its window`);
  assert.deepEqual(found.small, [], `${page.url()} has targets under 44 px`);
}

async function isAccessible(page) {
  await page.evaluate(axe);
  const violations = await page.evaluate(async () => {
    const runOnly = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'];
    const result = await globalThis.axe.run(document, { runOnly });
    return result.violations.map(
      ({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html).join(' | ')}`,
    );
  });
  assert.deepEqual(violations, [], `${page.url()} is hard to use for some`);
}

async function picture(page, name) {
  await fits(page);
  await isAccessible(page);
  if (!pictures) return;
  await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true });
}

const see = (page, text) => page.getByText(text).first().waitFor();
const heading = (page, name) => page.getByRole('heading', { level: 1, name }).waitFor();
const press = (page, name) => page.getByRole('button', { name, exact: true }).click();

async function setUp(page) {
  await page.goto(base);
  await heading(page, 'Welcome home');
  await picture(page, 'desktop-1-setup');
  await page.getByLabel('Password', { exact: true }).fill(password);
  await page.getByLabel('Password, once more', { exact: true }).fill(`${password}!`);
  await press(page, 'Set up this device');
  await see(page, 'The two passwords are not the same.');
  await page.getByLabel('Password, once more', { exact: true }).fill(password);
  await press(page, 'Set up this device');
  await page.getByRole('heading', { name: 'Your 24 recovery words' }).waitFor({ timeout: LONG });
}

async function confirmWords(page) {
  const words = await page.locator('.words li span:last-child').allTextContents();
  assert.equal(words.length, 24);
  assert(
    words.every((word) => /^[a-z]+$/.test(word)),
    'words of the list are plain words',
  );
  await picture(page, 'desktop-2-words');
  await press(page, 'I have written them down');
  await heading(page, 'Just to be sure');
  const fields = page.locator('input.input');
  assert((await fields.count()) >= 2);
  await fields.first().fill('wrong');
  await press(page, 'Finish');
  await see(page, 'Look at your note.');
  for (const field of await fields.all()) {
    const position = Number((await field.getAttribute('id')).replace('word-', ''));
    await field.fill(words[position - 1]);
  }
  await picture(page, 'desktop-3-confirm');
  await press(page, 'Finish');
  await page.getByRole('navigation', { name: 'Main' }).waitFor();
}

async function seeEmptyDashboard(page) {
  await page.getByRole('heading', { name: 'First steps' }).waitFor();
  await see(page, 'No apps yet');
  await see(page, 'Your apps are reachable in your own network only.');
  await page.getByText('parts of your device are well').click();
  await see(page, 'Sealed store');
  await picture(page, 'desktop-4-dashboard-empty');
}

async function refuseBadSpec(page) {
  await page.getByRole('link', { name: 'Install', exact: true }).first().click();
  await heading(page, 'Install an app');
  await page.getByLabel('Specification (YAML)').fill('name: Not A Name\n');
  await see(page, /problems? to solve/);
  assert(await page.getByRole('button', { name: 'Install', exact: true }).isDisabled());
  await picture(page, 'desktop-5-install-invalid');
}

async function install(page) {
  await page.getByLabel('Specification (YAML)').fill(spec);
  await see(page, 'This specification is valid.');
  await picture(page, 'desktop-6-install-valid');
  await press(page, 'Install');
  const job = page.getByRole('region', { name: `Installing ${app}` });
  await job.getByRole('progressbar').waitFor();
  await picture(page, 'desktop-7-install-progress');
  await job.and(page.locator(':not([data-outcome="running"])')).waitFor({ timeout: LONG });
  assert.equal(await job.getAttribute('data-outcome'), 'done', await job.textContent());
  await page.getByRole('heading', { name: `${app} is ready` }).waitFor();
  await page.getByRole('link', { name: 'Open at home' }).first().waitFor();
  await picture(page, 'desktop-8-install-done');
}

async function seeApp(page) {
  await page.getByRole('link', { name: `Go to ${app}` }).click();
  await heading(page, app);
  await page.locator('.status', { hasText: 'Running' }).first().waitFor();
  await page.getByRole('heading', { name: 'Addresses' }).waitFor();
  await page.getByText('What the app writes').click();
  await page.getByRole('log').waitFor();
  await picture(page, 'desktop-9-app');
  await press(page, 'Remove …');
  const dialog = page.getByRole('dialog');
  await dialog.getByText('Its data is kept').waitFor();
  assert.equal(await dialog.getByRole('checkbox').isChecked(), false, 'purge is never pre-ticked');
  await dialog.getByRole('checkbox').check();
  assert(await dialog.getByRole('button', { name: 'Remove and delete data' }).isDisabled());
  await picture(page, 'desktop-10-remove');
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
}

async function seeRemote(page) {
  await page.getByRole('link', { name: 'Remote', exact: true }).click();
  await heading(page, 'Remote access');
  const relay = page.getByLabel('Relay address');
  if (await relay.isVisible()) {
    await relay.fill('not an address');
    await page.getByLabel('Device secret', { exact: true }).fill('x');
    await press(page, 'Save and connect');
    await page.getByRole('alert').filter({ hasText: 'endpoint' }).waitFor();
    await relay.fill('');
  }
  await picture(page, 'desktop-11-remote');
}

async function seeSystem(page) {
  await page.getByRole('link', { name: 'System', exact: true }).click();
  await heading(page, 'System');
  for (const service of ['store', 'apps', 'router-proxy', 'nexus-agent', 'acme', 'health-api']) {
    await page.getByRole('rowheader', { name: service, exact: true }).waitFor();
  }
  await see(page, 'Change the password');
  await picture(page, 'desktop-12-system');
}

async function lock(page) {
  await press(page.getByRole('banner'), 'Lock');
  await press(page.getByRole('dialog'), 'Lock now');
  await page.getByRole('heading', { name: 'Your device is locked' }).waitFor({ timeout: LONG });
  await picture(page, 'desktop-13-locked');
}

async function unlock(page, title = 'Unlock') {
  await page.getByLabel('Password', { exact: true }).fill('not the password');
  await press(page, title);
  await page.getByText('The password is wrong.').waitFor({ timeout: LONG });
  await page.getByLabel('Password', { exact: true }).fill(password);
  await press(page, title);
  await page.getByRole('navigation', { name: 'Main' }).waitFor({ timeout: LONG });
}

async function seeAppAgain(page) {
  await page.getByRole('link', { name: 'Home', exact: true }).click();
  const card = page.getByRole('article').filter({ hasText: app });
  await card.getByText('Running').waitFor({ timeout: LONG });
  await picture(page, 'desktop-14-dashboard');
}

async function visitAll(page, prefix) {
  const pages = [
    ['home', '/', 'Apps'],
    ['install', '/install', 'Check'],
    ['app', `/apps/${app}`, 'Addresses'],
    ['remote', '/remote', 'Certificates'],
    ['system', '/system', 'Services'],
    ['nowhere', '/no/such/page', 'Nothing here'],
  ];
  for (const [name, path, text] of pages) {
    await page.goto(base.replace(/\/$/, '') + path);
    // Without remote access there are no certificates to list.
    const wanted = name === 'remote' ? /Certificates|Set it up/ : text;
    await page.getByRole('heading', { name: wanted }).first().waitFor();
    await picture(page, `${prefix}-${name}`);
  }
}

async function signInOnPhone(page) {
  await page.goto(base);
  await heading(page, 'Welcome back');
  await picture(page, 'phone-sign-in');
  await press(page, 'Forgot your password? Use your recovery words');
  await heading(page, 'Use your recovery words');
  await page.getByLabel('Recovery words').fill('only three words');
  await press(page, 'Set the new password');
  await see(page, '21 words are missing.');
  await picture(page, 'phone-recovery');
  await press(page, 'Back');
  await page.getByLabel('Password', { exact: true }).fill(password);
  await press(page, 'Sign in');
  await page.getByRole('navigation', { name: 'Main' }).waitFor({ timeout: LONG });
}

async function darken(page, prefix) {
  await page.emulateMedia({ colorScheme: 'dark' });
  await page.goto(base);
  await page.getByRole('heading', { name: 'Apps' }).waitFor();
  await picture(page, `${prefix}-home-dark`);
}

try {
  const desktop = await open(DESKTOP);
  await step('a fresh device lets its owner choose a password', () => setUp(desktop));
  await step('the recovery words are shown and asked for', () => confirmWords(desktop));
  await step('the dashboard says what to do first', () => seeEmptyDashboard(desktop));
  await step('a bad specification is refused with its problems', () => refuseBadSpec(desktop));
  await step('an app installs from a pasted specification', () => install(desktop));
  await step('its page shows addresses and log, and removing keeps the data', () =>
    seeApp(desktop),
  );
  await step('remote access can be looked at, and names a bad field', () => seeRemote(desktop));
  await step('the services are listed', () => seeSystem(desktop));
  await step('locking leads to the unlock page', () => lock(desktop));
  await step('a wrong password is refused, the right one unlocks', () => unlock(desktop));
  await step('the app runs again after the unlock', () => seeAppAgain(desktop));
  await step('it is as readable in the dark', () => darken(desktop, 'desktop'));
  const phone = await open(PHONE);
  await step('a phone signs in', () => signInOnPhone(phone));
  await step('every page fits a phone', () => visitAll(phone, 'phone'));
  await step('a phone in the dark', () => darken(phone, 'phone'));
} catch {
  // Already told, by its step.
} finally {
  await browser.close();
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

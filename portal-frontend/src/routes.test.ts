import { expect, it } from 'vitest';
import { appPath, match } from './routes';

it('knows its pages', () => {
  expect(match('/')).toEqual({ page: 'dashboard' });
  expect(match('/install')).toEqual({ page: 'install' });
  expect(match('/remote/')).toEqual({ page: 'remote' });
  expect(match('/system')).toEqual({ page: 'system' });
  expect(match('/apps/demo')).toEqual({ page: 'app', name: 'demo' });
});

it('finds an app again at the address it made for it', () => {
  for (const name of ['demo', 'a-b', 'ä b', '100%']) {
    expect(match(appPath(name))).toEqual({ page: 'app', name });
  }
});

it('does not take a broken or unknown address for a page', () => {
  for (const path of ['/apps', '/apps/%zz', '/apps/a/b', '/install/x', '/nothing']) {
    expect(match(path).page, path).toBe('nowhere');
  }
});

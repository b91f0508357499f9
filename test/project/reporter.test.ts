/** The closing line of a test run, by a real run over planted tests. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { root } from '../repository.ts';

/** Lines that a run over `files` (name -> source, vitest's functions are global) ends with, and its exit code. */
function closing(
  files: Readonly<Record<string, string>>,
  environment: Readonly<Record<string, string>> = {},
) {
  const folder = mkdtempSync(join(tmpdir(), 'omni-airgap-run-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, source] of Object.entries(files)) writeFileSync(join(folder, name), source);
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const reporter = `--reporter=${join(root, 'test/reporter.ts')}`;
  const args = [vitest, 'run', '--root', folder, '--globals', '--no-cache', reporter];
  const { status, stdout } = spawnSync(process.execPath, args, {
    cwd: folder,
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], HOME: folder, ...environment },
    timeout: 60_000,
  });
  return { status, lines: stdout.trimEnd().split('\n') };
}

test('counts passed, failed and skipped tests, and says why something was left out', () => {
  const { status, lines } = closing({
    'a.test.js': "test('good', () => {}); test('bad', () => expect(1).toBe(2));",
    'b.test.js':
      "for (const n of [1, 2]) test('left out ' + n, (context) => context.skip('not installed: ceph-mon'));",
  });
  expect(status).toBe(1);
  expect(lines.slice(-2)).toEqual(['left out (2): not installed: ceph-mon', '1 passed, 1 failed, 2 skipped']);
});

test('counts what failed outside a test, and the checks that ran before', () => {
  const { status, lines } = closing(
    {
      'broken.test.js': "throw new Error('cannot be loaded');",
      'hook.test.js': "beforeAll(() => { throw new Error('no server'); }); test('never run', () => {});",
    },
    { CHECKS_PASSED: '3', CHECKS_FAILED: '1' },
  );
  expect(status).toBe(1);
  expect(lines.at(-1)).toBe('3 passed, 3 failed, 1 skipped');
});

test('has the plain form when all is well', () => {
  const { status, lines } = closing({ 'a.test.js': "test('good', () => {});" });
  expect(status).toBe(0);
  expect(lines.at(-1)).toBe('1 passed, 0 failed');
});

test('a filter that matches no test fails: a typo is no pass', () => {
  const args = [join(root, 'node_modules/vitest/vitest.mjs'), 'run', 'no-such-test'];
  const { status, stderr } = spawnSync(process.execPath, args, {
    cwd: root,
    encoding: 'utf8',
    timeout: 60_000,
  });
  expect(status).toBe(1);
  expect(stderr).toContain('No test files found');
});

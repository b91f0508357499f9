/**
 * F1: standard streams that take nothing: a full disk, a terminal that is gone, a reader that has left. The work is done
 * all the same; only a result that could not be printed makes the exit code 5, and never is there a stack trace.
 */
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type RegistryDouble, startRegistryDouble } from '../../packages/oci/src/testing/index.ts';
import { cli, cliJson, expectFailure, startServe } from '../support/cli.ts';
import { addImage } from '../support/double-image.ts';
import { type Workspace, workspace } from '../support/workspace.ts';

let upstream: RegistryDouble;
let inside: RegistryDouble;
let site: Workspace;
let from: readonly string[];
let into: readonly string[];

beforeAll(async () => {
  [upstream, inside] = await Promise.all([startRegistryDouble(), startRegistryDouble()]);
  await addImage(upstream.repository('acme/app'), 'v1', 1, [1000]);
  site = await workspace('images: [ghcr.io/acme/app:v1]\n');
  from = ['--upstream', `ghcr.io=${upstream.url}`];
  into = ['--registry', inside.host, '--plain-http', inside.host];
  await cliJson(['fetch', ...site.store, ...from]);
  await cliJson(['bundle', ...site.bundle]);
});
afterAll(() => Promise.all([upstream?.close(), inside?.close()]));

const redirected = (redirection: string): readonly string[] => ['sh', '-c', `exec "$@" ${redirection}`, 'sh'];
const trace = /^ {4}at /m;

/** Every kind of command; those that make something have a place of their own for each run. */
const commands: readonly (readonly [name: string, args: (run: string) => readonly string[]])[] = [
  ['--version', () => ['--version']],
  ['--help', () => ['--help']],
  ['load --help', () => ['load', '--help']],
  ['init', (run) => ['init', '--config', site.at(`${run}.yaml`)]],
  ['keygen', (run) => ['keygen', '--out', site.at(`${run}-key`)]],
  ['plan', () => ['plan', ...site.store, ...from]],
  ['plan --json', () => ['plan', ...site.store, ...from, '--json']],
  ['egress rules', () => ['egress', 'rules', '--config', site.at('mirror.yaml')]],
  ['egress log', () => ['egress', 'log', '--store', site.at('store')]],
  ['fetch', (run) => ['fetch', '--config', site.at('mirror.yaml'), '--store', site.at(run), ...from]],
  ['gc', () => ['gc', '--store', site.at('store')]],
  [
    'bundle',
    (run) => ['bundle', '--store', site.at('store'), '--out', site.at(`${run}-media`), '--unsigned'],
  ],
  [
    'mirror',
    (run) => [
      'mirror',
      '--config',
      site.at('mirror.yaml'),
      '--store',
      site.at(`${run}-from`),
      '--out',
      site.at(`${run}-to`),
      '--unsigned',
      ...from,
    ],
  ],
  ['verify --bundle', () => ['verify', ...site.media]],
  ['verify --store', () => ['verify', '--store', site.at('store')]],
  ['inspect --bundle', () => ['inspect', ...site.media]],
  ['inspect --store --json', () => ['inspect', '--store', site.at('store'), '--json']],
  ['diff', () => ['diff', site.at('media'), site.at('store')]],
  ['load --dry-run', () => ['load', ...site.media, ...into, '--dry-run']],
  [
    'load',
    (run) => [
      'load',
      ...site.media,
      ...into,
      '--state',
      site.at(`${run}-state`),
      '--handoff',
      site.at(`${run}-handoff`),
    ],
  ],
];

describe.each(commands)('F1 %s', (name, args) => {
  const run = `run-${name.replace(/[^a-z]/g, '')}`;

  test('a result that cannot be printed', async () => {
    const ended = await cli(args(`${run}-out`), { within: redirected('>/dev/full') });
    expectFailure(
      ended,
      5,
      /the work is done, but its result could not be printed: standard output: no space left on this disk/,
    );
    expect(ended.stderr).not.toMatch(trace);
  });

  test('messages that cannot be printed', async () => {
    const ended = await cli(args(`${run}-err`), { within: redirected('2>/dev/full') });
    expect(ended.code).toBe(0);
    expect(ended.stdout).not.toBe('');
  });
});

test('F1 a reader that has left wanted no more', async () => {
  const within = ['bash', '-c', 'set -o pipefail; { sleep 0.2; exec "$@"; } | true', 'bash'];
  const { code, stderr } = await cli(['inspect', '--store', site.at('store')], { within });
  expect([code, stderr]).toEqual([0, '']);
});

test.each([1, 2])('F1 stream %i is a terminal that is gone', async (stream) => {
  const script = `import os, pty, sys
terminal, ours = pty.openpty()
os.dup2(ours, ${stream})
os.close(terminal)
os.close(ours)
os.execvp(sys.argv[1], sys.argv[1:])`;
  const args = ['inspect', '--store', site.at('store')];
  const ended = await cli(args, { within: ['python3', '-c', script] });
  if (stream === 1) expectFailure(ended, 5, /standard output: the device reports an input\/output error/);
  else expect(ended).toMatchObject({ code: 0, stdout: expect.stringContaining('ghcr.io/acme/app:v1') });
});

test('F1 the exit code of failed work stays, with both streams full', async () => {
  const args = ['inspect', '--store', site.at('nowhere'), '--json'];
  const { code } = await cli(args, { within: redirected('>/dev/full 2>&1') });
  expect(code).toBe((await cli(args)).code);
  expect(code).not.toBe(5);
});

test('F1 serve lives on without its access log, and ends well', async () => {
  const server = await startServe(['--store', site.at('store')], { within: redirected('2>/dev/full') });
  for (let i = 0; i < 3; i++) expect((await fetch(`http://${server.host}/v2/`)).status).toBe(200);
  expect((await server.stop()).code).toBe(0);
});

test.each([
  ['has gone', '2> >(exec true >&- 2>&-)', 2],
  // More than a pipe and the buffer of the program hold together; without a bound, it would end with its reader.
  ['has stopped reading', '2> >(exec setpriv --pdeathsig KILL sleep 300 >&- 2>&-)', 60],
  ['was never there', '2>&-', 2],
])('F1 serve answers, and ends, when the reader of its log %s', async (_what, redirection, rounds) => {
  const within = ['bash', '-c', `exec "$@" ${redirection}`, 'bash'];
  const server = await startServe(['--store', site.at('store')], { within });
  const url = `http://${server.host}/v2/${'a'.repeat(190)}/manifests/v1`;
  for (let i = 0; i < rounds; i++) {
    const answers = await Promise.all(Array.from({ length: 50 }, () => fetch(url)));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([404]));
    await Promise.all(answers.map((answer) => answer.bytes()));
  }
  expect((await server.stop()).code).toBe(0);
});

test('F1 what was to be made is there, although it could not be said', async () => {
  const config = site.at('lost.yaml');
  await cli(['init', '--config', config], { within: redirected('>/dev/full 2>&1') });
  expect(existsSync(config)).toBe(true);
});

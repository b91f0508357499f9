/**
 * F11: paths that an operator names need not be files. What is written to `/dev/stdout`, a pipe or a device goes there,
 * and it stays what it is; a link stays a link; a folder, a socket or a block device is refused before any work. Inputs
 * are read from pipes as well. Every node here is made in a folder of the test.
 */
import { execFile, execFileSync } from 'node:child_process';
import { lstatSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, onTestFinished, type TestContext, test } from 'vitest';
import { type RegistryDouble, startRegistryDouble } from '../../packages/oci/src/testing/index.ts';
import { cli, cliJson, type Ended, expectFailure, startCli } from '../support/cli.ts';
import { addImage } from '../support/double-image.ts';
import { listing } from '../support/files.ts';
import { type Workspace, workspace } from '../support/workspace.ts';

let upstream: RegistryDouble;
let inside: RegistryDouble;
let site: Workspace;

beforeAll(async () => {
  [upstream, inside] = await Promise.all([startRegistryDouble(), startRegistryDouble()]);
  await addImage(upstream.repository('acme/app'), 'v1', 1, [1000]);
  site = await workspace('images: [ghcr.io/acme/app:v1]\n');
  await cliJson(['fetch', ...site.store, '--upstream', `ghcr.io=${upstream.url}`]);
  await cliJson(['bundle', ...site.bundle]);
  site.write('site.yaml', 'omni: https://omni.site.example\n');
});
afterAll(() => Promise.all([upstream?.close(), inside?.close()]));

const loadWith = (...flags: string[]): readonly string[] => [
  ...['load', ...site.media, '--registry', inside.host, '--plain-http', inside.host],
  ...['--state', site.at('state'), '--handoff', site.at('handoff'), ...flags],
];

/** Makes a node; the test is left out where only root may. */
function node(context: TestContext, path: string, ...kind: string[]): string {
  try {
    execFileSync('mknod', [path, ...kind], { stdio: 'pipe' });
  } catch {
    context.skip('a device node takes root');
  }
  return path;
}

/** Runs the command and reads what it writes to a pipe. */
async function readingFrom(pipe: string, args: readonly string[]): Promise<{ ended: Ended; text: string }> {
  const running = startCli(args);
  const { stdout } = await promisify(execFile)('timeout', ['60', 'cat', pipe]);
  return { ended: await running.ended, text: stdout };
}

/** The outputs: flags that name them, and what must be in them. */
const outputs = [
  {
    name: 'receipt',
    args: (path: string) => loadWith('--receipt', path),
    holds: '"kind": "omni-airgap/receipt"',
  },
  {
    name: 'mirror.yaml of init',
    args: (path: string) => ['init', '--config', path],
    holds: 'apiVersion: omni-airgap/v1',
  },
] as const;

describe.each(outputs)('F11 the $name', ({ name, args, holds }) => {
  const at = (what: string): string => site.at(`${name.replaceAll(/[^a-z]/g, '')}-${what}`);

  test('a device stays one', async (context) => {
    // As /dev/null.
    const path = node(context, at('device'), 'c', '1', '3');
    expect((await cli(args(path))).code).toBe(0);
    expect(lstatSync(path).isCharacterDevice()).toBe(true);
  });

  test('a device that takes nothing: exit code 5', async (context) => {
    // As /dev/full.
    const path = node(context, at('full'), 'c', '1', '7');
    expectFailure(await cli(args(path)), 5, /no space left on this disk.* \[DISK\]$/);
    expect(lstatSync(path).isCharacterDevice()).toBe(true);
  });

  test('a pipe takes it', async () => {
    const path = at('pipe');
    execFileSync('mkfifo', [path]);
    const { ended, text } = await readingFrom(path, args(path));
    expect(ended.code, ended.stderr).toBe(0);
    expect(text).toContain(holds);
    expect(lstatSync(path).isFIFO()).toBe(true);
  });

  test('/dev/stdout, and a link to it, is the standard output', async () => {
    const link = at('stdout');
    symlinkSync('/proc/self/fd/1', link);
    for (const path of ['/dev/stdout', link]) {
      const ended = await cli([...args(path), '--quiet']);
      expect(ended.code, ended.stderr).toBe(0);
      expect(ended.stdout).toContain(holds);
    }
    expect(lstatSync(link).isSymbolicLink()).toBe(true);
  });

  test('the standard output as a file has the report after it', async () => {
    const file = at('redirected');
    const within = ['sh', '-c', `exec "$@" >${file}`, 'sh'];
    expect((await cli(args('/dev/stdout'), { within })).code).toBe(0);
    expect(readFileSync(file, 'utf8')).toContain(holds);
    expect(readFileSync(file, 'utf8').trimEnd()).not.toMatch(/[}#][^\n]*$/);
  });

  test('a link to nothing yet: its target is made, and it stays', async () => {
    mkdirSync(at('folder'));
    const link = at('link');
    symlinkSync(`${at('folder')}/target`, link);
    expect((await cli(args(link))).code).toBe(0);
    expect(lstatSync(link).isSymbolicLink()).toBe(true);
    expect(readFileSync(`${at('folder')}/target`, 'utf8')).toContain(holds);
  });

  test('a folder, a block device, a socket, a path below a file: exit code 2 before any work', async (context) => {
    mkdirSync(at('refused'));
    const socket = at('socket');
    const server = createServer().listen(socket);
    onTestFinished(() => void server.close());
    const refused: readonly (readonly [string, RegExp])[] = [
      [at('refused'), /is a folder; specify a file \[USAGE\]$/],
      [socket, /is not a regular file; specify a file \[USAGE\]$/],
      [
        `${site.at('mirror.yaml')}/file`,
        /a file stands where a folder must be; specify another path \[USAGE\]$/,
      ],
      [node(context, at('block'), 'b', '1', '250'), /is a block device; specify a file \[USAGE\]$/],
    ];
    const before = inside.requests.length;
    for (const [path, message] of refused) expectFailure(await cli(args(path)), 2, message);
    expect(inside.requests.length).toBe(before);
  });
});

/** Folders for output: what names them, and the commands that fill them. */
const folders: readonly (readonly [
  command: string,
  flag: string,
  args: (path: string) => readonly string[],
])[] = [
  ['fetch', '--store', (path) => [...fetchWith(path), '--upstream', `ghcr.io=${upstream.url}`]],
  ['mirror', '--store', (path) => [...mirrorWith(path, site.at('new-medium'))]],
  ['mirror', '--out', (path) => [...mirrorWith(site.at('new-store'), path)]],
  ['bundle', '--out', (path) => ['bundle', '--unsigned', '--store', site.at('store'), '--out', path]],
  ['serve', '--writable', (path) => ['serve', '--writable', path, '--listen', '127.0.0.1:0']],
];
const fetchWith = (store: string) => ['fetch', '--config', site.at('mirror.yaml'), '--store', store];
const mirrorWith = (store: string, out: string) => [
  ...['mirror', '--unsigned', '--config', site.at('mirror.yaml'), '--store', store, '--out', out],
  ...['--upstream', `ghcr.io=${upstream.url}`],
];
/** What stands in place of a folder. */
const isNone = /is not a folder; specify another path/;
const noFolders: readonly (readonly [what: string, make: (path: string) => void, message: RegExp])[] = [
  ['a file', (path) => writeFileSync(path, 'mine'), isNone],
  ['a pipe', (path) => execFileSync('mkfifo', [path]), isNone],
  ['a link', (path) => symlinkSync('/dev/null', path), isNone],
  [
    'a path below a file',
    (path) => writeFileSync(dirname(path), 'mine'),
    /a file stands where a folder must be; specify another path/,
  ],
];
const folderRows = folders.flatMap(([command, flag, args]) =>
  noFolders.map(([what, make, message]) => ({ command, flag, args, what, make, message })),
);

test.each(folderRows)(
  'F11 $command $flag that is $what: exit code 2 before any request, and nothing is written',
  async ({ command, flag, args, what, make, message }) => {
    const folder = site.at(`${command}${flag}-${what.replaceAll(' ', '-')}`);
    mkdirSync(folder);
    const path = join(folder, 'below', 'folder');
    if (what !== 'a path below a file') mkdirSync(dirname(path));
    make(path);
    const [requests, before] = [upstream.requests.length, listing(folder)];
    expectFailure(await cli(args(path)), 2, new RegExp(`${flag} ${path}: ${message.source} \\[USAGE\\]$`));
    expect(upstream.requests.length).toBe(requests);
    expect(listing(folder)).toEqual(before);
  },
);

test('F11 mirror into a folder with files of others is refused before it fetches', async () => {
  const out = site.at('taken');
  site.write('taken/content.tar.000', 'of somebody');
  const requests = upstream.requests.length;
  const ended = await cli(mirrorWith(site.at('new-store'), out));
  expectFailure(
    ended,
    4,
    /content\.tar\.000 already exists and was not written by omni-airgap.* \[CONFLICT\]$/,
  );
  expect(upstream.requests.length).toBe(requests);
});

test('F11 a receipt replaces a file, and the target of a link, in one piece', async () => {
  const target = site.write('receipts/target.json', 'old');
  const link = site.at('receipt-of-link.json');
  symlinkSync(target, link);
  const inode = lstatSync(target).ino;
  await cliJson(loadWith('--receipt', link));
  expect(lstatSync(link).isSymbolicLink()).toBe(true);
  expect(readFileSync(target, 'utf8')).toContain('omni-airgap/receipt');
  expect(lstatSync(target).ino).not.toBe(inode);
});

test('F11 the folder of a receipt is made; that of a new mirror.yaml must exist', async () => {
  const path = site.at('new', 'folder', 'receipt.json');
  await cliJson(loadWith('--receipt', path));
  expect(readFileSync(path, 'utf8')).toContain('omni-airgap/receipt');
  const ended = await cli(['init', '--config', site.at('nowhere', 'mirror.yaml')]);
  expectFailure(ended, 2, /nowhere does not exist; create it first \[NO_INPUT\]$/);
});

test('F11 a hand-off file that is a link stays one', async () => {
  await cliJson(loadWith('--site', site.at('site.yaml')));
  const [name = ''] = listing(site.at('handoff')).filter((file) => file.endsWith('README.txt'));
  const path = site.at('handoff', name);
  const elsewhere = site.write('elsewhere.txt', readFileSync(path, 'utf8'));
  execFileSync('ln', ['-sf', elsewhere, path]);
  await cliJson(loadWith('--site', site.at('site.yaml')));
  expect(lstatSync(path).isSymbolicLink()).toBe(true);
});

/** The inputs: what they are given, and the commands that read them. */
const inputs: readonly {
  readonly flag: string;
  readonly file: () => string;
  readonly args: (path: string) => readonly string[];
}[] = [
  {
    flag: '--config',
    file: () => site.at('mirror.yaml'),
    args: (path) => [
      'plan',
      '--config',
      path,
      '--store',
      site.at('store'),
      '--upstream',
      `ghcr.io=${upstream.url}`,
    ],
  },
  {
    flag: '--verify-key',
    file: () => site.at('site.pub'),
    args: (path) => ['verify', '--bundle', site.at('media'), '--verify-key', path],
  },
  {
    flag: '--site',
    file: () => site.at('site.yaml'),
    args: (path) => loadWith('--site', path, '--dry-run'),
  },
  {
    flag: '--resign-key',
    file: () => site.at('site.key'),
    args: (path) => loadWith('--resign-key', path, '--dry-run'),
  },
  {
    flag: '--sign-key',
    file: () => site.at('site.key'),
    args: (path) => ['bundle', '--store', site.at('store'), '--out', site.at('media'), '--sign-key', path],
  },
];

describe.each(inputs)('F11 $flag', ({ flag, file, args }) => {
  const at = (what: string): string => site.at(`${flag.slice(2)}-${what}`);

  test('a pipe is read, also one that is filled in pieces', async () => {
    const path = at('pipe');
    execFileSync('mkfifo', [path]);
    const running = startCli(args(path));
    const write = 'exec 3>"$1"; head -c 20 "$0" >&3; sleep 0.3; tail -c +21 "$0" >&3';
    execFileSync('timeout', ['60', 'sh', '-c', write, file(), path]);
    const { code, stderr } = await running.ended;
    expect(code, stderr).toBe(0);
  });

  test('/dev/stdin is read', async () => {
    const { code, stderr } = await cli(args('/dev/stdin'), { stdin: readFileSync(file(), 'utf8') });
    expect(code, stderr).toBe(0);
  });

  test('what is no file, and what has no end: exit code 2', async (context) => {
    mkdirSync(at('folder'));
    const endless = node(context, at('zero'), 'c', '1', '5');
    const named = (path: string, what: string): RegExp =>
      new RegExp(`${flag} ${path}: ${what} \\[CONFIG\\]$`);
    expectFailure(await cli(args(at('folder'))), 2, named(at('folder'), 'is a folder; specify a file'));
    expectFailure(await cli(args(endless)), 2, named(endless, 'more than the [0-9]+ bytes it may have'));
  });
});

test('F11 --ca-cert that is a folder: exit code 2', async () => {
  const args = [
    'plan',
    '--config',
    site.at('mirror.yaml'),
    '--store',
    site.at('store'),
    '--ca-cert',
    site.root,
  ];
  expectFailure(await cli(args), 2, /--ca-cert .*: is a folder; specify a file \[CONFIG\]$/);
});

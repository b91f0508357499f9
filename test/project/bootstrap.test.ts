/**
 * The entry scripts on a fresh clone: what they install, when, which Node.js they take, and how they hand over. npm and
 * pnpm are stand-ins here; bare-roots.test.ts runs the real ones.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, expect, onTestFinished, test } from 'vitest';
import { nodeFlags } from '../../scripts/lib/node-flags.ts';
import { read, root, trackedFiles } from '../repository.ts';

interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A clone of the scripts, a CLI that reports how it was started, and an npm that "installs" this very Node.js. */
function freshClone() {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'omni-airgap-clone-')));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const clone = join(folder, 'the clone');
  const bin = join(folder, 'bin');
  const elsewhere = join(folder, 'elsewhere');
  const calls = join(folder, 'calls');
  const copy = (path: string): void => cpSync(join(root, path), join(clone, path));
  for (const path of [clone, bin, elsewhere, join(clone, 'packages/cli/src')])
    mkdirSync(path, { recursive: true });
  for (const path of trackedFiles()) if (path.startsWith('scripts/')) copy(path);
  for (const file of ['package.json', 'pnpm-lock.yaml']) copy(file);
  writeFileSync(
    join(clone, 'packages/cli/src/main.ts'),
    'const args: string[] = process.argv.slice(2);\n' +
      'console.log(JSON.stringify({ args, cwd: process.cwd(), execArgv: process.execArgv }));\nprocess.exit(7);\n',
  );
  writeFileSync(calls, '');
  const script = (path: string, ...lines: string[]): void => {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, ['#!/bin/bash', ...lines, ''].join('\n'));
    chmodSync(path, 0o755);
  };
  const program = (name: string, ...lines: string[]): void => script(join(bin, name), ...lines);
  const pnpm = join(folder, 'pnpm');
  /** What pnpm does when it is called, after the call is recorded. */
  const pnpmDoes = (...lines: string[]): void =>
    script(pnpm, `echo "$PWD|pnpm $*" >>'${calls}'`, 'sleep 0.3', ...lines);
  const installs = (arch: string): string[] => [
    `mkdir -p node_modules/node-linux-${arch}/bin`,
    `ln -sf '${process.execPath}' node_modules/node-linux-${arch}/bin/node`,
  ];
  pnpmDoes(...installs(process.arch));
  program(
    'npm',
    `echo "$PWD|npm $*" >>'${calls}'`,
    'mkdir -p node_modules/@pnpm/exe.linux-any',
    `ln -sf '${pnpm}' node_modules/@pnpm/exe.linux-any/pnpm`,
  );
  const run = async (
    { command = join(clone, 'scripts/omni-airgap'), PATH = `${bin}:/usr/bin:/bin` } = {},
    ...args: string[]
  ): Promise<Outcome> => {
    const env = { PATH, TMPDIR: folder, HOME: folder };
    const child = spawn(command, args, { cwd: elsewhere, env, stdio: ['ignore', 'pipe', 'pipe'] });
    const ended = once(child, 'exit');
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
    const [status] = (await ended) as [number | null];
    return { status, stdout, stderr };
  };
  const installations = (): string[] => readFileSync(calls, 'utf8').split('\n').slice(0, -1);
  return { clone, elsewhere, folder, script, program, pnpmDoes, installs, run, installations };
}

const announcement =
  /^omni-airgap: installing pinned pnpm \d+\.\d+\.\d+ packages and Node\.js \d+\.\d+\.\d+ into node_modules \(once\)\n$/;

describe('scripts/omni-airgap', () => {
  test('installs once, in one line, and becomes the command in the directory it was called from', async () => {
    const { clone, elsewhere, folder, run, installations } = freshClone();
    const first = await run(undefined, 'plan', '--config', 'a b.yaml');
    expect(first.stderr).toMatch(announcement);
    expect(first.status).toBe(7);
    expect(JSON.parse(first.stdout)).toEqual({
      args: ['plan', '--config', 'a b.yaml'],
      cwd: elsewhere,
      execArgv: nodeFlags,
    });
    const again = await run();
    expect(again.stderr).toBe('');
    expect(again.status).toBe(7);
    // Compiled modules are kept in the clone, and not below TMPDIR, where another user could put others in their place.
    expect(existsSync(join(clone, 'node_modules/.cache/omni-airgap/compiled'))).toBe(true);
    expect(existsSync(join(folder, 'node-compile-cache'))).toBe(false);
    expect(installations()).toEqual([
      `${clone}/scripts/pnpm|npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier`,
      `${clone}|pnpm install --frozen-lockfile --ignore-scripts --pm-on-fail=ignore`,
    ]);
  });

  test('installs once when it is first run several times at once', async () => {
    const { run, installations } = freshClone();
    const outcomes = await Promise.all([run(), run(), run()]);
    expect(outcomes.map(({ status }) => status)).toEqual([7, 7, 7]);
    expect(installations()).toHaveLength(2);
    expect(outcomes.filter(({ stderr }) => stderr !== '')).toHaveLength(1);
  });

  test('installs again when the lock file has changed', async () => {
    const { clone, run, installations } = freshClone();
    await run();
    writeFileSync(join(clone, 'pnpm-lock.yaml'), 'another: lock\n');
    expect((await run()).stderr).toMatch(announcement);
    expect((await run()).stderr).toBe('');
    expect(installations()).toHaveLength(4);
  });

  test('shows why an installation failed, and retries it the next time', async () => {
    const { clone, pnpmDoes, installs, run } = freshClone();
    pnpmDoes('mkdir node_modules', 'echo the registry is out of reach', 'exit 3');
    const failed = await run();
    expect(failed.status).toBe(1);
    expect(failed.stdout).toBe('');
    expect(failed.stderr).toContain('the registry is out of reach\nomni-airgap: the installation failed');
    expect(existsSync(join(clone, 'node_modules/.omni-airgap'))).toBe(false);
    pnpmDoes(...installs(process.arch));
    expect((await run()).status).toBe(7);
    expect(existsSync(join(clone, 'node_modules/.omni-airgap'))).toBe(true);
  });

  test('does not start a pnpm whose bytes npm refuses', async () => {
    const { program, run, installations } = freshClone();
    program('npm', 'echo "npm ERR! code EINTEGRITY"', 'exit 1');
    const { status, stderr } = await run();
    expect(status).toBe(1);
    expect(stderr).toContain('EINTEGRITY\nomni-airgap: the installation failed');
    expect(installations()).toEqual([]);
  });

  test('says what to install where npm is missing', async () => {
    const { folder, run } = freshClone();
    rmSync(join(folder, 'bin/npm'));
    // Programs of the system without those of its Node.js.
    for (const name of ['bash', 'readlink', 'dirname', 'sha256sum', 'uname'])
      symlinkSync(join('/usr/bin', name), join(folder, 'bin', name));
    expect(await run({ PATH: join(folder, 'bin') })).toEqual({
      status: 1,
      stdout: '',
      stderr:
        'omni-airgap: npm is missing: install Node.js 18 or newer with npm (Debian, Ubuntu: apt-get install npm)\n',
    });
  });

  test('works through a symbolic link', async () => {
    const { clone, folder, run } = freshClone();
    const link = join(folder, 'bin/airgap');
    symlinkSync(join(clone, 'scripts/omni-airgap'), link);
    expect((await run({ command: link }, 'x')).status).toBe(7);
  });
});

describe('the Node.js that is taken', () => {
  const good = `exec '${process.execPath}' "$@"`;
  /** As glibc's loader says it. */
  const loader = (message: string): string[] => [`echo "node: ${message}" >&2`, 'exit 127'];
  const withoutLibrary = loader(
    'error while loading shared libraries: libatomic.so.1: cannot open shared object file: No such file or directory',
  );
  const needsLibatomic =
    'omni-airgap: Node.js needs libatomic.so.1, which is missing: install the package libatomic1 (Debian, Ubuntu) or libatomic (RHEL, Fedora)\n';

  /** @param candidates what stands where each Node.js would be: lines of a script */
  async function runWith(candidates: { pinned?: string[]; minimum?: string[]; system?: string[] }) {
    const { clone, script, program, pnpmDoes, run } = freshClone();
    pnpmDoes('mkdir -p node_modules');
    const at = (name: string): string => join(clone, `node_modules/${name}-${process.arch}/bin/node`);
    if (candidates.pinned !== undefined) script(at('node-linux'), ...candidates.pinned);
    if (candidates.minimum !== undefined) script(at('node-minimum-linux'), ...candidates.minimum);
    program('node', ...(candidates.system ?? ['echo v18.20.4']));
    const { status, stderr } = await run();
    const [announced = '', ...messages] = stderr.split(/^/m);
    expect(announced).toMatch(announcement);
    return { status, stderr: messages.join('') };
  }

  test('is the pinned one', async () => {
    const broken = ['echo wrong one; exit 9'];
    expect(await runWith({ pinned: [good], minimum: broken, system: broken })).toEqual({
      status: 7,
      stderr: '',
    });
  });

  test('is the pinned oldest one where the pinned one does not start', async () => {
    expect(await runWith({ pinned: withoutLibrary, minimum: [good] })).toEqual({ status: 7, stderr: '' });
  });

  test("is the system's where neither starts, or none comes with the packages", async () => {
    expect(await runWith({ pinned: withoutLibrary, minimum: withoutLibrary, system: [good] })).toEqual({
      status: 7,
      stderr: '',
    });
    expect(await runWith({ system: [good] })).toEqual({ status: 7, stderr: '' });
  });

  test.each([
    ['a library and its package', withoutLibrary, needsLibatomic],
    [
      'a glibc that is too old',
      loader("/lib/x86_64-linux-gnu/libc.so.6: version \\`GLIBC_2.28' not found (required by node)"),
      'omni-airgap: Node.js needs GLIBC_2.28, which this system is too old for: Debian 10, Ubuntu 20.04, RHEL 8 or newer is needed\n',
    ],
    [
      'a system without glibc',
      loader('cannot execute: required file not found'),
      "omni-airgap: Node.js needs glibc, which this system lacks (musl?): install the system's own Node.js 22.19 or newer\n",
    ],
  ])('is none, and the message names %s', async (_what, pinned, stderr) => {
    expect(await runWith({ pinned, minimum: pinned })).toEqual({ status: 1, stderr });
  });

  test('is none where the only one is too old', async () => {
    const { status, stderr } = await runWith({});
    expect(status).toBe(1);
    expect(stderr).toMatch(
      /^omni-airgap: \S+\/bin\/node is version v18\.20\.4: install Node\.js 22\.19 or newer\n$/,
    );
  });
});

test('one pnpm is pinned: where package managers look, and by integrity where it is installed from', () => {
  const { packageManager } = JSON.parse(read('package.json')) as { packageManager: string };
  expect(packageManager).toMatch(/^pnpm@[0-9.]+\+sha512\.[0-9a-f]{128}$/);
  const version = /@([0-9.]+)/.exec(packageManager)?.[1];
  const { packages } = JSON.parse(read('scripts/pnpm/package-lock.json')) as {
    packages: Record<string, { version?: string; integrity?: string; resolved?: string }>;
  };
  const { '': _workspace, ...locked } = packages;
  expect(Object.keys(locked)).toEqual(['arm64', 'x64'].map((arch) => `node_modules/@pnpm/exe.linux-${arch}`));
  for (const { version: pinned, integrity, resolved } of Object.values(locked)) {
    expect(pinned).toBe(version);
    expect(integrity).toMatch(/^sha512-/);
    expect(resolved).toBeUndefined();
  }
});

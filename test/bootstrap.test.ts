/** The entry scripts on a fresh clone: what they install, when, and how they hand over. npx is a stand-in here. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
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
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, expect, onTestFinished, test } from 'vitest';
import { nodeFlags } from '../scripts/lib/node-flags.ts';
import { root } from './repository.ts';

interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A clone of the scripts, a CLI that tells how it was started, and an npx that "installs" this very Node.js. */
function freshClone() {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'omni-airgap-clone-')));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const clone = join(folder, 'the clone');
  const bin = join(folder, 'bin');
  const elsewhere = join(folder, 'elsewhere');
  const calls = join(folder, 'calls');
  for (const path of [clone, bin, elsewhere, join(clone, 'packages/cli/src')])
    mkdirSync(path, { recursive: true });
  cpSync(join(root, 'scripts'), join(clone, 'scripts'), { recursive: true });
  for (const file of ['package.json', 'pnpm-lock.yaml']) copyFileSync(join(root, file), join(clone, file));
  writeFileSync(
    join(clone, 'packages/cli/src/main.ts'),
    'const args: string[] = process.argv.slice(2);\n' +
      'console.log(JSON.stringify({ args, cwd: process.cwd(), execArgv: process.execArgv }));\nprocess.exit(7);\n',
  );
  writeFileSync(calls, '');
  const program = (name: string, ...lines: string[]): void => {
    writeFileSync(join(bin, name), ['#!/bin/bash', ...lines, ''].join('\n'));
    chmodSync(join(bin, name), 0o755);
  };
  const installs = (arch: string): string[] => [
    `echo "$PWD|$*" >>'${calls}'`,
    'sleep 0.3',
    `mkdir -p node_modules/node-linux-${arch}/bin`,
    `ln -sf '${process.execPath}' node_modules/node-linux-${arch}/bin/node`,
  ];
  program('npx', ...installs(process.arch));
  const run = async (command = join(clone, 'scripts/omni-airgap'), ...args: string[]): Promise<Outcome> => {
    const env = { PATH: `${bin}:/usr/bin:/bin`, TMPDIR: folder, HOME: folder };
    const child = spawn(command, args, { cwd: elsewhere, env, stdio: ['ignore', 'pipe', 'pipe'] });
    const ended = once(child, 'exit');
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
    const [status] = (await ended) as [number | null];
    return { status, stdout, stderr };
  };
  const installations = (): string[] => readFileSync(calls, 'utf8').split('\n').slice(0, -1);
  return { clone, elsewhere, folder, program, installs, run, installations };
}

const announcement =
  /^omni-airgap: installing pinned pnpm \d+\.\d+\.\d+ packages and Node\.js \d+\.\d+\.\d+ into node_modules \(once\)\n$/;

describe('scripts/omni-airgap', () => {
  test('installs once, in one line, and becomes the command in the directory it was called from', async () => {
    const { clone, elsewhere, run, installations } = freshClone();
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
    const { packageManager } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      packageManager: string;
    };
    expect(installations()).toEqual([
      `${clone}|--yes ${packageManager} install --frozen-lockfile --ignore-scripts --pm-on-fail=ignore`,
    ]);
  });

  test('installs once when it is first run several times at once', async () => {
    const { run, installations } = freshClone();
    const outcomes = await Promise.all([run(), run(), run()]);
    expect(outcomes.map(({ status }) => status)).toEqual([7, 7, 7]);
    expect(installations()).toHaveLength(1);
    expect(outcomes.filter(({ stderr }) => stderr !== '')).toHaveLength(1);
  });

  test('installs again when the lock file has changed', async () => {
    const { clone, run, installations } = freshClone();
    await run();
    writeFileSync(join(clone, 'pnpm-lock.yaml'), 'another: lock\n');
    expect((await run()).stderr).toMatch(announcement);
    expect((await run()).stderr).toBe('');
    expect(installations()).toHaveLength(2);
  });

  test('shows why an installation failed, and tries again the next time', async () => {
    const { clone, program, installs, run } = freshClone();
    program('npx', 'mkdir node_modules', 'echo the registry is out of reach', 'exit 3');
    const failed = await run();
    expect(failed.status).toBe(1);
    expect(failed.stdout).toBe('');
    expect(failed.stderr).toContain('the registry is out of reach\nomni-airgap: the installation failed');
    expect(existsSync(join(clone, 'node_modules/.omni-airgap'))).toBe(false);
    program('npx', ...installs(process.arch));
    expect((await run()).status).toBe(7);
    expect(existsSync(join(clone, 'node_modules/.omni-airgap'))).toBe(true);
  });

  test('works through a symbolic link', async () => {
    const { clone, folder, run } = freshClone();
    const link = join(folder, 'bin/airgap');
    symlinkSync(join(clone, 'scripts/omni-airgap'), link);
    expect((await run(link, 'x')).status).toBe(7);
  });

  test("takes the system's Node.js where none comes with the packages, if it is new enough", async () => {
    const { folder, program, installs, run } = freshClone();
    program('npx', ...installs('of-another-kind'));
    symlinkSync(process.execPath, join(folder, 'bin/node'));
    expect((await run()).status).toBe(7);
    rmSync(join(folder, 'bin/node'));
    program('node', 'exit 1');
    const { status, stderr } = await run();
    expect(status).toBe(1);
    expect(stderr).toMatch(
      /^omni-airgap: no Node\.js .* the system has none of 22\.19 or newer: install one\n$/,
    );
  });
});

/** Starts a program where nothing is installed: a folder as its root, with the program and a few libraries in it. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';

/** A user's PATH may lack the folder of chroot. */
const path = `${process.env['PATH']}:/usr/sbin:/sbin`;

/** This machine does not let the user have a root of their own. */
export class NoRoot extends Error {}

/**
 * @param program an executable for this machine
 * @param mayHave whether a shared library (`libc.so.6`) of this machine comes along
 * @returns what it prints
 * @throws NoRoot; Error with the program's last line when it fails
 */
export function runInEmptyRoot(
  program: string,
  args: readonly string[],
  mayHave: (library: string) => boolean,
): string {
  const folder = mkdtempSync(join(tmpdir(), 'omni-airgap-empty-root-'));
  try {
    copyFileSync(program, join(folder, 'program'));
    for (const library of librariesOf(program)) {
      if (!mayHave(basename(library))) continue;
      mkdirSync(join(folder, dirname(library)), { recursive: true });
      copyFileSync(library, join(folder, library));
    }
    const enter = process.getuid?.() === 0 ? ['chroot', folder] : namespace(folder);
    return run([...enter, '/program', ...args]);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Paths of the libraries and of the dynamic loader, as ldd finds them here. */
function librariesOf(program: string): readonly string[] {
  return [...run(['ldd', program]).matchAll(/(?:=> |^\t)(\/\S+) \(0x/gm)].map(([, path = '']) => path);
}

function namespace(folder: string): readonly string[] {
  const enter = ['unshare', '--user', '--map-root-user'];
  try {
    run([...enter, 'true']);
  } catch (error) {
    throw new NoRoot(`neither root nor allowed to make a user namespace (${(error as Error).message})`);
  }
  return [...enter, '--root', folder];
}

function run([command = '', ...args]: readonly string[]): string {
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: 'pipe', env: { PATH: path } });
  } catch (error) {
    const { stderr = '', message } = error as { stderr?: string; message: string };
    throw new Error(stderr.trim().split('\n').at(-1) || message);
  }
}

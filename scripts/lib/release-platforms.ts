/**
 * The platforms that a release has an executable for, what their executables may need of a system, and the official
 * Node.js of the pinned version for each.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..', '..');

export interface Platform {
  /** As Talos and Omni call it: the end of the name of the executable. */
  readonly name: 'linux-amd64' | 'linux-arm64';
  /** The processor, in the word that Node.js has for it. */
  readonly arch: 'x64' | 'arm64';
  /** QEMU's name for the processor: `qemu-aarch64` runs its programs on other machines. */
  readonly emulated: string;
  /** Where Debian puts the libraries that QEMU needs for that. */
  readonly emulatorLibraries: string;
}

export const platforms: readonly Platform[] = [
  {
    name: 'linux-amd64',
    arch: 'x64',
    emulated: 'x86_64',
    emulatorLibraries: '/usr/x86_64-linux-gnu',
  },
  {
    name: 'linux-arm64',
    arch: 'arm64',
    emulated: 'aarch64',
    emulatorLibraries: '/usr/aarch64-linux-gnu',
  },
];

/** What README.md names. An executable that needs anything else is not released. */
export const allowed = {
  /** Beside those of glibc. */
  libraries: ['libstdc++.so.6', 'libgcc_s.so.1'],
  glibcLibraries: /^(?:lib(?:c|m|dl|pthread|rt)\.so\.\d|ld-linux-[a-z0-9-]+\.so\.\d)$/,
  /** Debian 10, Ubuntu 20.04, RHEL 8. */
  glibc: 'GLIBC_2.28',
};

/**
 * The unpacked package of the pinned Node.js for a platform; that of another machine comes from the npm registry, and
 * is checked against the integrity in pnpm-lock.yaml.
 * @returns its folder, with `bin/node` and `LICENSE`
 * @throws Error when the package cannot be fetched or has other bytes
 */
export function nodePackage({ arch }: Platform): string {
  const name = `node-linux-${arch}`;
  const installed = join(root, 'node_modules', name);
  if (existsSync(installed)) return realpathSync(installed);
  const { version, integrity } = pinned(name);
  const cache = join(root, 'node_modules', '.cache', 'omni-airgap');
  const unpacked = join(cache, `${name}-${version}-${createHash('sha256').update(integrity).digest('hex')}`);
  if (existsSync(unpacked)) return unpacked;
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, 'fetching-'));
  try {
    const [file = ''] = execFileSync('npm', ['pack', '--silent', '--ignore-scripts', `${name}@${version}`], {
      cwd: folder,
      encoding: 'utf8',
    })
      .trim()
      .split('\n')
      .slice(-1);
    const tarball = join(folder, file);
    const actual = `sha512-${createHash('sha512').update(readFileSync(tarball)).digest('base64')}`;
    if (actual !== integrity)
      throw new Error(`${name} ${version} has ${actual}, pnpm-lock.yaml says ${integrity}: do not use it`);
    execFileSync('tar', ['-xzf', tarball, '-C', folder, 'package/bin/node', 'package/LICENSE']);
    renameSync(join(folder, 'package'), unpacked);
    return unpacked;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function pinned(name: string): { readonly version: string; readonly integrity: string } {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    optionalDependencies: Record<string, string>;
  };
  const version = manifest.optionalDependencies[name] ?? '';
  const lock = readFileSync(join(root, 'pnpm-lock.yaml'), 'utf8');
  const at = lock.indexOf(`\n  ${name}@${version}:\n`);
  const integrity = /\{integrity: (sha512-[^}]+)\}/.exec(lock.slice(at, at + 300))?.[1];
  if (at < 0 || integrity === undefined)
    throw new Error(`pnpm-lock.yaml does not pin ${name} ${version}: install the packages again`);
  return { version, integrity };
}

/** The repository as the tests about it see it: tracked files and manifests. */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, globSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

export const root = join(import.meta.dirname, '..');

/** Paths of all tracked files that are there, with slashes, from the root. */
export function trackedFiles(): string[] {
  return execFileSync('git', ['ls-files', '-z'], { cwd: root, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 })
    .split('\0')
    .filter((path) => path !== '' && existsSync(join(root, path)));
}

/** Makes a folder with what a fresh clone has: the tracked files, and nothing that was installed or made here. */
export function copyClone(folder: string): void {
  for (const path of trackedFiles()) {
    mkdirSync(join(folder, dirname(path)), { recursive: true });
    cpSync(join(root, path), join(folder, path));
  }
}

export function read(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

/** Folders that have a package.json: '.' and `packages/<name>`. */
export function manifestFolders(): string[] {
  return [
    '.',
    ...globSync('packages/*/package.json', { cwd: root }).map((path) => path.slice(0, -13)),
  ].sort();
}

/** Every dependency that a folder's package.json names, of any kind. */
export function dependenciesOf(folder: string): string[] {
  const manifest = JSON.parse(read(join(folder, 'package.json'))) as Record<string, Record<string, string>>;
  return ['dependencies', 'devDependencies', 'optionalDependencies', 'peerDependencies'].flatMap((kind) =>
    Object.keys(manifest[kind] ?? {}),
  );
}

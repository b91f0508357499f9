/** Rules about the repository as a whole: dependencies are explained, the lock file is portable, files are clean. */
import { describe, expect, test } from 'vitest';
import { dependenciesOf, manifestFolders, read, trackedFiles } from '../repository.ts';

const own = '@omni-airgap/';
const dependencies = [...new Set(manifestFolders().flatMap(dependenciesOf))]
  .filter((name) => !name.startsWith(own))
  .sort();
const lock = read('pnpm-lock.yaml');
const isText = (path: string): boolean => !/\.(png|jpg|gz|xz|zst|iso|tar|bin|pdf|woff2)$/.test(path);
const files = trackedFiles().filter((path) => isText(path) && path !== 'pnpm-lock.yaml');

/** `path:line: text` of each line that `pattern` finds. */
function linesWith(pattern: RegExp, paths: readonly string[]): string {
  return paths
    .flatMap((path) =>
      read(path)
        .split('\n')
        .flatMap((line, i) => (pattern.test(line) ? [`${path}:${i + 1}: ${line.trim().slice(0, 120)}`] : [])),
    )
    .join('\n');
}

describe('docs/dependencies.md', () => {
  const text = read('docs/dependencies.md');
  const documented = [...text.matchAll(/^- `([^`]+)`/gm)].map((match) => match[1]);

  test('T56 has one line for each dependency, and none for what is no dependency', () => {
    expect([...documented].sort()).toEqual(dependencies);
  });

  test('says of each what for, why this one and what it pulls in', () => {
    for (const line of text.split('\n').filter((one) => one.startsWith('- `'))) {
      expect(line).toMatch(/^- `[^`]+` \([^)]{3,}\): .{5,}\. Why: .{10,}\. Pulls in: .{5,}\.$/);
    }
  });
});

describe('the lock file', () => {
  test('names packages by integrity only, so that any mirror of the registry serves', () => {
    const resolutions = [...lock.matchAll(/^ +resolution: (.*)$/gm)].map((match) => match[1] ?? '');
    expect(resolutions.length).toBeGreaterThan(dependencies.length);
    for (const resolution of resolutions)
      expect(resolution).toMatch(/^\{integrity: sha512-[A-Za-z0-9+/]{86}==\}$/);
    expect(lock).not.toMatch(/https?:\/\//);
    expect(lock).not.toMatch(/tarball/);
  });

  test('does not hold the package that squats the name oras', () => {
    expect(lock).not.toMatch(/^ +'?oras@/m);
    expect(dependencies).not.toContain('oras');
  });
});

describe('tracked files', () => {
  test('leave nothing for later', () => {
    expect(linesWith(/\b(?:TOD[O]|FIXM[E])\b/, files)).toBe('');
  });

  // A push may begin in the middle: an upload in chunks, a part that an earlier attempt left (F6).
  test('push bytes in memory with openerOf, which begins at the offset that is asked for', () => {
    const deaf = /\bpush\([^;]*\(\) =>\s*bytesOf\((?!\))/;
    expect(files.filter((path) => path.endsWith('.ts') && deaf.test(read(path)))).toEqual([]);
  });

  test('name no folder of the machine they were written on', () => {
    const sources = files.filter((path) => !/(^|\/)fixtures\//.test(path));
    expect(linesWith(/(?<![\w.~:$}-])\/(?:work|root|home)\/\w/, sources)).toBe('');
  });
});

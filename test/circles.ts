/** Circles of imports: files that cannot be understood one after the other. */
import { posix } from 'node:path';
import { importsOf } from './imports.ts';
import type { SourceFile } from './layers.ts';

/** Each circle as `a -> b -> a`, imports of types included. */
export function circlesIn(files: readonly SourceFile[]): string[] {
  const imports = new Map(
    files.map(({ path, source }) => [
      path,
      importsOf(source)
        .filter(({ specifier }) => specifier.startsWith('.'))
        .map(({ specifier }) => posix.join(posix.dirname(path), specifier)),
    ]),
  );
  const circles: string[] = [];
  const seen = new Set<string>();
  const follow = (path: string, trail: readonly string[]): void => {
    const start = trail.indexOf(path);
    if (start >= 0) circles.push([...trail.slice(start), path].join(' -> '));
    if (seen.has(path)) return;
    seen.add(path);
    for (const next of imports.get(path) ?? []) follow(next, [...trail, path]);
  };
  for (const { path } of files) follow(path, []);
  return circles;
}

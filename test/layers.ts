/**
 * The architecture as a table, and a checker for it: which package may import which sibling and which npm
 * package. cli -> fetcher | bundler | loader | server -> content, talos.
 */
import { isBuiltin } from 'node:module';
import { posix } from 'node:path';
import { importsOf } from './imports.ts';

interface Layer {
  readonly siblings: readonly string[];
  readonly npm: readonly string[];
  /** Node modules it may use; all when left out. */
  readonly builtins?: readonly string[];
}

const base = ['content', 'talos'];
const sigstore = ['@sigstore/bundle', '@sigstore/protobuf-specs', '@sigstore/verify'];

export const layers: Readonly<Record<string, Layer>> = {
  content: { siblings: [], npm: ['p-limit', 'undici', 'valibot'] },
  // Pure domain knowledge: nothing that reads, writes, connects or starts anything.
  talos: {
    siblings: [],
    npm: ['yaml'],
    builtins: [
      'node:assert',
      'node:buffer',
      'node:crypto',
      'node:path',
      'node:path/posix',
      'node:url',
      'node:util',
      'node:zlib',
    ],
  },
  fetcher: { siblings: base, npm: [...sigstore, 'p-limit', 'tar', 'valibot', 'yaml'] },
  bundler: { siblings: base, npm: [] },
  loader: { siblings: base, npm: ['@aws-sdk/client-s3', '@smithy/shared-ini-file-loader', 'p-limit'] },
  server: { siblings: base, npm: [] },
  cli: { siblings: [...base, 'fetcher', 'bundler', 'loader', 'server'], npm: ['commander'] },
};

const scope = '@omni-airgap/';
const testTools = ['vitest', 'fast-check'];

export interface SourceFile {
  /** From the root of the repository, with slashes. */
  readonly path: string;
  readonly source: string;
}

/** The names in dependencies, devDependencies and so on of `packages/<name>/package.json`, or '.' for the root's. */
export type DeclaredIn = (folder: string) => readonly string[];

/** One line for each import that breaks the table: `file:line: what it imports, and why not`. */
export function violationsIn(file: SourceFile, declared: DeclaredIn): string[] {
  const owner = /^packages\/([^/]+)\//.exec(file.path)?.[1];
  const folder = owner === undefined ? '.' : `packages/${owner}`;
  const isTest = owner === undefined || /^packages\/[^/]+\/(test|src\/testing)\//.test(file.path);
  const layer = owner === undefined ? undefined : layers[owner];

  const reason = (specifier: string): string | undefined => {
    if (owner !== undefined && layer === undefined) return `${folder} is not in the table of layers`;
    if (specifier.startsWith('.')) {
      const target = posix.join(posix.dirname(file.path), specifier);
      if (owner !== undefined && !target.startsWith(`${folder}/`)) return 'leaves its package';
      if (!isTest && target.startsWith(`${folder}/src/testing/`)) return 'needs what is for tests only';
      return undefined;
    }
    if (isBuiltin(specifier)) {
      const allowed = isTest ? undefined : layer?.builtins;
      return allowed === undefined || allowed.includes(specifier) ? undefined : `is not for ${owner}`;
    }
    const name = specifier
      .split('/')
      .slice(0, specifier.startsWith('@') ? 2 : 1)
      .join('/');
    if (isTest && testTools.includes(name)) return undefined;
    if (name.startsWith(scope)) {
      const sibling = name.slice(scope.length);
      if (layer !== undefined && !layer.siblings.includes(sibling) && !(isTest && sibling === owner)) {
        return `${owner} must not know ${sibling}`;
      }
      const inner = specifier.slice(name.length);
      if (inner !== '' && !(isTest && specifier === `${scope}content/testing`)) {
        return 'is not the public face of that package';
      }
      if (sibling === owner) return undefined;
    } else if (layer !== undefined && !layer.npm.includes(name)) {
      return `is not in the list of npm packages for ${owner}`;
    }
    return declared(folder).includes(name) ? undefined : `is not in ${posix.join(folder, 'package.json')}`;
  };

  return importsOf(file.source).flatMap(({ specifier, line }) => {
    const why = reason(specifier);
    return why === undefined ? [] : [`${file.path}:${line}: '${specifier}' ${why}`];
  });
}

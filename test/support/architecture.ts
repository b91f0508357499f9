/**
 * The architecture as a table, and a checker for it: which package may import which sibling and which npm package,
 * and, inside `oci`, which room may import which.
 * cli -> fetcher | bundler | loader | server -> store, objects -> format -> oci; talos by itself; pki on oci and talos.
 */

import { isBuiltin } from 'node:module';
import { posix } from 'node:path';
import { parseAst } from 'vitest/node';

interface Layer {
  readonly siblings: readonly string[];
  readonly npm: readonly string[];
  /** Node modules it may use; all when left out. */
  readonly builtins?: readonly string[];
  /** Folders below `src`, and the folders each may import from. `.` is `src` itself and every folder without a row. */
  readonly rooms?: Readonly<Record<string, readonly string[]>>;
}

const content = ['oci', 'format', 'talos'];
/** What the CycloneDX library validates with, in tests. */
const schemaValidators = ['ajv', 'ajv-formats', 'ajv-formats-draft2019'];
const sigstore = ['@sigstore/bundle', '@sigstore/protobuf-specs', '@sigstore/verify'];

export const layers: Readonly<Record<string, Layer>> = {
  oci: {
    siblings: [],
    npm: ['undici'],
    rooms: {
      base: [],
      '.': ['base'],
      fs: ['base', '.'],
      http: ['base', '.'],
      layout: ['base', '.', 'fs'],
      registry: ['base', '.', 'fs', 'http'],
      testing: ['base', '.', 'fs', 'http', 'layout', 'registry'],
    },
  },
  format: { siblings: ['oci'], npm: ['valibot'] },
  objects: { siblings: ['oci'], npm: ['@aws-sdk/client-s3', '@smithy/shared-ini-file-loader', 'p-limit'] },
  store: { siblings: ['oci', 'format'], npm: ['valibot'] },
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
  fetcher: {
    siblings: [...content, 'store'],
    npm: [...sigstore, 'p-limit', 'semver', '@types/semver', 'tar', 'valibot'],
  },
  bundler: { siblings: [...content, 'store'], npm: ['@cyclonedx/cyclonedx-library', ...schemaValidators] },
  // What an auditor inside reads: never the store of the connected host.
  loader: { siblings: [...content, 'objects'], npm: ['p-limit'] },
  pki: { siblings: ['oci', 'talos'], npm: ['@peculiar/x509', 'bcryptjs', 'openpgp', 'reflect-metadata'] },
  server: { siblings: [...content, 'store', 'objects'], npm: ['bcryptjs', 'prom-client'] },
  cli: {
    siblings: [...content, 'store', 'objects', 'fetcher', 'bundler', 'loader', 'pki', 'server'],
    npm: ['commander'],
  },
};

/** Public faces besides the package itself, by their subpaths. */
const subpaths: Readonly<Record<string, readonly string[]>> = {
  oci: ['/base', '/fs', '/http', '/layout', '/model', '/registry'],
  loader: ['/prune'],
};

const scope = '@omni-airgap/';
const testTools = ['vitest', 'fast-check'];

export interface SourceFile {
  /** From the root of the repository, with slashes. */
  readonly path: string;
  readonly source: string;
}

/** The names in dependencies, devDependencies and so on of `packages/<name>/package.json`, or '.' for the root's. */
type DeclaredIn = (folder: string) => readonly string[];

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
      return roomViolation(layer, folder, file.path, target);
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
      const forTests = isTest && (sibling === owner || specifier === `${scope}oci/testing`);
      if (layer !== undefined && !layer.siblings.includes(sibling) && !forTests) {
        return `${owner} must not know ${sibling}`;
      }
      const inner = specifier.slice(name.length);
      if (inner !== '' && !subpaths[sibling]?.includes(inner) && !(isTest && inner === '/testing')) {
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

/** Why an import inside one package breaks its table of rooms, if it does. */
function roomViolation(
  layer: Layer | undefined,
  folder: string,
  path: string,
  target: string,
): string | undefined {
  const rooms = layer?.rooms;
  const source = `${folder}/src/`;
  if (rooms === undefined || !path.startsWith(source) || !target.startsWith(source)) return undefined;
  const roomOf = (file: string): string => {
    const [first = '', ...more] = file.slice(source.length).split('/');
    return more.length > 0 && Object.hasOwn(rooms, first) ? first : '.';
  };
  const from = roomOf(path);
  const to = roomOf(target);
  return from === to || rooms[from]?.includes(to) === true ? undefined : `${from} must not know ${to}`;
}

interface Import {
  readonly specifier: string;
  /** From 1. */
  readonly line: number;
}

type Node = Readonly<Record<string, unknown>>;

/** @throws what the parser throws when `source` is not TypeScript */
export function importsOf(source: string): Import[] {
  const found: Import[] = [];
  visit(parseAst(source, { lang: 'ts' }) as unknown as Node, (node) => {
    const literal = importedBy(node);
    if (literal === undefined) return;
    // A computed specifier cannot be judged; it is handed out as something that no rule allows.
    const specifier = literal['type'] === 'Literal' ? String(literal['value']) : '(computed)';
    const line = source.slice(0, node['start'] as number).split('\n').length;
    found.push({ specifier, line });
  });
  return found;
}

function importedBy(node: Node): Node | undefined {
  switch (node['type']) {
    case 'ImportDeclaration':
    case 'ExportAllDeclaration':
    case 'ExportNamedDeclaration':
    case 'ImportExpression':
    case 'TSImportType':
      return (node['source'] ?? undefined) as Node | undefined;
    case 'TSExternalModuleReference':
      return node['expression'] as Node;
    case 'CallExpression': {
      const callee = node['callee'] as Node;
      return callee['name'] === 'require' ? (node['arguments'] as Node[])[0] : undefined;
    }
    default:
      return undefined;
  }
}

function visit(node: Node, see: (node: Node) => void): void {
  if (typeof node['type'] === 'string') see(node);
  for (const child of Object.values(node)) {
    if (typeof child === 'object' && child !== null) visit(child as Node, see);
  }
}

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

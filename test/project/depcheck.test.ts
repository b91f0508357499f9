/** Architecture as a test: imports follow the table in architecture.ts and go in no circle. */

import { globSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { dependenciesOf, manifestFolders, read, root } from '../repository.ts';
import { circlesIn, importsOf, layers, type SourceFile, violationsIn } from '../support/architecture.ts';

const sources = globSync(['packages/*/{src,test}/**/*.ts', 'test/**/*.ts', 'scripts/**/*.ts'], {
  cwd: root,
  exclude: ['**/node_modules/**'],
});

test('every import follows the table of layers and is declared', () => {
  expect(sources.length).toBeGreaterThan(20);
  const violations = sources.flatMap((path) => violationsIn({ path, source: read(path) }, dependenciesOf));
  expect(violations.join('\n')).toBe('');
});

test('no import leads back to the file it stands in', () => {
  expect(circlesIn(sources.map((path) => ({ path, source: read(path) })))).toEqual([]);
});

test('every connection is made in oci/http; only the server listens', () => {
  const network =
    /^import (?!type )(?:\{([^}]*)\}|.*) from '(?:node:(?:net|tls|dgram|dns|dns\/promises|http|https|http2)|undici(?:\/[^']+)?)';/gm;
  const makers = globSync('packages/*/src/**/*.ts', { cwd: root }).filter((path) => {
    const names = [...read(path).matchAll(network)].flatMap(([, list = '*']) => list.split(','));
    return names
      .map((name) => name.trim())
      .some((name) => name !== '' && !/^(?:type .*|isIP|BlockList)$/.test(name));
  });
  const allowed =
    /^packages\/(?:oci\/src\/(?:http|testing)|objects\/src\/testing)\/|^packages\/server\/src\/http\/server\.ts$/;
  expect(makers).toEqual(
    expect.arrayContaining(['packages/oci/src/http/probe.ts', 'packages/oci/src/http/undici.ts']),
  );
  expect(makers.filter((path) => !allowed.test(path))).toEqual([]);
});

test('every package.json declares no more than the table of layers allows', () => {
  const folders = manifestFolders().filter((folder) => folder !== '.');
  expect(folders.map((folder) => folder.slice('packages/'.length))).toEqual(Object.keys(layers).sort());
  for (const folder of folders) {
    const layer = layers[folder.slice('packages/'.length)];
    // The tests of every package may use oci/testing; what src may import is checked by import above.
    const siblings = ['oci', ...(layer?.siblings ?? [])].map((name) => `@omni-airgap/${name}`);
    const allowed = [...siblings, ...(layer?.npm ?? [])];
    expect(allowed, `${folder}/package.json`).toEqual(expect.arrayContaining(dependenciesOf(folder)));
  }
});

describe('the checker', () => {
  const everythingDeclared = () => [
    '@omni-airgap/store',
    'undici',
    'yaml',
    '@omni-airgap/oci',
    '@omni-airgap/loader',
    'left-pad',
  ];
  const check = (path: string, ...lines: string[]): string[] =>
    violationsIn({ path, source: lines.join('\n') } satisfies SourceFile, everythingDeclared);

  test.each([
    ['static', "import { a } from '@omni-airgap/loader';"],
    ['type-only', "import type { A } from '@omni-airgap/loader';"],
    ['inline type', "let a: import('@omni-airgap/loader').A;"],
    ['side effect', "import '@omni-airgap/loader';"],
    ['dynamic', "const a = await import('@omni-airgap/loader');"],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is source text for the checker
    ['dynamic in a template', "const a = `${await import('@omni-airgap/loader')}`;"],
    ['re-export', "export * from '@omni-airgap/loader';"],
    ['named re-export', "export type { A } from '@omni-airgap/loader';"],
    ['required', "const a = require('@omni-airgap/loader');"],
  ])('finds a planted %s import of a sibling, with file and line', (_kind, line) => {
    expect(check('packages/fetcher/src/plan.ts', '// first line', line)).toEqual([
      "packages/fetcher/src/plan.ts:2: '@omni-airgap/loader' fetcher must not know loader",
    ]);
  });

  test.each([
    [
      'an undeclared npm package',
      'packages/format/src/a.ts',
      "import 'valibot';",
      'is not in packages/format/package.json',
    ],
    [
      'an npm package off the list',
      'packages/oci/src/a.ts',
      "import 'left-pad';",
      'is not in the list of npm packages for oci',
    ],
    ['an undeclared package in a script', 'scripts/demo.ts', "import 'commander';", 'is not in package.json'],
    [
      'input and output in talos',
      'packages/talos/src/a.ts',
      "import 'node:fs/promises';",
      'is not for talos',
    ],
    [
      'a client in talos',
      'packages/talos/src/a.ts',
      "import 'undici';",
      'is not in the list of npm packages for talos',
    ],
    [
      'a way around the packages',
      'packages/loader/src/a.ts',
      "import '../../bundler/src/index.ts';",
      'leaves its package',
    ],
    [
      'a private file of a sibling',
      'packages/loader/src/a.ts',
      "import '@omni-airgap/oci/src/base/json.ts';",
      'is not the public face of that package',
    ],
    [
      'test tools in production',
      'packages/loader/src/a.ts',
      "import '@omni-airgap/oci/testing';",
      'is not the public face of that package',
    ],
    [
      'test tools of its own in production',
      'packages/oci/src/a.ts',
      "import './testing/suite.ts';",
      'needs what is for tests only',
    ],
    [
      'a room of oci that knows too much',
      'packages/oci/src/layout/a.ts',
      "import '../http/gate.ts';",
      'layout must not know http',
    ],
    [
      'a room of oci that knows too much, from its root',
      'packages/oci/src/copy.ts',
      "import './layout/layout.ts';",
      '. must not know layout',
    ],
    [
      'the store inside',
      'packages/loader/src/a.ts',
      "import '@omni-airgap/store';",
      'loader must not know store',
    ],
    [
      'vitest in production',
      'packages/oci/src/a.ts',
      "import 'vitest';",
      'is not in the list of npm packages for oci',
    ],
    [
      'a computed import',
      'packages/oci/src/a.ts',
      'await import(name);',
      'is not in the list of npm packages for oci',
    ],
    [
      'a package that nobody planned',
      'packages/extra/src/a.ts',
      "import 'node:fs';",
      'packages/extra is not in the table of layers',
    ],
  ])('finds %s', (_what, path, line, why) => {
    const [violation, ...more] = check(path, line);
    expect(more).toEqual([]);
    expect(violation).toContain(`${path}:1: `);
    expect(violation).toContain(why);
  });

  test.each([
    ['packages/fetcher/src/a.ts', "import { a } from '@omni-airgap/oci'; import './b.ts'; import 'node:fs';"],
    ['packages/oci/test/a.test.ts', "import 'vitest'; import '../src/base/json.ts'; import 'fast-check';"],
    ['packages/oci/src/registry/a.ts', "import '../http/gate.ts'; import '../model/digest.ts';"],
    ['packages/fetcher/src/b.ts', "import '@omni-airgap/oci/http';"],
    ['packages/fetcher/test/a.test.ts', "import '@omni-airgap/oci/testing';"],
    ['packages/talos/src/a.ts', "import { createHash } from 'node:crypto'; import 'yaml';"],
    [
      'packages/oci/src/a.ts',
      "const text = \"import x from 'left-pad'\"; // import 'left-pad'\n/import 'left-pad'/;",
    ],
    ['test/load.test.ts', "import '../packages/loader/src/index.ts'; import 'vitest/node';"],
  ])('lets what is allowed pass: %s', (path, line) => {
    expect(check(path, line)).toEqual([]);
  });

  test('finds a planted circle, of types too, once', () => {
    const files = [
      { path: 'a/one.ts', source: "import { two } from './deep/two.ts';" },
      { path: 'a/deep/two.ts', source: "import './three.ts';\nimport './four.ts';" },
      { path: 'a/deep/three.ts', source: "import type { One } from '../one.ts';" },
      { path: 'a/deep/four.ts', source: "import './three.ts';" },
    ];
    expect(circlesIn(files)).toEqual(['a/one.ts -> a/deep/two.ts -> a/deep/three.ts -> a/one.ts']);
    expect(circlesIn(files.filter(({ path }) => path !== 'a/deep/three.ts'))).toEqual([]);
  });

  test('sees imports in the order and on the lines they stand', () => {
    expect(importsOf("import a from 'a';\n\nexport { b } from 'b';\nconst c = 1;\nexport { c };")).toEqual([
      { specifier: 'a', line: 1 },
      { specifier: 'b', line: 3 },
    ]);
  });
});

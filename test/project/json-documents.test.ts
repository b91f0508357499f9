/**
 * The documents that `--json` prints are an interface: keys, their order and types are kept in json-documents.snap. A new
 * key may come; one that goes or changes its type breaks the scripts of operators. After a wanted change: run with `-u`.
 */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { commandsBelow } from '../../scripts/docs-commands.ts';
import { type SampleUpstream, startSampleUpstream } from '../../scripts/sample-upstream/sample-upstream.ts';
import { read } from '../repository.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { cli, startServe } from '../support/cli.ts';
import { upstreamFlags, type Workspace, workspace } from '../support/workspace.ts';

type Shape = string | readonly [Shape] | readonly [] | { readonly [key: string]: Shape };

/** Objects whose keys are data, such as host names, by the run that prints them: `a.b` and `a[].b` lead to one. */
const varying = JSON.parse(read('test/project/json-documents-exceptions.json')) as Readonly<
  Record<string, readonly string[]>
>;
const met = new Set<string>();
const unlisted: string[] = [];

let upstream: SampleUpstream;
let site: Workspace;

beforeAll(async () => {
  upstream = await startSampleUpstream({ dir: temporaryFolder('upstream'), sizeMiB: 4, buildMs: 5 });
  site = await workspace();
});
afterAll(() => upstream?.stop());

/** What a value is: strings by their form, objects key by key in their order, lists by what all elements have. */
function shapeOf(value: unknown, run: string, path = ''): Shape {
  if (typeof value === 'string') {
    if (/^sha256:[a-f0-9]{64}$/.test(value)) return 'digest';
    if (/^[a-f0-9]{64}$/.test(value)) return 'hex64';
    return /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(value) ? 'date-time' : 'string';
  }
  if (Array.isArray(value)) {
    const [first, ...others] = value.map((one) => shapeOf(one, run, `${path}[]`));
    return first === undefined ? [] : [others.reduce(merge, first)];
  }
  if (typeof value === 'object' && value !== null) {
    const inside = (key: string): string => (path === '' ? key : `${path}.${key}`);
    const entries = Object.entries(value);
    if (varying[run]?.includes(path) === true) {
      met.add(`${run} ${path}`);
      const [first, ...others] = entries.map(([, one]) => shapeOf(one, run, inside('*')));
      return first === undefined ? {} : { '*': others.reduce(merge, first) };
    }
    for (const key of Object.keys(value)) {
      // A key that is data would be another one tomorrow.
      if (!/^[a-z][A-Za-z0-9]*$/.test(key)) unlisted.push(`${run}: ${path}: ${key}`);
    }
    return Object.fromEntries(entries.map(([key, one]) => [key, shapeOf(one, run, inside(key))]));
  }
  return value === null ? 'null' : typeof value;
}

/** What fits both: keys that only one has end in `?`, at the place that they have there. */
function merge(a: Shape, b: Shape): Shape {
  if (Array.isArray(a) && Array.isArray(b)) {
    if (a[0] === undefined || b[0] === undefined) return a[0] === undefined ? b : a;
    return [merge(a[0], b[0])];
  }
  if (isKeyed(a) && isKeyed(b)) {
    const bare = (key: string): string => key.replace(/\?$/, '');
    const of = (shape: { readonly [key: string]: Shape }, key: string) => shape[key] ?? shape[`${key}?`];
    const keys = Object.keys(a).map(bare);
    let at = 0;
    for (const key of Object.keys(b).map(bare)) {
      const found = keys.indexOf(key);
      if (found >= 0) at = found + 1;
      else {
        while (at < keys.length && of(b, keys[at] ?? '') === undefined) at++;
        keys.splice(at++, 0, key);
      }
    }
    return Object.fromEntries(
      keys.map((key) => {
        const [left, right] = [of(a, key), of(b, key)];
        const always = a[key] !== undefined && b[key] !== undefined;
        const shape = left === undefined ? right : right === undefined ? left : merge(left, right);
        return [always ? key : `${key}?`, shape as Shape];
      }),
    );
  }
  const kinds = [a, b].flatMap((one) => (typeof one === 'string' ? one.split(' | ') : [JSON.stringify(one)]));
  return [...new Set(kinds)].sort().join(' | ');
}

function isKeyed(shape: Shape): shape is { readonly [key: string]: Shape } {
  return typeof shape === 'object' && !Array.isArray(shape);
}

test('every command prints the document that it printed before', async () => {
  const documents: Record<string, Shape> = {};
  /** Runs a command and keeps the shape of its document, under its name and what is special about this run. */
  const run = async (name: string, args: readonly string[], code = 0): Promise<Record<string, unknown>> => {
    const ended = await cli([...args, '--json'], { cwd: site.root });
    expect(ended.code, `${name}: ${ended.stderr}`).toBe(code);
    const document = JSON.parse(ended.stdout) as Record<string, unknown>;
    documents[name] ??= shapeOf(document, name);
    return document;
  };
  const network = upstreamFlags(upstream.urls);
  const { store } = site;
  const inStore = ['--store', site.at('store')];
  const key = ['--sign-key', site.at('site.key')];
  const { media } = site;

  await run('any command that fails', ['plan', ...store], 2);
  await run('init', ['init', '--config', site.at('mirror.yaml')]);
  await run('plan', ['plan', ...store, ...network]);
  await run('fetch --dry-run', ['fetch', '--dry-run', ...store, ...network]);
  await run('fetch', ['fetch', ...store, ...network]);
  await run('outdated', ['outdated', ...store, ...network]);
  await run('egress rules', ['egress', 'rules', '--config', site.at('mirror.yaml')]);
  await run('egress rules --for nodes', ['egress', 'rules', '--for', 'nodes']);
  // One host refuses connections, as behind a firewall.
  const closed = ['--upstream', 'storage.googleapis.com=http://127.0.0.1:1'];
  await run(
    'egress check',
    ['egress', 'check', '--config', site.at('mirror.yaml'), ...network, ...closed],
    5,
  );
  await run('egress log', ['egress', 'log', ...inStore]);
  // Nobody has accepted the license terms. A key that exists is kept; another takes seconds.
  mkdirSync(site.at('pki/services'), { recursive: true });
  site.write('pki/services/omni.asc', 'a key');
  await run('site init', ['site', 'init', '--site', site.at('site.yaml'), '--omni', 'omni.site', '--pki'], 5);
  await run('keygen', ['keygen', '--out', site.at('site')]);
  const bundle = await run('bundle', ['bundle', ...site.bundle, '--volume-size', '20MiB']);
  await run('bundle --since', [
    'bundle',
    ...inStore,
    '--out',
    site.at('next'),
    ...key,
    '--since',
    String(bundle['id']),
  ]);
  await run('sign', ['sign', '--bundle', site.at('media'), ...key]);
  await run('verify --bundle', ['verify', ...media]);
  await run('verify --store', ['verify', ...inStore]);
  await run('inspect --bundle', ['inspect', ...media]);
  await run('inspect --store', ['inspect', ...inStore]);
  await run('inspect --sboms', ['inspect', ...inStore, '--sboms', site.at('sboms')]);
  await run('diff', ['diff', site.at('media'), site.at('store')]);

  const { host, process, stop } = await startServe(['--writable', site.at('registry')]);
  documents['serve'] = shapeOf(JSON.parse(process.stdout()), 'serve');
  const registry = ['--registry', host, '--plain-http', host];
  const objects = ['--object-store', `file://${site.at('objects')}`, '--state', site.at('state')];
  const target = [...media, ...registry, ...objects, '--receipt', site.at('receipt.json')];
  await run('load --dry-run', ['load', '--dry-run', ...target]);
  await run('load', ['load', ...target]);
  await fetch(`http://${host}/v2/ghcr.io/acme/none/manifests/v1?ns=ghcr.io`);
  await fetch(`http://${host}/image/${'0'.repeat(64)}/v1.13.9/metal-amd64.iso`);
  await run('wants', ['wants', '--from', `http://${host}`]);
  await run('egress check --inside', ['egress', 'check', '--inside', ...registry]);
  // Of a bundle that nobody here issued, with an older Kubernetes.
  const older = readFileSync(site.at('receipt.json'), 'utf8').replaceAll('v1.36.1', 'v1.34.1');
  site.write('older.json', older.replace(/"bundle": "[a-f0-9]+"/, `"bundle": "${'a'.repeat(64)}"`));
  await run('plan --since', ['plan', ...store, ...network, '--since', site.at('older.json')]);

  site.write('mirror.yaml', 'apiVersion: omni-airgap/v1\nimages: [ghcr.io/siderolabs/omni:v1.10.4]\n');
  await run('fetch', ['fetch', ...store, ...network]);
  const small = ['--bundle', site.at('small'), '--verify-key', site.at('site.pub')];
  await run('bundle', ['bundle', ...inStore, '--out', site.at('small'), ...key]);
  await run('load', ['load', ...small, ...registry, ...objects]);
  const prune = ['prune', ...registry, ...objects];
  const pruneFile = site.at('prune.json');
  await run('prune --plan', [...prune, '--keep', '1', '--keep-versions', 'v1.10.4', '--plan', pruneFile]);
  await run('prune --apply', [...prune, '--apply', pruneFile]);
  await stop();
  await run('gc --dry-run', ['gc', '--dry-run', ...inStore]);
  await run('gc', ['gc', ...inStore]);
  const ranged = '{image: ghcr.io/siderolabs/omni, tags: {semver: 1.x}}';
  site.write('mirror.yaml', `apiVersion: omni-airgap/v1\nimages: [${ranged}]\n`);
  await run('fetch --update', ['fetch', '--update', ...store, ...network]);
  const mirror = ['--config', site.at('mirror.yaml'), '--store', site.at('mirror-store')];
  await run('mirror', ['mirror', ...mirror, '--out', site.at('mirrored'), ...key, ...network]);

  const commands: string[] = [];
  for (const command of await commandsBelow()) {
    const below = await commandsBelow(command);
    commands.push(...(below.length > 0 ? below.map((name) => `${command} ${name}`) : [command]));
  }
  const shown = Object.keys(documents);
  expect(commands.filter((command) => !shown.some((name) => `${name} `.startsWith(`${command} `)))).toEqual(
    [],
  );

  expect(unlisted, 'keys that are data: name their object in json-documents-exceptions.json').toEqual([]);
  const path = join(import.meta.dirname, 'json-documents.snap');
  expect(existsSync(path), 'run once with -u').toBe(true);
  await expect(`${JSON.stringify(documents, null, 2)}\n`).toMatchFileSnapshot(path);

  const all = Object.entries(varying).flatMap(([name, paths]) => paths.map((one) => `${name} ${one}`));
  expect(
    all.filter((one) => !met.has(one)),
    'exceptions that are needed no more',
  ).toEqual([]);
});

test('shapes: order, optional keys, alternatives', () => {
  const list = [
    { a: 1, b: 'x' },
    { a: 'y', c: [], d: null },
    { a: 2, b: 'x', c: [{ e: true }] },
  ];
  expect(JSON.stringify(shapeOf(list, ''))).toBe(
    '[{"a":"number | string","b?":"string","c?":[{"e":"boolean"}],"d?":"null"}]',
  );
  expect(shapeOf({ at: '2026-01-02T03:04:05.678Z', of: `sha256:${'a'.repeat(64)}` }, '')).toEqual({
    at: 'date-time',
    of: 'digest',
  });
  shapeOf({ hosts: { 'ghcr.io': 1 } }, 'x');
  expect(unlisted).toContain('x: hosts: ghcr.io');
});

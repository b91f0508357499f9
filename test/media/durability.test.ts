/**
 * Power cuts: whatever gets its final name is on the disk before, and so is the name soon after. Observed in the real
 * commands, since what the kernel would still hold back at a power cut is all there after any other end of a process.
 */
import { cpSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type RegistryDouble, startRegistryDouble } from '../../packages/oci/src/testing/index.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { cli, cliJson, startServe } from '../support/cli.ts';
import type { DiskEvent } from '../support/disk-probe.ts';
import { addImage } from '../support/double-image.ts';
import { makeBundle } from '../support/made-bundle.ts';
import { type Workspace, workspace } from '../support/workspace.ts';

const probe = pathToFileURL(join(import.meta.dirname, '../support', 'disk-probe.ts')).href;
const kibibyte = 1024;

let upstream: RegistryDouble;
let inside: RegistryDouble;
let site: Workspace;
let logs: string;

/** An environment in which a command leaves its events under a name. */
const watched = (name: string) => ({
  env: { NODE_OPTIONS: `--import=${probe}`, TEST_DISK_FILE: join(logs, `${name}.jsonl`) },
});
const eventsOf = (name: string): readonly DiskEvent[] =>
  readFileSync(join(logs, `${name}.jsonl`), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as DiskEvent);

/** Parts of downloads and locks are no content: what becomes of them at a power cut does not matter. */
const isContent = (path: string): boolean => !/\/ingest\/[^/]+$|\.lock(?:\.|$)/.test(path);

/** Blobs that were renamed, and whose folder was not synced after that. */
function unsyncedBlobs(events: readonly DiskEvent[]): readonly string[] {
  return events.flatMap((event, at) => {
    if (event.event !== 'renamed' || !/\/blobs\/sha256\/[a-f0-9]{64}$/.test(event.path)) return [];
    return isSynced(event.folder, events.slice(at + 1)) ? [] : [event.path];
  });
}

/** Whether a sync of the folder begins and ends among the events. */
function isSynced(folder: string, events: readonly DiskEvent[]): boolean {
  const own = events.filter((one) => 'file' in one && one.file === folder).map((one) => one.event);
  const begun = own.indexOf('syncing');
  return begun >= 0 && own.slice(begun).includes('synced');
}

/** Paths that were given a name, and what is wrong about each. */
function judge(events: readonly DiskEvent[], below: string) {
  const named: string[] = [];
  const wrong: string[] = [];
  for (const [at, event] of events.entries()) {
    if (event.event === 'renaming' && isContent(event.path)) {
      const about = events
        .slice(0, at)
        .filter((one) => 'file' in one && one.file === event.file && one.event !== 'renaming')
        .map((one) => one.event);
      // The last write, then a whole sync: nothing of it may have begun before the write was over.
      if (about.lastIndexOf('syncing') < about.lastIndexOf('wrote') || about.at(-1) !== 'synced') {
        wrong.push(
          `${relative(below, event.path)}: renamed before it was synced (${about.slice(-4).join()})`,
        );
      }
    }
    if (event.event === 'renaming' && event.path.endsWith('/index.json')) {
      for (const blob of unsyncedBlobs(events.slice(0, at)))
        wrong.push(`${relative(below, event.path)}: written before the folder of ${blob} was synced`);
    }
    if (event.event === 'renamed' && isContent(event.path)) {
      named.push(relative(below, event.path));
      if (!isSynced(event.folder, events.slice(at + 1))) {
        wrong.push(`${relative(below, event.path)}: its folder was not synced after it was renamed`);
      }
    }
  }
  return { named: [...new Set(named)].sort(), wrong };
}

function expectDurable(name: string, below: string, ...patterns: readonly RegExp[]): void {
  const { named, wrong } = judge(eventsOf(name), below);
  expect(wrong).toEqual([]);
  for (const pattern of patterns) expect(named).toContainEqual(expect.stringMatching(pattern));
}

beforeAll(async () => {
  logs = temporaryFolder('disk');
  upstream = await startRegistryDouble();
  inside = await startRegistryDouble();
  await addImage(upstream.repository('acme/app'), 'v1', 1, [2500 * kibibyte, 300 * kibibyte]);
  site = await workspace('images: [ghcr.io/acme/app:v1]\n');
});
afterAll(async () => {
  await upstream.close();
  await inside.close();
});

const blob = /^(?:[^/]+\/)?blobs\/sha256\/[a-f0-9]{64}$/;

describe('each file is synced before its final name, and its folder after it', () => {
  test('fetch, bundle in volumes, load with a spool, a bundle that consumes, gc', async () => {
    const network = ['--upstream', `ghcr.io=${upstream.url}`];
    await cliJson(['fetch', ...site.store, ...network], watched('fetch'));
    expectDurable('fetch', site.at('store'), blob, /^index\.json$/, /^lock\.json$/, /^oci-layout$/);

    const small = ['--volume-size', '1MiB', '--no-readback'];
    await cliJson(['bundle', ...site.bundle, ...small], watched('bundle'));
    const media = [
      'content.tar.000',
      'content.tar.002',
      'bundle.json',
      'SHA256SUMS',
      'README.txt',
      'report.html',
      'bom.cdx.json',
    ];
    const names = media.map((name) => new RegExp(`^media/${name.replaceAll('.', '\\.')}$`));
    expectDurable('bundle', site.root, ...names, /^store\/origin\.json$/, /^store\/bundles\//);

    // The first disc of several, in the only drive.
    cpSync(site.at('media'), site.at('disc'), { recursive: true, filter: (path) => !/\.00[12]$/.test(path) });
    const disc = ['--bundle', site.at('disc'), '--verify-key', site.at('site.pub')];
    const to = ['--registry', inside.host, '--plain-http', inside.host, '--receipt', site.at('receipt.json')];
    const ended = await cli(['load', ...disc, '--spool', site.at('spool'), ...to], watched('spool'));
    expect(ended.code, ended.stderr).toBe(5);
    expectDurable('spool', site.root, /^spool\//);

    const consuming = ['bundle', '--store', site.at('store'), '--out', site.at('consumed'), '--consume'];
    await cliJson([...consuming, '--sign-key', site.at('site.key')], watched('consume'));
    expectDurable('consume', site.root, /^consumed\/content\.tar\.000$/, /^store\/bundles\//);

    await addImage(upstream.repository('acme/app'), 'v2', 5, [200 * kibibyte]);
    site.write('mirror.yaml', 'apiVersion: omni-airgap/v1\nimages: [ghcr.io/acme/app:v2]\n');
    await cliJson(['fetch', ...site.store, ...network], watched('fetch-again'));
    expectDurable('fetch-again', site.at('store'), blob, /^index\.json$/, /^lock\.json$/);
    await cliJson(['gc', '--store', site.at('store')], watched('gc'));
    expectDurable('gc', site.at('store'));
  });

  test('load into a folder, and pushes to serve --writable', async () => {
    const bundle = await makeBundle(
      { 'ghcr.io/acme/app:v1': [900 * kibibyte] },
      { 'metal-amd64.iso': 700_000 },
    );
    const folder = temporaryFolder('loaded');
    const registry = temporaryFolder('registry');
    const server = await startServe(['--writable', registry], watched('serve'));
    try {
      const to = ['--registry', server.host, '--plain-http', server.host];
      const objects = ['--object-store', pathToFileURL(folder).href];
      const receipt = ['--receipt', join(folder, 'receipt.json')];
      await cliJson(['load', ...bundle.flags, ...to, ...objects, ...receipt], watched('load'));
    } finally {
      await server.stop();
    }
    expectDurable('load', folder, /metal-amd64\.iso$/, /^receipt\.json$/);
    expectDurable('serve', registry, blob, /^index\.json$/);
  });
});

test('the judge sees what is missing', () => {
  const file = 'f';
  const wrote = { event: 'wrote', file } as const;
  const synced = [
    { event: 'syncing', file },
    { event: 'synced', file },
  ] as const;
  const renamed = [
    { event: 'renaming', file, path: '/s/lock.json' },
    { event: 'renamed', folder: 'd', path: '/s/lock.json' },
  ] as const;
  const folder = [
    { event: 'syncing', file: 'd' },
    { event: 'synced', file: 'd' },
  ] as const;
  expect(judge([wrote, ...synced, ...renamed, ...folder], '/s')).toEqual({ named: ['lock.json'], wrong: [] });
  const early = 'lock.json: renamed before it was synced';
  const late = 'lock.json: its folder was not synced after it was renamed';
  expect(judge([wrote, ...renamed, ...folder], '/s').wrong).toEqual([`${early} (wrote)`]);
  expect(judge([...synced, wrote, ...renamed, ...folder], '/s').wrong[0]).toContain(early);
  expect(judge([wrote, synced[0], ...renamed, synced[1], ...folder], '/s').wrong[0]).toContain(early);
  expect(judge([wrote, ...synced, ...folder, ...renamed], '/s').wrong).toEqual([late]);
  expect(judge([wrote, ...synced, ...renamed, folder[0]], '/s').wrong).toEqual([late]);
});

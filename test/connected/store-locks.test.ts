/** Commands that meet on one store, as the processes they are: none breaks what another counts on, and each says who is there. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { beforeEach, describe, expect, onTestFinished, type TestContext, test } from 'vitest';
import {
  type RegistryDouble,
  skipWithout,
  startRegistryDouble,
} from '../../packages/oci/src/testing/index.ts';
import { cli, cliJson, expectFailure, type RunningCli, startCli, startServe } from '../support/cli.ts';
import { addImage, type DoubleImage } from '../support/double-image.ts';
import { upstreamFlags, type Workspace, workspace } from '../support/workspace.ts';

const old = 'ghcr.io/acme/old:v1';
const fresh = 'ghcr.io/acme/new:v1';

let upstream: RegistryDouble;
let site: Workspace;
let image: DoubleImage;
/** Of mirror.yaml, into the store. */
let fetch: readonly string[];
let gc: readonly string[];

beforeEach(async () => {
  upstream = await startRegistryDouble();
  onTestFinished(() => upstream.close());
  image = await addImage(upstream.repository('acme/old'), 'v1', 1, [9_000_000, 700_000]);
  await addImage(upstream.repository('acme/new'), 'v1', 2, [300_000]);
  site = await workspace(`images: [${old}]\n`);
  fetch = ['fetch', ...site.store, ...upstreamFlags({ 'ghcr.io': upstream.url })];
  gc = ['gc', '--store', site.at('store')];
  await cliJson(fetch);
});

const wants = (...images: readonly string[]): void =>
  void site.write('mirror.yaml', `apiVersion: omni-airgap/v1\nimages: [${images.join(', ')}]\n`);

const bundle = (out: string, ...more: readonly string[]): readonly string[] => [
  ...['bundle', '--store', site.at('store'), '--out', site.at(out), '--sign-key', site.at('site.key')],
  ...(more.includes('--volume-size') ? more : ['--volume-size', '1MiB', ...more]),
];

/** `BUSY`: the command, its process and the file of the lock are named; the exit code says that waiting cures it. */
const busy = (who: string): RegExp =>
  new RegExp(
    `in use by omni-airgap ${who} \\(process \\d+ on host .+, since .+\\): wait .* run this command again .*content\\.lock.*\\[BUSY\\]$`,
  );

/** A fetch that waits for its last layer. */
async function fetchUnderWay(within: readonly string[] = []): Promise<RunningCli & { letGo(): void }> {
  let isReleased = false;
  const second = await addImage(upstream.repository('acme/slow'), 'v1', 3, [400_000]);
  upstream.fault({
    match: { method: 'GET', path: new RegExp(second.layers[0]?.digest ?? '') },
    do: { until: () => isReleased },
  });
  onTestFinished(() => {
    isReleased = true;
  });
  wants(old, 'ghcr.io/acme/slow:v1');
  const running = startCli(fetch, { within });
  await running.until(() =>
    upstream.requests.some(({ path }) => path.includes(second.layers[0]?.digest ?? '')),
  );
  return Object.assign(running, {
    letGo: () => {
      isReleased = true;
    },
  });
}

/** A bundle that is stopped while it writes. */
async function bundleStopped(out: string, ...more: readonly string[]): Promise<RunningCli> {
  const running = startCli(bundle(out, ...more));
  await running.until(() => existsSync(site.at(out, 'bundle.unfinished')));
  running.kill('SIGSTOP');
  expect(readdirSync(site.at(out))).not.toContain('bundle.json');
  return running;
}

interface Made {
  readonly id: string;
  readonly sequence: number;
}

describe('A1', () => {
  test('of bundles that are made at once, each has a number of its own; the same content gives one document', async () => {
    const makes = ['5MiB', '6MiB', '7MiB', '5MiB', '6MiB', '7MiB'].map((size, i) =>
      cliJson<Made>(bundle(`media${i}`, '--volume-size', size)),
    );
    const made = await Promise.all(makes);
    const byId = new Map(made.map(({ id, sequence }) => [id, sequence]));
    expect(byId.size).toBe(3);
    expect([...byId.values()].sort()).toEqual([1, 2, 3]);
    for (const [i, { id, sequence }] of made.entries()) {
      const document = readFileSync(site.at(`media${i}`, 'bundle.json'), 'utf8');
      expect(document).toBe(readFileSync(site.at('store', 'bundles', id, 'bundle.json'), 'utf8'));
      expect(JSON.parse(document)).toMatchObject({ id, sequence });
      await cliJson(['verify', '--bundle', site.at(`media${i}`), '--verify-key', site.at('site.pub')]);
    }
    expect(JSON.parse(readFileSync(site.at('store', 'origin.json'), 'utf8'))).toMatchObject({ sequence: 3 });
  });

  test('two fetches at once: lock.json is what the last of them says, and the store is whole', async () => {
    const running = await fetchUnderWay();
    wants(fresh);
    await cliJson(fetch);
    running.letGo();
    expect((await running.ended).code).toBe(0);
    const { items } = JSON.parse(readFileSync(site.at('store', 'lock.json'), 'utf8')) as {
      items: { name: string }[];
    };
    expect(items.map(({ name }) => name)).toEqual([old, 'ghcr.io/acme/slow:v1']);
    await cliJson(['verify', '--store', site.at('store')]);
  });
});

describe('A2 while a bundle is being made', () => {
  test('gc is refused; fetch is not, and the bundle is finished whole', async () => {
    const running = await bundleStopped('media');
    wants(fresh);
    await cliJson(fetch);
    expectFailure(await cli(gc), 5, busy('bundle'));
    expectFailure(await cli(bundle('other', '--consume')), 5, busy('bundle'));
    expectFailure(
      await cli(['mirror', ...site.store, '--out', site.at('other'), '--unsigned', ...fetch.slice(-2)]),
      5,
      busy('bundle'),
    );
    running.kill('SIGCONT');
    const { code, stderr } = await running.ended;
    expect(code, stderr).toBe(0);
    await cliJson(['verify', ...site.media]);
    // What only the bundle needed goes now: it is written whole.
    expect(await cliJson(gc)).toMatchObject({ names: [old] });
  });

  test('and removes content, everything else is refused, plan too; a killed one stops nobody', async () => {
    const running = await bundleStopped('media', '--consume');
    for (const command of [
      fetch,
      gc,
      [...gc, '--dry-run'],
      bundle('other'),
      ['plan', ...fetch.slice(1)],
      ['verify', '--store', site.at('store')],
      ['inspect', '--store', site.at('store')],
      ['diff', site.at('store'), site.at('store')],
      ['serve', '--store', site.at('store'), '--listen', '127.0.0.1:0'],
    ])
      expectFailure(await cli(command), 5, busy('bundle'));
    running.kill('SIGKILL');
    await running.ended;
    await cliJson(['plan', ...fetch.slice(1)]);
    await cliJson(bundle('media', '--consume'));
    await cliJson(['verify', ...site.media]);
  });
});

describe('A3 F2 F8', () => {
  const container = ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc'];
  const needsNamespaces = (context: TestContext): void => {
    skipWithout(context, 'unshare');
    if (process.getuid?.() !== 0) context.skip('only root can make PID namespaces here');
  };

  test('gc in one container is refused while fetch runs in another, and the other way round', async (context) => {
    needsNamespaces(context);
    const running = await fetchUnderWay(container);
    expectFailure(await cli(gc, { within: container }), 5, busy('fetch'));
    expectFailure(await cli(gc), 5, busy('fetch'));
    running.letGo();
    expect((await running.ended).code).toBe(0);
    await cliJson(gc, { within: container });
    await cliJson(['verify', '--store', site.at('store')]);
  });

  test('a fetch that was killed as process 1 of its container stops nobody', async (context) => {
    needsNamespaces(context);
    const running = await fetchUnderWay(container);
    running.kill('SIGKILL');
    await running.ended;
    running.letGo();
    // As version 0.1 marked it: every container has a process 1.
    writeFileSync(site.at('store', 'ingest', '1-55101526.5a88f1ed.fetch'), '');
    wants(old);
    await cliJson(fetch, { within: container });
    // Beside another process 1, as under an init or `docker exec`.
    await cliJson(gc, { within: [...container, 'sh', '-c', '"$@"; exit $?', 'sh'] });
    expect(readdirSync(site.at('store', 'ingest'))).toEqual([]);
    expect(readdirSync(site.at('store')).filter((name) => name.includes('.holder-'))).toEqual([]);
  });

  test('fetch is refused while content is removed, with the code of what waiting cures', async () => {
    const running = await bundleStopped('media', '--consume');
    expectFailure(await cli(fetch), 5, busy('bundle'));
    running.kill('SIGCONT');
    expect((await running.ended).code).toBe(0);
    await cliJson(fetch);
  });
});

describe('serve', () => {
  test('gc is refused while a store is served', async () => {
    const server = await startServe(['--store', site.at('store')]);
    expectFailure(await cli(gc), 5, busy('serve'));
    await cliJson(fetch);
    await server.stop();
    await cliJson(gc);
  });

  test('of two that take pushes into one folder, the second is refused', async () => {
    const server = await startServe(['--writable', site.at('registry')]);
    const second = ['serve', '--writable', site.at('registry'), '--listen', '127.0.0.1:0'];
    expectFailure(await cli(second), 5, busy('serve'));
    // The same folder for both is one folder.
    await server.stop();
    const both = await startServe(['--store', site.at('registry'), '--writable', site.at('registry')]);
    await both.stop();
  });
});

describe('on a read-only file system', () => {
  /** Runs a command that sees the store read-only. */
  const readOnly = (): readonly string[] => {
    const store = site.at('store');
    const mount = `mount --bind '${store}' '${store}' && mount -o remount,bind,ro '${store}' && exec "$@"`;
    return ['unshare', '--mount', 'sh', '-c', mount, 'sh'];
  };
  const isRoot = process.getuid?.() === 0;

  test.skipIf(!isRoot)('verify and serve hold the lock, and gc elsewhere is refused', async () => {
    const within = readOnly();
    const verified = await cli(['verify', '--store', site.at('store')], { within });
    expect(verified.code, verified.stderr).toBe(0);
    expect(verified.stderr).not.toContain('not locked');
    const server = await startServe(['--store', site.at('store')], { within });
    const refused = await cli(gc);
    expect(refused.code).toBe(5);
    expect(refused.stderr).toContain('[BUSY]');
    const response = await globalThis.fetch(`http://${server.host}/v2/acme/old/manifests/v1`);
    expect(response.status).toBe(200);
    expect(response.headers.get('docker-content-digest')).toBe(image.manifest.digest);
    await server.stop();
  });

  test.skipIf(!isRoot)(
    'verify and serve work on a store that was never locked, and say that it is not',
    async () => {
      for (const name of ['content.lock', 'records.lock']) rmSync(site.at('store', name), { force: true });
      const within = readOnly();
      const verified = await cli(['verify', '--store', site.at('store')], { within });
      expect(verified.code, verified.stderr).toBe(0);
      expect(verified.stderr).toContain('not locked');
      const server = await startServe(['--store', site.at('store')], { within });
      expect(server.process.stderr()).toContain('not locked');
      await server.stop();
      expect(readdirSync(site.at('store')).filter((name) => name.includes('lock'))).toEqual(['lock.json']);
    },
  );
});

test('plan makes no lock file, nor a store', async () => {
  for (const name of ['content.lock', 'records.lock']) rmSync(site.at('store', name), { force: true });
  const before = readdirSync(site.at('store'));
  await cliJson(['plan', ...fetch.slice(1)]);
  expect(readdirSync(site.at('store'))).toEqual(before);
  const nowhere = site.at('nowhere');
  await cliJson(['plan', '--config', site.at('mirror.yaml'), '--store', nowhere, ...fetch.slice(-2)]);
  expect(existsSync(nowhere)).toBe(false);
});

test('a folder that is no store gets no lock file', async () => {
  mkdirSync(site.at('empty'));
  for (const command of [['gc'], ['verify'], ['bundle', '--out', site.at('media'), '--unsigned']])
    expectFailure(await cli([...command, '--store', site.at('empty')]), 2, /no OCI layout here/);
  expect(readdirSync(site.at('empty'))).toEqual([]);
});

/** What a registry that takes pushes removes, when, and what never: sweeps between and beside the requests of pushes. */
import { readdir, rm, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { graphOf, walk } from '@omni-airgap/oci';
import { Layout, type Swept, sweep } from '@omni-airgap/oci/layout';
import { type Descriptor, type Digest, descriptorOf, digestFromHex, MediaType } from '@omni-airgap/oci/model';
import { buildManifest, seededRandom } from '@omni-airgap/oci/testing';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { ServerOptions } from '../src/index.ts';
import { Claims } from '../src/registry/claims.ts';
import { newLayout, putImage, type Running, start } from './support.ts';

const day = 86_400_000;
const octets = MediaType.octetStream;

interface Site {
  readonly layout: Layout;
  readonly server: Running;
  /** Sends a request to `/v2/<path>`. */
  readonly send: (method: string, path: string, body?: Uint8Array, headers?: object) => Promise<Response>;
}

/** @param between runs before each request */
async function site(
  options: ServerOptions = {},
  between: (server: Running, layout: Layout) => Promise<unknown> = async () => {},
): Promise<Site> {
  const layout = await newLayout();
  const server = await start({ writable: layout, ...options });
  return { layout, server, send: sender(server, () => between(server, layout)) };
}

function sender({ url }: Running, before: () => Promise<unknown> = async () => {}): Site['send'] {
  return async (method, path, body, headers = {}) => {
    await before();
    const at = path.startsWith('/') ? path : `/v2/${path}`;
    const sent = body === undefined ? {} : { body: Buffer.from(body) };
    return fetch(url + at, { method, ...sent, headers: { ...headers } });
  };
}

const filesOf = (layout: Layout): Promise<string[]> => readdir(join(layout.root, 'blobs', 'sha256'));
const held = async (layout: Layout): Promise<readonly Digest[]> =>
  (await filesOf(layout)).map((hex) => digestFromHex(hex)).sort();

/** As if nothing of it had been written or relied on for so long. */
async function grow(layout: Layout, ms = 2 * day): Promise<void> {
  const then = (Date.now() - ms) / 1000;
  for (const name of await filesOf(layout))
    await utimes(join(layout.root, 'blobs', 'sha256', name), then, then);
}

const agedSweep = async (server: Running, layout: Layout): Promise<void> => {
  await grow(layout);
  await server.sweep();
};

interface Content {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

function blob(text: string, mediaType: string = octets): Content {
  const bytes = Buffer.from(text.repeat(100));
  return { descriptor: descriptorOf(mediaType, bytes), bytes };
}

function image(name: string, layers: readonly Content[], extra: object = {}) {
  const config = blob(`{"image":"${name}"} `, MediaType.ociConfig);
  const descriptors = layers.map(({ descriptor }) => descriptor);
  const built = buildManifest(MediaType.ociManifest, {
    config: config.descriptor,
    layers: descriptors,
    ...extra,
  });
  return { ...built, config, layers };
}

function index(manifests: readonly Descriptor[]): Content {
  return buildManifest(MediaType.ociIndex, { manifests });
}

const locationOf = (response: Response): string => response.headers.get('location') ?? '';

/** As docker: HEAD, POST, PATCH, PUT. */
async function pushChunked(send: Site['send'], repo: string, { descriptor, bytes }: Content): Promise<void> {
  if ((await send('HEAD', `${repo}/blobs/${descriptor.digest}`)).status === 200) return;
  const begun = await send('POST', `${repo}/blobs/uploads/`);
  const half = bytes.byteLength >> 1;
  const first = await send('PATCH', locationOf(begun), bytes.subarray(0, half));
  const second = await send('PATCH', locationOf(first), bytes.subarray(half));
  const done = await send('PUT', `${locationOf(second)}?digest=${descriptor.digest}`);
  expect(done.status).toBe(201);
}

/** As oras and containerd: HEAD, POST, PUT with everything. */
async function pushWhole(send: Site['send'], repo: string, { descriptor, bytes }: Content): Promise<void> {
  if ((await send('HEAD', `${repo}/blobs/${descriptor.digest}`)).status === 200) return;
  const begun = await send('POST', `${repo}/blobs/uploads/`);
  const done = await send('PUT', `${locationOf(begun)}?digest=${descriptor.digest}`, bytes);
  expect(done.status).toBe(201);
}

async function pushPosted(send: Site['send'], repo: string, { descriptor, bytes }: Content): Promise<void> {
  const done = await send('POST', `${repo}/blobs/uploads/?digest=${descriptor.digest}`, bytes);
  expect(done.status).toBe(201);
}

async function put(send: Site['send'], repo: string, at: string, { descriptor, bytes }: Content) {
  const response = await send('PUT', `${repo}/manifests/${at}`, bytes, {
    'Content-Type': descriptor.mediaType,
  });
  expect(response.status, await response.text()).toBe(201);
}

/** Everything that a name leads to can be read, by a server that knows nothing but the folder. */
async function expectWhole(layout: Layout): Promise<void> {
  const fresh = await Layout.open(layout.root);
  for await (const [name, root] of fresh.names()) {
    for (const descriptor of (await graphOf(walk(fresh, [root]))).values())
      expect(await fresh.stat(descriptor.digest), name).toBe(descriptor.size);
  }
}

describe('a sweep between every two requests of a push takes nothing of it', () => {
  const between = { housekeeping: { graceMs: day, deleteUntaggedAfterMs: day } };
  const shared = blob('shared layer');

  test.each([
    ['docker', pushChunked],
    ['oras', pushWhole],
    ['single POST', pushPosted],
  ] as const)('%s: layers, config, manifest by tag; then again with another layer', async (_client, push) => {
    const { layout, server, send } = await site(between, agedSweep);
    for (const tag of ['v1', 'v2']) {
      const pushed = image(tag, [shared, blob(`layer of ${tag}`)]);
      for (const content of [...pushed.layers, pushed.config]) await push(send, 'team/app', content);
      await put(send, 'team/app', tag, pushed);
    }
    await agedSweep(server, layout);
    expect(await held(layout)).toHaveLength(7);
    await expectWhole(layout);
    expect((await send('GET', 'team/app/manifests/v1')).status).toBe(200);
  });

  test('containerd: HEAD of the tag, a mount from another repository, children by digest, then the index', async () => {
    const { layout, server, send } = await site(between, agedSweep);
    await pushImage(send, 'team/base', 'v1', image('base', [shared]));
    const children: Descriptor[] = [];
    expect((await send('HEAD', 'team/app/manifests/v1')).status).toBe(404);
    for (const arch of ['amd64', 'arm64']) {
      const child = image(arch, [shared, blob(arch)]);
      const mounted = await send(
        'POST',
        `team/app/blobs/uploads/?mount=${shared.descriptor.digest}&from=team/base`,
      );
      expect(mounted.status).toBe(201);
      await pushWhole(send, 'team/app', child.layers[1] ?? shared);
      await pushWhole(send, 'team/app', child.config);
      await put(send, 'team/app', child.descriptor.digest, child);
      children.push(child.descriptor);
    }
    await put(send, 'team/app', 'v1', index(children));
    await agedSweep(server, layout);
    await expectWhole(layout);
    for (const { digest } of children)
      expect((await send('GET', `team/app/manifests/${digest}`)).status).toBe(200);
  });

  test('oras: an artifact, what refers to it, and what refers to that', async () => {
    const { layout, server, send } = await site(between, agedSweep);
    let subject: Descriptor | undefined;
    for (const name of ['artifact', 'signature', 'signature of the signature']) {
      const one = image(name, [blob(name)], subject === undefined ? {} : { subject });
      for (const content of [...one.layers, one.config]) await pushWhole(send, 'team/art', content);
      await put(send, 'team/art', subject === undefined ? 'v1' : one.descriptor.digest, one);
      subject = one.descriptor;
    }
    await agedSweep(server, layout);
    expect(await held(layout)).toHaveLength(9);
    await expectWhole(layout);
    expect((await send('GET', `team/art/manifests/${subject?.digest}`)).status).toBe(200);
  });

  test('an upload that takes longer than the grace period keeps what its push sent before', async () => {
    const { layout, server, send } = await site({ housekeeping: { graceMs: 0 } });
    const first = blob('first');
    await pushPosted(send, 'team/app', first);
    await pushPosted(send, 'team/other', blob('of another push'));
    const begun = await send('POST', 'team/app/blobs/uploads/');
    for (let i = 0; i < 2; i++) await agedSweep(server, layout);
    expect(await held(layout)).toEqual([first.descriptor.digest]);
    await send('DELETE', locationOf(begun));
    await agedSweep(server, layout);
    expect(await held(layout)).toEqual([]);
  });

  test('content of an earlier push that a client was told is here, in any of the ways to ask', async () => {
    const { layout, server, send } = await site({ housekeeping: { graceMs: day } });
    const found = [blob('by HEAD'), blob('by mount'), blob('by a refused manifest')] as const;
    for (const content of [...found, blob('by nobody')]) await pushPosted(send, 'old/app', content);
    await server.close();
    await grow(layout);
    const next = await start({ writable: await Layout.open(layout.root), housekeeping: { graceMs: day } });
    const ask = sender(next);
    await ask('HEAD', `team/app/blobs/${found[0].descriptor.digest}`);
    await ask('POST', `team/app/blobs/uploads/?mount=${found[1].descriptor.digest}&from=old/app`);
    const lacking = image('lacking', [found[2], blob('not here yet')]);
    expect((await ask('PUT', 'team/app/manifests/v1', lacking.bytes, typed)).status).toBe(404);
    const kept = found.map(({ descriptor }) => descriptor.digest).sort();
    await next.sweep();
    expect(await held(layout)).toEqual(kept);
    // Its age has begun anew, so a restart in between changes nothing.
    await next.close();
    const third = await start({ writable: await Layout.open(layout.root), housekeeping: { graceMs: day } });
    await third.sweep();
    expect(await held(layout)).toEqual(kept);
    await agedSweep(third, layout);
    expect(await held(layout)).toEqual([]);
  });
});

const typed = { 'Content-Type': MediaType.ociManifest };

/** @param at a tag, or `digest` */
async function pushImage(send: Site['send'], repo: string, at: string, pushed: ReturnType<typeof image>) {
  for (const content of [...pushed.layers, pushed.config]) await pushPosted(send, repo, content);
  await put(send, repo, at === 'digest' ? pushed.descriptor.digest : at, pushed);
}

describe('what goes', () => {
  const options = { housekeeping: { graceMs: day } };

  test('A11 a manifest that was deleted, once the grace period has passed since, with what nothing else names', async () => {
    const { layout, server, send } = await site(options);
    const shared = blob('shared');
    const [gone, stays] = [image('gone', [shared, blob('own')]), image('stays', [shared])];
    await pushImage(send, 'team/app', 'v1', gone);
    await pushImage(send, 'team/app', 'v2', stays);
    await grow(layout);
    expect((await send('DELETE', `team/app/manifests/${gone.descriptor.digest}`)).status).toBe(202);
    expect(await server.sweep()).toMatchObject({ blobs: 0, waiting: { blobs: 3 } });
    await grow(layout);
    const bytes = [gone, gone.config, blob('own')].reduce((sum, one) => sum + one.bytes.byteLength, 0);
    expect(await server.sweep()).toEqual({
      blobs: 3,
      bytes,
      partial: 0,
      untagged: [],
      waiting: { blobs: 0, bytes: 0 },
    });
    await expectWhole(layout);
    expect((await send('GET', `team/app/blobs/${gone.config.descriptor.digest}`)).status).toBe(404);
    expect((await send('GET', `team/app/blobs/${shared.descriptor.digest}`)).status).toBe(200);
    expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
    expect(server.health().status).toBe('ok');
    // The same again, as if it had never been here.
    await pushImage(send, 'team/app', 'v1', gone);
    expect((await send('GET', 'team/app/manifests/v1')).status).toBe(200);
  });

  test('P9 neither tags nor manifests pushed by digest, however old, nor what an index of them needs', async () => {
    const { layout, server, send } = await site(options);
    const child = image('child', [blob('child layer')]);
    await pushImage(send, 'team/app', 'digest', child);
    await pushImage(send, 'team/app', 'digest', image('alone', [blob('alone')]));
    await put(send, 'team/app', 'v1', index([child.descriptor]));
    await pushImage(send, 'team/app', 'v2', image('old v2', []));
    await pushImage(send, 'team/app', 'v2', image('new v2', []));
    const before = await held(layout);
    await agedSweep(server, layout);
    expect(await held(layout)).toEqual(before);
    expect((await send('DELETE', `team/app/manifests/${child.descriptor.digest}`)).status).toBe(403);
  });

  test('all of a folder, down to the last manifest: the server goes on', async () => {
    const { layout, server, send } = await site(options);
    const only = image('only', [blob('only')]);
    await pushImage(send, 'team/app', 'v1', only);
    await send('DELETE', `team/app/manifests/${only.descriptor.digest}`);
    await agedSweep(server, layout);
    expect(await held(layout)).toEqual([]);
    expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
    expect((await send('GET', `team/app/blobs/${only.config.descriptor.digest}`)).status).toBe(404);
    expect((await send('GET', 'team/app/manifests/v1')).status).toBe(404);
  });

  test('untagged manifests only where that is asked for, and never children or referrers of what is kept', async () => {
    const housekeeping = { graceMs: day, deleteUntaggedAfterMs: 3 * day };
    const { layout, server, send } = await site({ housekeeping });
    const [child, moved, signed] = [image('child', []), image('moved', []), image('signed', [])];
    await pushImage(send, 'team/app', 'digest', child);
    await put(send, 'team/app', 'list', index([child.descriptor]));
    await pushImage(send, 'team/app', 'v1', moved);
    await pushImage(send, 'team/app', 'signed', signed);
    const signatureOf = async (name: string, subject: Descriptor) => {
      const one = image(name, [], { subject });
      await pushImage(send, 'team/app', 'digest', one);
      return one.descriptor;
    };
    const kept = await signatureOf('signature', signed.descriptor);
    const again = await signatureOf('signature of the signature', kept);
    const ofChild = await signatureOf('signature of the child', child.descriptor);
    const nowhere = descriptorOf(MediaType.ociManifest, Buffer.from('carried'));
    const ofCarried = await signatureOf('signature of what is served from elsewhere', nowhere);
    const ofMoved = await signatureOf('signature of what will be untagged', moved.descriptor);
    // Signatures may be kept in a repository of their own.
    const elsewhere = image('signature in another repository', [], { subject: signed.descriptor });
    await pushImage(send, 'team/signatures', 'digest', elsewhere);
    await grow(layout, 5 * day);
    await pushImage(send, 'team/app', 'v1', image('v1 now', []));
    // Its age as an untagged one has begun with that.
    await server.close();
    const next = await start({ writable: await Layout.open(layout.root), housekeeping });
    expect(await next.sweep()).toMatchObject({ untagged: [] });
    await grow(layout);
    expect(await next.sweep()).toMatchObject({ untagged: [] });
    await grow(layout, 5 * day);
    const { untagged } = await next.sweep();
    const gone = [moved.descriptor.digest, ofMoved.digest];
    expect([...untagged].sort()).toEqual(gone.map((digest) => `registry.local/team/app@${digest}`).sort());
    const ask = sender(next);
    for (const { digest } of [child.descriptor, kept, again, ofChild, ofCarried])
      expect((await ask('GET', `team/app/manifests/${digest}`)).status).toBe(200);
    const signature = `team/signatures/manifests/${elsewhere.descriptor.digest}`;
    expect((await ask('GET', signature)).status).toBe(200);
    for (const digest of gone) {
      expect((await ask('GET', `team/app/manifests/${digest}`)).status).toBe(404);
      expect(await layout.stat(digest)).toBeUndefined();
    }
    await expectWhole(layout);
  });

  test('nothing of what was carried, though the same was pushed here and deleted', async () => {
    const carried = await newLayout();
    const { manifest, layer, config, bytes } = await putImage(
      carried,
      'ghcr.io/team/app:v1',
      Buffer.from('x'),
    );
    const { layout, server, send } = await site({ ...options, source: carried });
    await put(send, 'mine/app', 'v1', { descriptor: manifest, bytes });
    await send('DELETE', `mine/app/manifests/${manifest.digest}`);
    await agedSweep(server, layout);
    expect(await held(layout)).toEqual([]);
    expect((await send('GET', 'team/app/manifests/v1')).status).toBe(200);
    for (const { digest } of [layer, config])
      expect((await send('GET', `team/app/blobs/${digest}`)).status).toBe(200);
  });

  test('nothing at all while a manifest that has a name cannot be read', async () => {
    const { layout, server, send } = await site(options);
    const broken = image('broken', [blob('its layer')]);
    await pushImage(send, 'team/app', 'v1', broken);
    await rm(layout.pathOf(broken.descriptor.digest));
    const before = await held(layout);
    await grow(layout);
    await expect(server.sweep()).rejects.toMatchObject({ code: 'MISSING_CONTENT' });
    expect(await held(layout)).toEqual(before);
  });
});

test('a server sweeps by itself within the hour, and only where something has changed', async () => {
  vi.useFakeTimers({ toFake: ['setInterval'] });
  onTestFinished(() => void vi.useRealTimers());
  const reports: Swept[] = [];
  const layout = await newLayout();
  let listings = 0;
  const names = layout.names.bind(layout);
  layout.names = () => {
    listings++;
    return names();
  };
  const housekeeping = { graceMs: day, onSwept: (swept: Swept) => reports.push(swept) };
  const server = await start({ writable: layout, housekeeping });
  const send = sender(server);
  const gone = image('gone', [blob('gone')]);
  await pushImage(send, 'team/app', 'v1', gone);
  await pushImage(send, 'team/app', 'v2', image('stays', []));
  await send('DELETE', `team/app/manifests/${gone.descriptor.digest}`);
  await grow(layout);
  vi.advanceTimersByTime(3_600_000);
  await expect.poll(() => reports).toMatchObject([{ blobs: 3, untagged: [] }]);
  await expectWhole(layout);
  await server.sweep();
  const before = listings;
  vi.advanceTimersByTime(5 * 3_600_000);
  await setImmediate();
  expect(listings).toBe(before);
});

test('a sweep that is given up is reported, and the server goes on', async () => {
  vi.useFakeTimers({ toFake: ['setInterval'] });
  onTestFinished(() => void vi.useRealTimers());
  const problems: string[] = [];
  const housekeeping = { graceMs: day, onProblem: (message: string) => problems.push(message) };
  const { layout, send } = await site({ housekeeping });
  const broken = image('broken', []);
  await pushImage(send, 'team/app', 'v1', broken);
  await rm(layout.pathOf(broken.descriptor.digest));
  vi.advanceTimersByTime(3_600_000);
  await expect.poll(() => problems.join()).toMatch(/team\/app.* is missing; no content is removed/);
  expect((await send('GET', '/v2/')).status).toBe(200);
});

describe('a push beside a sweep', () => {
  test('waits for the removal of what it would rely on, and is told that it is gone', async () => {
    const claims = new Claims({ renew: async () => {} }, day);
    const { digest } = blob('going').descriptor;
    const { promise, resolve } = Promise.withResolvers<void>();
    const order: string[] = [];
    const removal = claims.removing(digest, () => promise).then(() => order.push('removed'));
    const claim = claims.claim('team/app', [digest]).then(() => order.push('claimed'));
    expect(claims.isInUse(digest)).toBe(true);
    await setImmediate();
    resolve();
    await Promise.all([removal, claim]);
    expect(order).toEqual(['removed', 'claimed']);
  });

  test('is whole once it was answered with 201, at whatever moment the sweep comes', async () => {
    const { layout, server, send } = await site({ housekeeping: { graceMs: 60_000 } });
    const random = seededRandom(19);
    const layers = Array.from({ length: 12 }, (_, i) => blob(`layer ${i} `));
    for (let round = 0; round < 15; round++) {
      const chosen = layers.filter(() => random() < 0.5);
      const pushed = image(`round ${round % 5}`, chosen);
      await grow(layout);
      const sweeping = server.sweep();
      const push = async (): Promise<void> => {
        for (const content of [...chosen, pushed.config]) await pushWhole(send, 'team/app', content);
        await put(send, 'team/app', 'v1', pushed);
      };
      await Promise.all([sweeping, push()]);
      await expectWhole(layout);
      if (random() < 0.7) await send('DELETE', `team/app/manifests/${pushed.descriptor.digest}`);
    }
  });

  test('an index whose deleted child has lost a layer is refused until that is pushed again', async () => {
    const { layout, send } = await site({ allowSparse: true });
    const child = image('child', [blob('layer')]);
    await pushImage(send, 'team/app', 'digest', child);
    await send('DELETE', `team/app/manifests/${child.descriptor.digest}`);
    await rm(layout.pathOf(blob('layer').descriptor.digest));
    const { bytes, descriptor } = index([child.descriptor]);
    const pushed = () =>
      send('PUT', 'team/app/manifests/v1', bytes, { 'Content-Type': descriptor.mediaType });
    expect((await pushed()).status).toBe(404);
    await pushPosted(send, 'team/app', blob('layer'));
    expect((await pushed()).status).toBe(201);
  });
});

test('a server whose housekeeping is off removes nothing, and keeps ages for the command', async () => {
  const { layout, server, send } = await site({ housekeeping: false });
  const gone = image('gone', [blob('gone')]);
  await pushImage(send, 'team/app', 'v1', gone);
  await grow(layout);
  await send('DELETE', `team/app/manifests/${gone.descriptor.digest}`);
  await expect(server.sweep()).rejects.toMatchObject({ code: 'USAGE' });
  expect(await sweep(layout, { roots: new Map(), graceMs: day })).toMatchObject({ waiting: { blobs: 3 } });
});

test('the command sweeps a stopped folder as the server would', async () => {
  const { layout, server, send } = await site();
  const gone = image('gone', [blob('gone')]);
  await pushImage(send, 'team/app', 'v1', gone);
  await pushImage(send, 'team/app', 'v2', image('stays', [blob('stays')]));
  await send('DELETE', `team/app/manifests/${gone.descriptor.digest}`);
  await server.close();
  await grow(layout);
  const stopped = await Layout.open(layout.root);
  const roots = new Map<string, Descriptor>();
  for await (const [name, descriptor] of stopped.names()) roots.set(name, descriptor);
  expect(await sweep(stopped, { roots, graceMs: day })).toMatchObject({ blobs: 3, untagged: [] });
  await expectWhole(layout);
});

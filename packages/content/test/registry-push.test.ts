import { afterEach, describe, expect, test } from 'vitest';
import { bytesOf, collect } from '../src/bytes.ts';
import { type Descriptor, descriptorOf } from '../src/descriptor.ts';
import { digestOf, hexOf } from '../src/digest.ts';
import { MediaType } from '../src/media-type.ts';
import type { OpenBytes } from '../src/storage.ts';
import { type RegistryDoubleOptions, startRegistryDouble } from '../src/testing/registry-double.ts';
import { connectToDouble } from '../src/testing/registry-double-client.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});
async function start(
  options: RegistryDoubleOptions = {},
  connect: Parameters<typeof connectToDouble>[1] = {},
) {
  const registry = await startRegistryDouble(options);
  const connected = connectToDouble(registry, connect);
  cleanups.push(
    () => registry.close(),
    () => connected.gate.close(),
  );
  const steps = (): string[] =>
    registry.requests.map(({ method, path }) => `${method} ${path.split('/')[4] ?? path}`);
  return { registry, repository: connected.client.repository('a/b'), steps, ...connected };
}
const opener =
  (bytes: Uint8Array): OpenBytes =>
  (offset = 0) =>
    bytesOf(bytes.subarray(offset));
const blob = Buffer.alloc(300_000, 'omni');
const layer = descriptorOf(MediaType.octetStream, blob);
const config = Buffer.from('{}');

/** A manifest as JSON, with its descriptor. */
function manifestOf(
  extra: object,
  mediaType: string = MediaType.ociManifest,
): { bytes: Buffer; descriptor: Descriptor } {
  const body =
    mediaType === MediaType.ociIndex ? {} : { config: descriptorOf(MediaType.ociConfig, config), layers: [] };
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...body, ...extra }));
  return { bytes, descriptor: descriptorOf(mediaType, bytes) };
}
const image = manifestOf({});
const withConfig: RegistryDoubleOptions = { repositories: { 'a/b': { blobs: [config] } } };

describe('push a blob', () => {
  test('once in one piece, then it is present', async () => {
    const { registry, repository, steps } = await start();
    expect(await repository.push(layer, opener(blob))).toBe('stored');
    expect(await repository.push(layer, opener(blob))).toBe('present');
    expect(steps()).toEqual(['HEAD blobs', 'POST blobs', 'PUT blobs', 'HEAD blobs']);
    // The registry's own part of the query stays as it was written.
    expect(registry.requests[2]?.path).toMatch(/\?_state=a%2Bb~c&digest=sha256%3A[a-f0-9]{64}$/);
    expect(registry.requests[2]).toMatchObject({
      bytes: blob.length,
      headers: { 'content-length': '300000' },
    });
    expect(registry.repository('a/b').blobs.get(layer.digest)).toEqual(blob);
  });
  test('an empty one', async () => {
    const { registry, repository } = await start();
    const empty = descriptorOf(MediaType.octetStream, Buffer.alloc(0));
    await repository.push(empty, opener(Buffer.alloc(0)));
    expect(registry.repository('a/b').blobs.has(empty.digest)).toBe(true);
  });
  test('wrong bytes never arrive as a blob', async () => {
    const { registry, repository } = await start();
    const wrong = Buffer.alloc(blob.length, 'evil');
    for (const bytes of [wrong, blob.subarray(1), Buffer.concat([blob, blob])]) {
      await expect(repository.push(layer, opener(bytes))).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    }
    expect(registry.repository('a/b').blobs.size).toBe(0);
  });
  test('the registry that says DIGEST_INVALID, or names another digest, is believed (F38)', async () => {
    const invalid = await start({
      script: [
        {
          match: { method: 'PUT', path: /./ },
          do: { status: 400, body: '{"errors":[{"code":"DIGEST_INVALID"}]}' },
        },
      ],
    });
    await expect(invalid.repository.push(layer, opener(blob))).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
    });
    const other = digestOf(Buffer.from('other'));
    const lying = await start({
      script: [{ match: { method: 'PUT', path: /./ }, do: { headers: { 'docker-content-digest': other } } }],
    });
    await expect(lying.repository.push(layer, opener(blob))).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
    });
  });
  test('F36 T31 a Location elsewhere is refused, and says what to set', async () => {
    for (const location of [
      'https://evil.net/v2/a/b/blobs/uploads/1',
      'http://registry.example/v2/a/b/blobs/uploads/1',
      'https://registry.example:8443/v2/a/b/blobs/uploads/1',
      'https://user@evil.net/',
    ]) {
      const { registry, repository } = await start({
        script: [{ match: { method: 'POST', path: /uploads/ }, do: { headers: { location } } }],
      });
      await expect(repository.push(layer, opener(blob))).rejects.toMatchObject({
        code: 'EGRESS_DENIED',
        message: /http\.host .*relativeurls: true/,
      });
      expect(registry.requests.filter(({ method }) => method === 'PUT')).toHaveLength(0);
    }
  });
  test('F36 relative ones work, and an explicit default port is the same', async () => {
    for (const locationBase of ['', 'https://registry.example:443']) {
      const { repository } = await start({ locationBase });
      expect(await repository.push(layer, opener(blob))).toBe('stored');
    }
  });
  test('F34 after a broken session: HEAD, then a new one', async () => {
    const { repository, steps, registry } = await start({
      script: [{ match: { method: 'PUT', path: /uploads/, nth: 1 }, do: { cutRequestAfter: 1000 } }],
    });
    expect(await repository.push(layer, opener(blob))).toBe('stored');
    expect(steps()).toEqual([
      'HEAD blobs',
      'POST blobs',
      'PUT blobs',
      'HEAD blobs',
      'POST blobs',
      'PUT blobs',
    ]);
    expect(registry.requests[2]?.path).not.toBe(registry.requests[5]?.path);
  });
  test('F34 an answer that is lost after the blob was stored costs no second upload', async () => {
    const { repository, steps } = await start({
      script: [{ match: { method: 'PUT', path: /uploads/, nth: 1 }, do: { loseAnswer: true } }],
    });
    expect(await repository.push(layer, opener(blob))).toBe('stored');
    expect(steps()).toEqual(['HEAD blobs', 'POST blobs', 'PUT blobs', 'HEAD blobs']);
  });
  test.each([
    ['F35 BLOB_UPLOAD_INVALID', { status: 400, body: '{"errors":[{"code":"BLOB_UPLOAD_INVALID"}]}' }],
    ['BLOB_UPLOAD_UNKNOWN', { status: 404, body: '{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}' }],
    ['416', { status: 416 }],
    ['503', { status: 503 }],
  ])('%s leads to a new session', async (_, action) => {
    const { repository } = await start({
      script: [{ match: { method: 'PUT', path: /uploads/, nth: 1 }, do: action }],
    });
    expect(await repository.push(layer, opener(blob))).toBe('stored');
  });
  test('a refusal that stays is not tried again', async () => {
    const { repository, steps } = await start({
      script: [{ match: { method: 'POST', path: /uploads/ }, do: { status: 403 } }],
    });
    await expect(repository.push(layer, opener(blob))).rejects.toMatchObject({ code: 'DENIED', status: 403 });
    expect(steps()).toEqual(['HEAD blobs', 'POST blobs']);
  });
});

describe('push in chunks', () => {
  const size = 40 * 1024 * 1024;
  const big = Buffer.alloc(size, 'talos');
  const media = descriptorOf(MediaType.octetStream, big);
  const chunk = 32 * 1024 * 1024;

  test('F39 after 413, with the ranges the specification writes', async () => {
    const { registry, repository, steps } = await start({ maxBodyBytes: chunk });
    expect(await repository.push(media, opener(big))).toBe('stored');
    expect(steps().filter((step) => step.startsWith('PATCH'))).toHaveLength(2);
    const patches = registry.requests.filter(({ method }) => method === 'PATCH');
    expect(patches.map(({ headers }) => headers['content-range'])).toEqual([
      `0-${chunk - 1}`,
      `${chunk}-${size - 1}`,
    ]);
    expect(big.equals(registry.repository('a/b').blobs.get(media.digest) ?? Buffer.alloc(0))).toBe(true);
  });
  test('a registry may ask for larger ones, and what its Range says is not believed', async () => {
    const { registry, repository } = await start({
      chunkMinLength: size,
      script: [
        {
          match: { method: 'PUT', path: /uploads/, nth: 1 },
          do: { status: 413, readBody: false, headers: { connection: 'close' } },
        },
        { match: { method: 'PATCH', path: /./ }, do: { headers: { range: '0-0' } } },
      ],
    });
    expect(await repository.push(media, opener(big))).toBe('stored');
    expect(registry.requests.filter(({ method }) => method === 'PATCH')).toHaveLength(1);
  });
  test('F09 a token that ends between chunks is renewed, and no byte is hashed twice', async () => {
    const { registry, repository } = await start(
      {
        maxBodyBytes: chunk,
        auth: { kind: 'token', username: 'u', password: 'p', anonymousPull: true },
        script: [{ match: { method: 'PATCH', path: /./, nth: 2 }, do: { delayMs: 1 } }],
      },
      { credentials: { find: async () => ({ kind: 'password', username: 'u', password: 'p' }) } },
    );
    let opened = 0;
    const open: OpenBytes = (offset = 0) => {
      opened++;
      if (offset > 0 && opened < 4) registry.revokeTokens();
      return bytesOf(big.subarray(offset));
    };
    expect(await repository.push(media, open)).toBe('stored');
    expect(registry.requests.filter(({ method }) => method === 'PATCH')).toHaveLength(3);
    expect(big.equals(registry.repository('a/b').blobs.get(media.digest) ?? Buffer.alloc(0))).toBe(true);
  });
  test('wrong bytes are noticed before the blob is committed', async () => {
    const { registry, repository } = await start({ maxBodyBytes: chunk });
    const wrong = opener(Buffer.alloc(size, 'evil'));
    await expect(repository.push(media, wrong)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect(registry.requests.at(-1)?.method).toBe('PATCH');
    expect(registry.repository('a/b').blobs.size).toBe(0);
  });
});

describe('mount', () => {
  const other: RegistryDoubleOptions = { repositories: { 'other/repo': { blobs: [blob] } } };
  test('takes the blob over', async () => {
    const { registry, repository } = await start(other);
    expect(await repository.mount(layer, 'other/repo')).toBe(true);
    expect(registry.repository('a/b').blobs.has(layer.digest)).toBe(true);
  });
  test('F37 202 is answered false, and its session is cancelled', async () => {
    const { registry, repository, steps } = await start({ ...other, mounts: false });
    expect(await repository.mount(layer, 'other/repo')).toBe(false);
    expect(steps()).toEqual(['POST blobs', 'DELETE blobs']);
    expect(registry.openUploads).toBe(0);
  });
  test.each([401, 403, 404, 405])('%i is answered false', async (status) => {
    const { repository } = await start({
      ...other,
      script: [{ match: { method: 'POST', path: /mount=/ }, do: { status } }],
    });
    expect(await repository.mount(layer, 'other/repo')).toBe(false);
  });
  test('a token that is refused for the other repository is answered false', async () => {
    const { repository } = await start({
      ...other,
      auth: { kind: 'token', anonymousPull: true },
      script: [{ match: { path: /^\/token.*other/ }, do: { status: 403 } }],
    });
    expect(await repository.mount(layer, 'other/repo')).toBe(false);
  });
  test('names both repositories in its scope', async () => {
    const { registry, repository } = await start(
      {
        ...other,
        auth: { kind: 'token', username: 'u', password: 'p' },
      },
      { credentials: { find: async () => ({ kind: 'password', username: 'u', password: 'p' }) } },
    );
    expect(await repository.mount(layer, 'other/repo')).toBe(true);
    const token = new URL(
      registry.requests.find(({ path }) => path.startsWith('/token'))?.path ?? '',
      registry.url,
    );
    expect(token.searchParams.getAll('scope')).toEqual([
      'repository:a/b:pull,push',
      'repository:other/repo:pull',
    ]);
  });
});

describe('push a manifest', () => {
  test('under its digest with its type, byte for byte, then under a tag', async () => {
    const { registry, repository, steps } = await start(withConfig);
    const odd = manifestOf({ annotations: { 'x.y': 'ä  b' } });
    expect(await repository.push(odd.descriptor, opener(odd.bytes))).toBe('stored');
    await repository.tag(odd.descriptor, 'v1');
    expect(registry.repository('a/b').manifest('v1')).toEqual({
      bytes: odd.bytes,
      mediaType: MediaType.ociManifest,
    });
    // The bytes were kept from the push; after tagging the tag is looked at.
    expect(steps()).toEqual(['HEAD manifests', 'PUT manifests', 'PUT manifests', 'HEAD manifests']);
  });
  test('a tag for what another process pushed reads the manifest back', async () => {
    const { registry, repository } = await start(withConfig);
    registry.repository('a/b').addManifest(image.bytes, MediaType.ociManifest);
    await repository.tag(image.descriptor, 'v1');
    expect(await repository.resolve('v1')).toEqual(image.descriptor);
  });
  test('F38 a registry that stores something else is found out, at the push and at the tag', async () => {
    const other = digestOf(Buffer.from('other'));
    const spoil = { headers: { 'docker-content-digest': other } };
    for (const match of [
      { method: 'PUT', path: /manifests/ },
      { method: 'HEAD', path: /manifests\/v1/ },
    ]) {
      const { repository } = await start({ ...withConfig, script: [{ match, do: spoil }] });
      const pushing = (async () => {
        await repository.push(image.descriptor, opener(image.bytes));
        await repository.tag(image.descriptor, 'v1');
      })();
      await expect(pushing).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    }
  });
  test('what the registry refuses says why', async () => {
    const { repository } = await start();
    await expect(repository.push(image.descriptor, opener(image.bytes))).rejects.toMatchObject({
      code: 'UPSTREAM',
      status: 400,
      message: /MANIFEST_BLOB_UNKNOWN/,
    });
    await expect(repository.tag(image.descriptor, 'not a tag')).rejects.toMatchObject({ code: 'BAD_NAME' });
  });
});

describe('referrers', () => {
  const signature = (name: string) =>
    manifestOf({
      subject: image.descriptor,
      artifactType: 'application/vnd.example.sig',
      annotations: { name },
    });
  const [a, b, c] = [signature('a'), signature('b'), signature('c')];
  const digests = (list: readonly Descriptor[]): string[] => list.map(({ digest }) => digest).sort();
  const expected = digests([a.descriptor, b.descriptor, c.descriptor]);
  const tag = `sha256-${hexOf(image.descriptor.digest)}`;

  test('from the API, over pages', async () => {
    const { registry, repository, steps } = await start({ ...withConfig, pageSize: 2 });
    for (const { descriptor, bytes } of [image, a, b, c]) await repository.push(descriptor, opener(bytes));
    const found = await repository.referrers(image.descriptor.digest);
    expect(digests(found)).toEqual(expected);
    expect(found[0]?.artifactType).toBe('application/vnd.example.sig');
    expect(registry.repository('a/b').tags.size).toBe(0);
    expect(steps().filter((step) => step === 'GET referrers')).toHaveLength(2);
    expect(await repository.referrers(a.descriptor.digest)).toEqual([]);
  });
  test('from the fallback index, which pushes keep, even at the same time', async () => {
    const { registry, repository } = await start({ ...withConfig, referrersApi: false });
    await repository.push(image.descriptor, opener(image.bytes));
    await Promise.all([a, b, c].map(({ descriptor, bytes }) => repository.push(descriptor, opener(bytes))));
    expect(digests(await repository.referrers(image.descriptor.digest))).toEqual(expected);
    await repository.push(a.descriptor, opener(a.bytes));
    const index = JSON.parse(Buffer.from(registry.repository('a/b').manifest(tag)?.bytes ?? []).toString());
    expect(index.manifests).toHaveLength(3);
    expect(index.manifests[0]).toMatchObject({ artifactType: 'application/vnd.example.sig' });
    expect(await repository.referrers(a.descriptor.digest)).toEqual([]);
  });
  test.each([true, false])('F38 one that is listed is not put again (API: %s)', async (referrersApi) => {
    const { registry, repository } = await start({ ...withConfig, referrersApi });
    const push = () => repository.push(a.descriptor, opener(a.bytes));
    await repository.push(image.descriptor, opener(image.bytes));
    expect(await push()).toBe('stored');
    expect(await push()).toBe('present');
    if (referrersApi) return;
    // As an interrupted push leaves it.
    registry.repository('a/b').tags.delete(tag);
    expect(await push()).toBe('stored');
    expect(digests(await repository.referrers(image.descriptor.digest))).toEqual([a.descriptor.digest]);
  });
  test('a dozen pushed at once all stay in the fallback index', async () => {
    const { repository } = await start({ ...withConfig, referrersApi: false });
    const many = Array.from({ length: 12 }, (_, i) => signature(`s${i}`));
    await Promise.all(many.map(({ descriptor, bytes }) => repository.push(descriptor, opener(bytes))));
    expect(await repository.referrers(image.descriptor.digest)).toHaveLength(12);
  });
  test('F19 a fallback index never takes in the children of the image itself', async () => {
    const { registry, repository } = await start({ ...withConfig, referrersApi: false });
    const store = registry.repository('a/b');
    store.addManifest(image.bytes, MediaType.ociManifest);
    const index = manifestOf({ manifests: [image.descriptor] }, MediaType.ociIndex);
    const indexTag = `sha256-${hexOf(index.descriptor.digest)}`;
    store.addManifest(index.bytes, MediaType.ociIndex, indexTag);
    const signed = manifestOf({ subject: index.descriptor });
    await repository.push(signed.descriptor, opener(signed.bytes));
    const kept = JSON.parse(Buffer.from(store.manifest(indexTag)?.bytes ?? []).toString());
    expect(digests(kept.manifests)).toEqual([signed.descriptor.digest]);
  });
  test.each([
    ['404', { status: 404 }],
    ['405', { status: 405 }],
    ['303 to another host', { status: 303, headers: { location: 'https://github.com/x' } }],
    ['200 that is a web page', { status: 200, headers: { 'content-type': 'text/html' }, body: '<html>' }],
  ])('F18 %s means that there is no API', async (_, action) => {
    const { repository, records } = await start({
      ...withConfig,
      script: [{ match: { path: /referrers/ }, do: action }],
    });
    expect(await repository.referrers(image.descriptor.digest)).toEqual([]);
    expect(records.map(({ path }) => path.split('/').at(-1))).toEqual([image.descriptor.digest, tag]);
  });
  test.each([401, 403, 429, 500])('%i is an error, never "none"', async (status) => {
    const { repository } = await start(
      { ...withConfig, script: [{ match: { path: /referrers/ }, do: { status } }] },
      { tries: 2 },
    );
    await expect(repository.referrers(image.descriptor.digest)).rejects.toMatchObject({ status });
  });
  test('a redirect within the registry is followed', async () => {
    const { repository } = await start({
      ...withConfig,
      script: [
        {
          match: { path: /referrers\/.*:[^?]*$/, nth: 1 },
          do: { status: 307, headers: { location: '?start=0' } },
        },
      ],
    });
    await repository.push(image.descriptor, opener(image.bytes));
    await repository.push(a.descriptor, opener(a.bytes));
    expect(await repository.referrers(image.descriptor.digest)).toHaveLength(1);
  });
  test('F19 the image itself under the fallback tag, and entries that refer to something else, are no referrers', async () => {
    const { registry, repository } = await start({ ...withConfig, referrersApi: false });
    const index = manifestOf({ manifests: [image.descriptor, a.descriptor] }, MediaType.ociIndex);
    const store = registry.repository('a/b');
    for (const { bytes } of [image, a]) store.addManifest(bytes, MediaType.ociManifest);
    store.addManifest(index.bytes, MediaType.ociIndex, `sha256-${hexOf(index.descriptor.digest)}`, tag);
    expect(await repository.referrers(index.descriptor.digest)).toEqual([]);
    const found = await repository.referrers(image.descriptor.digest);
    expect(digests(found)).toEqual([a.descriptor.digest]);
    store.manifests.delete(a.descriptor.digest);
    expect(await repository.referrers(image.descriptor.digest)).toEqual([]);
  });
});

test('pull what was pushed', async () => {
  const { repository } = await start(withConfig);
  await repository.push(layer, opener(blob));
  expect(await collect(repository.fetch(layer), 1e6, 'x')).toEqual(blob);
});

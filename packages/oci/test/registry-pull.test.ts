/** What is read from a registry: names, blobs over broken lines, tags. */
import { describe, expect, test } from 'vitest';
import { collect, collectVerified } from '../src/model/bytes.ts';
import { descriptorOf } from '../src/model/descriptor.ts';
import { digestOf } from '../src/model/digest.ts';
import { MediaType } from '../src/model/media-type.ts';
import type { RegistryDoubleOptions } from '../src/testing/registry/double.ts';
import type { FaultAction } from '../src/testing/registry/faults.ts';
import { server } from './gate.ts';
import { blob, layer, startRegistry } from './registry.ts';

const image = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: MediaType.ociManifest,
    config: layer,
    layers: [],
  }),
);
const imageDescriptor = descriptorOf(MediaType.ociManifest, image);
const seed: RegistryDoubleOptions = {
  repositories: {
    'a/b': {
      blobs: [blob],
      manifests: [{ bytes: image, mediaType: MediaType.ociManifest, tags: ['v1', 'v2', 'v3'] }],
    },
  },
};
const listed = async (names: AsyncIterable<string>): Promise<string[]> => {
  const list: string[] = [];
  for await (const name of names) list.push(name);
  return list;
};
const gets = (registry: { requests: readonly { method: string; headers: object }[] }) =>
  registry.requests.filter(({ method }) => method === 'GET');

describe('resolve', () => {
  test('a tag and a digest, by HEAD alone, with all types accepted', async () => {
    const { registry, repository } = await startRegistry(seed);
    expect(await repository.resolve('v1')).toEqual(imageDescriptor);
    expect(await repository.resolve(imageDescriptor.digest)).toEqual(imageDescriptor);
    expect(registry.requests.map(({ method }) => method)).toEqual(['HEAD', 'HEAD']);
    expect(registry.requests[0]?.headers['accept']).toContain(MediaType.dockerList);
  });
  test('without Docker-Content-Digest the manifest is read and hashed', async () => {
    const { registry, repository } = await startRegistry({ ...seed, digestHeader: false });
    expect(await repository.resolve('v1')).toEqual(imageDescriptor);
    expect(registry.requests.map(({ method }) => method)).toEqual(['HEAD', 'GET']);
  });
  test('undefined means 404 and nothing else', async () => {
    const { repository } = await startRegistry(seed);
    expect(await repository.resolve('none')).toBeUndefined();
    for (const [status, code] of [
      [401, 'DENIED'],
      [403, 'DENIED'],
      [429, 'UPSTREAM'],
      [500, 'UPSTREAM'],
    ] as const) {
      const script = [{ match: { path: /manifests/ }, do: { status } }];
      const started = await startRegistry({ ...seed, script }, { tries: 2 });
      await expect(started.repository.resolve('v1')).rejects.toMatchObject({ code, status });
    }
  });
  test('C11 the words of a rate limit are asked for by GET, once, and said with the wait', async () => {
    const body = JSON.stringify({
      errors: [{ code: 'TOOMANYREQUESTS', message: 'You have reached your limit' }],
    });
    const headers = { 'content-type': 'application/json', 'retry-after': '1' };
    const script = [{ match: { path: /manifests/ }, do: { status: 429, headers, body } }];
    const { repository, registry } = await startRegistry({ ...seed, script }, { tries: 2 });
    const says = 'answers 429 (wait 1 s): TOOMANYREQUESTS: You have reached your limit; it limits the rate';
    await expect(repository.resolve('v1')).rejects.toThrow(says);
    for (const name of ['v1', 'v2']) {
      await expect(repository.resolve(name)).rejects.toMatchObject({
        status: 429,
        message: expect.stringMatching(new RegExp(`^resolve ${name} .*docker login`)),
      });
    }
    expect(registry.requests.map(({ method }) => method)).toEqual([
      ...['HEAD', 'HEAD', 'GET'],
      ...['HEAD', 'HEAD', 'HEAD', 'HEAD'],
    ]);
  });
  test('another digest than the one asked for is refused', async () => {
    const other = digestOf(Buffer.from('other'));
    const { repository } = await startRegistry({
      ...seed,
      script: [{ match: { path: /manifests/ }, do: { headers: { 'docker-content-digest': other } } }],
    });
    await expect(repository.resolve(imageDescriptor.digest)).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
    });
  });
  test('names are checked before any request', async () => {
    const { registry, repository, client } = await startRegistry(seed);
    await expect(repository.resolve('../x')).rejects.toMatchObject({ code: 'BAD_NAME' });
    expect(() => client.repository('A/../b')).toThrow(/not a repository path/);
    expect(registry.requests).toHaveLength(0);
  });
  test('schema 1 is refused by name', async () => {
    const type = 'application/vnd.docker.distribution.manifest.v1+prettyjws';
    const { repository } = await startRegistry({
      ...seed,
      script: [{ match: { path: /manifests/ }, do: { headers: { 'content-type': type } } }],
    });
    await expect(repository.resolve('v1')).rejects.toMatchObject({ message: /schema 1/ });
  });
});

describe('fetch', () => {
  const pull = async (script: FaultAction[], options: RegistryDoubleOptions = {}, tries = 6) => {
    const started = await startRegistry(
      {
        ...seed,
        ...options,
        script: script.map((action, i) => ({
          match: { method: 'GET', path: /blobs/, nth: i + 1 },
          do: action,
        })),
      },
      { tries },
    );
    const bytes = collectVerified(started.repository.fetch(layer), layer, 1e6, 'layer');
    return { ...started, bytes };
  };
  test('manifests and blobs, whole and from an offset', async () => {
    const { repository } = await startRegistry(seed);
    expect(await collect(repository.fetch(imageDescriptor), 1e6, 'x')).toEqual(image);
    expect(await collect(repository.fetch(layer), 1e6, 'x')).toEqual(blob);
    expect(await collect(repository.fetchFrom(layer, 299_990), 1e6, 'x')).toEqual(blob.subarray(299_990));
    expect(await collect(repository.fetchFrom(layer, layer.size), 1e6, 'x')).toHaveLength(0);
  });
  test('F06 a body that breaks is continued from the byte reached', async () => {
    const { bytes, registry } = await pull([{ cutAfter: 200_000 }]);
    expect(await bytes).toEqual(blob);
    const [first, second] = gets(registry);
    expect(first?.headers).not.toHaveProperty('range');
    expect(second?.headers).toMatchObject({ range: 'bytes=200000-' });
  });
  test('F03 T14 a body whose end is the end of the connection is continued too', async () => {
    const { bytes } = await pull([{ closeDelimited: true, cutAfter: 100_000 }, { closeDelimited: true }]);
    expect(await bytes).toEqual(blob);
  });
  test('F07 T37 200 to a Range: what was had is read again and dropped', async () => {
    const { bytes } = await pull([{ cutAfter: 200_000 }, { status: 200, body: blob }]);
    expect(await bytes).toEqual(blob);
  });
  test.each([
    ['another start', { status: 206, headers: { 'content-range': 'bytes 5-299999/300000' }, body: 'wrong' }],
    [
      'another size',
      { status: 206, headers: { 'content-range': 'bytes 200000-299999/300001' }, body: 'wrong' },
    ],
    ['no Content-Range', { status: 206, body: 'wrong' }],
    ['416', { status: 416 }],
  ] satisfies [string, FaultAction][])('F07 T37 206 with %s is not appended', async (_, fault) => {
    const { bytes, registry } = await pull([{ cutAfter: 200_000 }, fault]);
    expect(await bytes).toEqual(blob);
    expect(gets(registry)[2]?.headers).not.toHaveProperty('range');
  });
  test('tries are counted while nothing arrives, not while it goes on', async () => {
    const many = await pull(Array(10).fill({ cutAfter: 10_000 }), {}, 3);
    expect(await many.bytes).toEqual(blob);
    const stuck = await pull([{ cutAfter: 10_000 }, ...Array(5).fill({ drop: true })], {}, 3);
    await expect(stuck.bytes).rejects.toMatchObject({ code: 'NETWORK' });
    expect(gets(stuck.registry)).toHaveLength(3);
  });
  test('F08 busy answers are waited for as the registry asks', async () => {
    const { bytes, waits } = await pull([
      { status: 429, headers: { 'retry-after': '3' } },
      { status: 503, headers: { 'retry-after': '999999999' } },
    ]);
    expect(await bytes).toEqual(blob);
    expect(waits).toEqual([3000, 60_000]);
  });
  test('F04 a wrong byte is not hidden', async () => {
    const { bytes } = await pull([{ flipByteAt: 5 }]);
    await expect(bytes).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
  });
  test('T16 more or fewer bytes than the descriptor says are refused at once', async () => {
    const longer = await pull([{ status: 200, body: Buffer.alloc(400_000) }]);
    await expect(longer.bytes).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    const endless = await pull([{ status: 200, body: Buffer.alloc(400_000), closeDelimited: true }]);
    await expect(endless.bytes).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect(gets(endless.registry)).toHaveLength(1);
    // Also for a consumer that does not verify.
    const script = [
      { match: { path: /blobs/ }, do: { status: 200, body: Buffer.alloc(400_000), closeDelimited: true } },
    ];
    const bare = await startRegistry({ ...seed, script });
    await expect(collect(bare.repository.fetch(layer), 1e6, 'x')).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
    });
  });
  test('what is not there is NOT_FOUND, with what the registry says', async () => {
    const { repository } = await startRegistry(seed);
    const absent = descriptorOf(MediaType.octetStream, Buffer.from('absent'));
    await expect(collect(repository.fetch(absent), 1e6, 'x')).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: /BLOB_UNKNOWN/,
    });
  });
  test('T30 storage the registry redirects to gets no credentials, and resuming starts at the registry', async () => {
    let cut = true;
    const storage = await server((request, response) => {
      const from = Number(/=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
      response.writeHead(from > 0 ? 206 : 200, {
        'content-length': blob.length - from,
        ...(from > 0 ? { 'content-range': `bytes ${from}-${blob.length - 1}/${blob.length}` } : {}),
      });
      response.write(blob.subarray(from, from + 100_000), () => {
        if (cut) response.destroy();
        else response.end(blob.subarray(from + 100_000));
        cut = false;
      });
    });
    const { registry, repository, records } = await startRegistry(
      { ...seed, auth: { kind: 'token', anonymousPull: true } },
      { others: { 'storage.example': storage } },
    );
    registry.fault({
      match: { method: 'GET', path: /blobs/ },
      do: { status: 307, headers: { location: 'https://storage.example/blob?sig=s3cret' } },
    });
    // The first request learns how to log in.
    expect(await repository.has(imageDescriptor)).toBe(true);
    expect(await collectVerified(repository.fetch(layer), layer, 1e6, 'x')).toEqual(blob);
    expect(registry.requests.filter(({ path }) => path.includes('/blobs/'))).toHaveLength(2);
    expect(storage.requests).toHaveLength(2);
    expect(JSON.stringify(storage.requests)).not.toContain('Bearer');
    expect(storage.requests[1]?.headers['range']).toBe('bytes=100000-');
    expect(JSON.stringify(records)).not.toContain('s3cret');
  });
  test('an abort ends a fetch and its retries', async () => {
    const { repository } = await startRegistry({
      ...seed,
      script: [{ match: { path: /blobs/ }, do: { stallAfter: 1000 } }],
    });
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 50);
    const reading = collect(repository.fetch(layer, controller.signal), 1e6, 'x');
    await expect(reading).rejects.toMatchObject({ code: 'ABORTED' });
  });
});

describe('has', () => {
  test('compares the size', async () => {
    const { repository } = await startRegistry(seed);
    expect(await repository.has(layer)).toBe(true);
    expect(await repository.has(imageDescriptor)).toBe(true);
    expect(await repository.has({ ...layer, size: 1 })).toBe(false);
    expect(await repository.has(descriptorOf(MediaType.octetStream, Buffer.from('x')))).toBe(false);
  });
  test('never guesses', async () => {
    const { repository } = await startRegistry({
      script: [{ match: { path: /blobs/ }, do: { status: 403 } }],
    });
    await expect(repository.has(layer)).rejects.toMatchObject({ code: 'DENIED' });
  });
});

describe('tags', () => {
  test('all pages', async () => {
    const { registry, repository } = await startRegistry({ ...seed, pageSize: 2 });
    expect(await listed(repository.tags())).toEqual(['v1', 'v2', 'v3']);
    expect(registry.requests).toHaveLength(2);
  });
  test('T33 a next page elsewhere is refused', async () => {
    for (const link of [
      '<https://evil.net/v2/a/b/tags/list>; rel="next"',
      '<http://registry.example/x>; rel=next',
    ]) {
      const { repository, records } = await startRegistry({
        ...seed,
        script: [{ match: { path: /tags/ }, do: { headers: { link } } }],
      });
      await expect(listed(repository.tags())).rejects.toMatchObject({ code: 'EGRESS_DENIED' });
      expect(records).toHaveLength(1);
    }
  });
  test('T25 what is no tag is refused, null is none, an unknown repository is NOT_FOUND', async () => {
    const answer = (body: string): RegistryDoubleOptions => ({
      script: [{ match: { path: /tags/ }, do: { status: 200, body } }],
    });
    const bad = await startRegistry(answer('{"tags":["v1\\u001b[2J"]}'));
    await expect(listed(bad.repository.tags())).rejects.toMatchObject({ code: 'UPSTREAM' });
    const none = await startRegistry(answer('{"tags":null}'));
    expect(await listed(none.repository.tags())).toEqual([]);
    const unknown = await startRegistry();
    await expect(listed(unknown.repository.tags())).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

test('ping', async () => {
  const { client, registry } = await startRegistry();
  await client.ping();
  registry.fault({ match: { path: /^\/v2\/$/ }, do: { status: 404 } });
  await expect(client.ping()).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

describe('for who passes content on', () => {
  test('a blob’s size, by HEAD; undefined for none; an answer without a length is an error', async () => {
    const { registry, repository } = await startRegistry(seed);
    expect(await repository.blobSize(digestOf(blob))).toBe(blob.byteLength);
    expect(await repository.blobSize(digestOf(Buffer.from('none')))).toBeUndefined();
    expect(gets(registry)).toEqual([]);
    const closing = { do: { closeDelimited: true }, match: { path: /blobs/ } };
    const other = await startRegistry({ ...seed, script: [closing] });
    await expect(other.repository.blobSize(digestOf(blob))).rejects.toMatchObject({ code: 'UPSTREAM' });
  });

  test('a part of a blob: no byte more is asked for, and a broken one resumes within it', async () => {
    const cut = { match: { method: 'GET', path: /blobs/, nth: 1 }, do: { cutAfter: 5 } };
    const { registry, repository } = await startRegistry({ ...seed, script: [cut] });
    const content = { mediaType: MediaType.octetStream, digest: digestOf(blob), size: blob.byteLength };
    const part = await collect(repository.fetchRange(content, 10, 30), 100, 'part');
    expect(Buffer.from(part)).toEqual(Buffer.from(blob.subarray(10, 30)));
    expect(gets(registry).map(({ headers }) => (headers as { range?: string }).range)).toEqual([
      'bytes=10-29',
      'bytes=15-29',
    ]);
  });

  test('a registry without ranges: what was not asked for is left out', async () => {
    const content = { mediaType: MediaType.octetStream, digest: digestOf(blob), size: blob.byteLength };
    const whole = { match: { method: 'GET', path: /blobs/ }, do: { status: 200, body: blob } };
    const { repository } = await startRegistry({ ...seed, script: [whole] });
    const part = await collect(repository.fetchRange(content, 10, 30), 100, 'part');
    expect(Buffer.from(part)).toEqual(Buffer.from(blob.subarray(10, 30)));
  });

  test('a manifest by tag and by digest, with its bytes', async () => {
    const { repository } = await startRegistry(seed);
    for (const name of ['v1', imageDescriptor.digest]) {
      expect(await repository.read(name)).toMatchObject({ descriptor: imageDescriptor, bytes: image });
    }
    expect(await repository.read('v9')).toBeUndefined();
  });

  test('repositories, page by page; where they are not listed, that is an error', async () => {
    const repositories = { 'a/b': {}, 'c/d': {}, e: {} };
    const { client } = await startRegistry({ repositories, pageSize: 2 });
    expect(await listed(client.repositories())).toEqual(['a/b', 'c/d', 'e']);
    const other = await startRegistry({ repositories, catalog: false });
    await expect(listed(other.client.repositories())).rejects.toMatchObject({ status: 404 });
  });
});

/** What a registry is sent: blobs in one piece and in chunks, mounts, manifests and tags. */
import { describe, expect, test } from 'vitest';
import { bytesOf, collect, verified } from '../src/model/bytes.ts';
import { descriptorOf } from '../src/model/descriptor.ts';
import { digestOf } from '../src/model/digest.ts';
import { MediaType } from '../src/model/media-type.ts';
import type { CredentialSource } from '../src/registry/credentials.ts';
import type { OpenBytes } from '../src/storage.ts';
import { connectToDouble } from '../src/testing/registry/client.ts';
import type { RegistryDoubleOptions } from '../src/testing/registry/double.ts';
import { server } from './gate.ts';
import { blob, image, layer, manifestOf, opener, startRegistry, withConfig } from './registry.ts';

describe('push a blob', () => {
  test('once in one piece, then it is present', async () => {
    const { registry, repository, steps } = await startRegistry();
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
    const { registry, repository } = await startRegistry();
    const empty = descriptorOf(MediaType.octetStream, Buffer.alloc(0));
    await repository.push(empty, opener(Buffer.alloc(0)));
    expect(registry.repository('a/b').blobs.has(empty.digest)).toBe(true);
  });
  test('wrong bytes never arrive as a blob', async () => {
    const { registry, repository } = await startRegistry();
    const wrong = Buffer.alloc(blob.length, 'evil');
    for (const bytes of [wrong, blob.subarray(1), Buffer.concat([blob, blob])]) {
      await expect(repository.push(layer, opener(bytes))).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    }
    expect(registry.repository('a/b').blobs.size).toBe(0);
  });
  test('wrong bytes are never sent whole, so a registry that checks nothing cannot keep them', async () => {
    let sent = 0;
    for (const wrong of [Buffer.alloc(blob.length, 'evil'), blob.subarray(1)]) {
      const sending = async (): Promise<void> => {
        const chunks = bytesOf(wrong.subarray(0, 100), wrong.subarray(100));
        for await (const chunk of verified(chunks, layer)) sent += chunk.byteLength;
      };
      sent = 0;
      await expect(sending()).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
      expect(sent).toBeLessThan(blob.length);
    }
  });
  test('the registry that says DIGEST_INVALID, or names another digest, is believed (F38)', async () => {
    const invalid = await startRegistry({
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
    const lying = await startRegistry({
      script: [{ match: { method: 'PUT', path: /./ }, do: { headers: { 'docker-content-digest': other } } }],
    });
    await expect(lying.repository.push(layer, opener(blob))).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
    });
  });
  /** A registry whose uploads answer with a redirect to another address of it, as a front end does that serves reads. */
  const redirected = async (options: RegistryDoubleOptions = {}, status = 308) => {
    const target = await startRegistry({ locationBase: '', ...withConfig, ...options });
    const front = await server((request, response) => {
      const location = `https://back.example${request.url}`;
      if (request.method === 'GET' || request.method === 'HEAD') response.writeHead(404).end();
      else response.writeHead(status, { location }).end();
    });
    const credentials: CredentialSource = {
      find: async () => ({ kind: 'password', username: 'u', password: 's3cret' }),
    };
    const { client } = connectToDouble(front, { others: { 'back.example': target.registry }, credentials });
    return { target, front, repository: client.repository('a/b') };
  };
  test.each([307, 308])('S5 uploads that are redirected (%i) go on there', async (status) => {
    const { target, front, repository } = await redirected({}, status);
    expect(await repository.push(layer, opener(blob))).toBe('stored');
    expect(await repository.push(image.descriptor, opener(image.bytes))).toBe('stored');
    const held = target.registry.repository('a/b');
    expect(held.blobs.get(layer.digest)).toEqual(blob);
    expect(held.manifests.has(image.descriptor.digest)).toBe(true);
    // What a Location names is asked for at once.
    expect(front.requests.filter(({ path }) => path.includes('uploads')).map(({ method }) => method)).toEqual(
      ['POST'],
    );
  });
  test('S5 credentials stay with the registry that was named', async () => {
    const auth = { kind: 'basic', username: 'u', password: 's3cret' } as const;
    const { target, repository } = await redirected({ auth });
    await expect(repository.push(layer, opener(blob))).rejects.toMatchObject({
      code: 'DENIED',
      message: expect.stringMatching(
        /registry\.example redirected this request to back\.example, where its credentials are not sent/,
      ),
    });
    expect(target.registry.requests.map(({ headers }) => headers['authorization'])).toEqual([undefined]);
  });
  test('a redirect that is not followed is shown with its target, without its query', async () => {
    const { repository } = await redirected({}, 301);
    await expect(repository.push(layer, opener(blob))).rejects.toThrow(
      /answers 301, a redirect to https:\/\/back\.example\/v2\/a\/b\/blobs\/uploads\/$/,
    );
  });
  test('F36 T31 a Location elsewhere is refused, and says what to set', async () => {
    for (const location of [
      'https://evil.net/v2/a/b/blobs/uploads/1',
      'http://registry.example/v2/a/b/blobs/uploads/1',
      'https://registry.example:8443/v2/a/b/blobs/uploads/1',
      'https://user@evil.net/',
    ]) {
      const { registry, repository } = await startRegistry({
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
      const { repository } = await startRegistry({ locationBase });
      expect(await repository.push(layer, opener(blob))).toBe('stored');
    }
  });
  test('F34 after a broken session: HEAD, then a new one', async () => {
    const { repository, steps, registry } = await startRegistry({
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
    const { repository, steps } = await startRegistry({
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
    const { repository } = await startRegistry({
      script: [{ match: { method: 'PUT', path: /uploads/, nth: 1 }, do: action }],
    });
    expect(await repository.push(layer, opener(blob))).toBe('stored');
  });
  test('a refusal that stays is not tried again', async () => {
    const { repository, steps } = await startRegistry({
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
    const { registry, repository, steps } = await startRegistry({ maxBodyBytes: chunk });
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
    const { registry, repository } = await startRegistry({
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
    const { registry, repository } = await startRegistry(
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
    const { registry, repository } = await startRegistry({ maxBodyBytes: chunk });
    // From here on it is sent chunks.
    await repository.push(media, opener(big));
    const other = { ...media, digest: digestOf(Buffer.from('other')) };
    const wrong = opener(Buffer.alloc(size, 'evil'));
    await expect(repository.push(other, wrong)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect(registry.requests.at(-1)?.method).toBe('PATCH');
    expect(registry.repository('a/b').blobs.has(other.digest)).toBe(false);
  });
});

describe('mount', () => {
  const other: RegistryDoubleOptions = { repositories: { 'other/repo': { blobs: [blob] } } };
  test('takes the blob over', async () => {
    const { registry, repository } = await startRegistry(other);
    expect(await repository.mount(layer, 'other/repo')).toBe(true);
    expect(registry.repository('a/b').blobs.has(layer.digest)).toBe(true);
  });
  test('F37 202 is answered false, and its session is cancelled', async () => {
    const { registry, repository, steps } = await startRegistry({ ...other, mounts: false });
    expect(await repository.mount(layer, 'other/repo')).toBe(false);
    expect(steps()).toEqual(['POST blobs', 'DELETE blobs']);
    expect(registry.openUploads).toBe(0);
  });
  test.each([401, 403, 404, 405])('%i is answered false', async (status) => {
    const { repository } = await startRegistry({
      ...other,
      script: [{ match: { method: 'POST', path: /mount=/ }, do: { status } }],
    });
    expect(await repository.mount(layer, 'other/repo')).toBe(false);
  });
  test('a token that is refused for the other repository is answered false', async () => {
    const { repository } = await startRegistry({
      ...other,
      auth: { kind: 'token', anonymousPull: true },
      script: [{ match: { path: /^\/token.*other/ }, do: { status: 403 } }],
    });
    expect(await repository.mount(layer, 'other/repo')).toBe(false);
  });
  test('names both repositories in its scope', async () => {
    const { registry, repository } = await startRegistry(
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
    const { registry, repository, steps } = await startRegistry(withConfig);
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
    const { registry, repository } = await startRegistry(withConfig);
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
      const { repository } = await startRegistry({ ...withConfig, script: [{ match, do: spoil }] });
      const pushing = (async () => {
        await repository.push(image.descriptor, opener(image.bytes));
        await repository.tag(image.descriptor, 'v1');
      })();
      await expect(pushing).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    }
  });
  test('what the registry refuses says why', async () => {
    const { repository } = await startRegistry();
    await expect(repository.push(image.descriptor, opener(image.bytes))).rejects.toMatchObject({
      code: 'UPSTREAM',
      status: 400,
      message: /MANIFEST_BLOB_UNKNOWN/,
    });
    await expect(repository.tag(image.descriptor, 'not a tag')).rejects.toMatchObject({ code: 'BAD_NAME' });
  });
});

test('pull what was pushed', async () => {
  const { repository } = await startRegistry(withConfig);
  await repository.push(layer, opener(blob));
  expect(await collect(repository.fetch(layer), 1e6, 'x')).toEqual(blob);
});

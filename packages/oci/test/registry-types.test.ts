/** Answers whose type is not what was asked for: web pages refused, wrong labels on right manifests accepted (F5, C1, C13). */
import { describe, expect, test } from 'vitest';
import { collect } from '../src/model/bytes.ts';
import { digestOf } from '../src/model/digest.ts';
import { MediaType } from '../src/model/media-type.ts';
import type { FaultAction } from '../src/testing/registry/faults.ts';
import { server } from './gate.ts';
import { blob, image, layer, manifestOf, startRegistry } from './registry.ts';

const page = '<!DOCTYPE html><html><head><title>Please log in</title></head></html>';
const html = { 'content-type': 'text/html; charset=utf-8', 'docker-content-digest': '' };
const portal: FaultAction = { status: 200, headers: html, body: page };
const seeded = {
  repositories: {
    'a/b': {
      blobs: [blob],
      manifests: [{ bytes: image.bytes, mediaType: MediaType.ociManifest, tags: ['v1'] }],
    },
  },
};
const answering = (path: RegExp, action: FaultAction, notes: string[] = []) =>
  startRegistry(
    { ...seeded, script: [{ match: { path }, do: action }] },
    {
      onNote: (text: string) => notes.push(text),
    },
  );
const label = (type: string): FaultAction => ({ headers: { 'content-type': type } });

describe('a name', () => {
  const refused: readonly [what: string, answer: FaultAction, message: RegExp][] = [
    [
      'a web page',
      portal,
      /registry\.example answers with a web page \(text\/html\) instead of a manifest.*captive portal/,
    ],
    [
      'a page that the digest header covers',
      {
        status: 200,
        headers: { 'content-type': 'text/html', 'docker-content-digest': digestOf(Buffer.from(page)) },
        body: page,
      },
      /a web page \(text\/html\)/,
    ],
    [
      'a page without a type',
      { status: 200, headers: { 'content-type': '' }, body: page },
      /a web page \(no Content-Type\)/,
    ],
    [
      'a page as plain text',
      { status: 200, headers: { 'content-type': 'text/plain' }, body: page },
      /a web page \(text\/plain\)/,
    ],
    [
      'a page as XHTML',
      { status: 200, headers: { 'content-type': 'application/xhtml+xml' }, body: page },
      /a web page/,
    ],
    [
      'a page in the dress of a manifest',
      {
        status: 200,
        headers: { 'content-type': MediaType.ociManifest, 'docker-content-digest': '' },
        body: page,
      },
      /a web page/,
    ],
    [
      'XML',
      { status: 200, headers: { 'content-type': 'application/xml' }, body: '<?xml version="1.0"?><a/>' },
      /answers with application\/xml, which is not a manifest/,
    ],
    [
      'text',
      { status: 200, headers: { 'content-type': 'text/plain' }, body: 'blocked' },
      /text\/plain, which is not a manifest/,
    ],
    [
      'JSON of another type',
      {
        status: 200,
        headers: { 'content-type': 'application/json' },
        body: '{"mediaType":"application/vnd.acme+json"}',
      },
      /application\/json, which is not a manifest/,
    ],
    [
      'JSON that does not say its type',
      {
        status: 200,
        headers: { 'content-type': 'application/json' },
        body: '{"schemaVersion":2,"manifests":[]}',
      },
      /application\/json, which is not a manifest/,
    ],
    [
      'a manifest with a wrong label and another digest',
      {
        headers: {
          'content-type': 'application/json',
          'docker-content-digest': digestOf(Buffer.from('other')),
        },
      },
      /application\/json, which is not a manifest/,
    ],
    [
      'a manifest of a type that OCI removed',
      label('application/vnd.oci.artifact.manifest.v1+json'),
      /removed from the OCI specification.*push it again/,
    ],
  ];
  test.each(refused)('that is answered with %s is refused', async (_what, answer, message) => {
    const { repository } = await answering(/manifests/, answer);
    await expect(repository.resolve('v1')).rejects.toMatchObject({ code: 'UPSTREAM', message });
  });

  test.each(['application/json', 'text/plain; charset=utf-8', 'application/octet-stream', ''])(
    'whose right manifest is labeled %j is accepted, with one note',
    async (type) => {
      const notes: string[] = [];
      const { repository } = await answering(/manifests/, label(type), notes);
      expect(await repository.resolve('v1')).toEqual(image.descriptor);
      expect(await repository.resolve(image.descriptor.digest)).toEqual(image.descriptor);
      expect(notes).toEqual([
        expect.stringMatching(/^registry\.example labels manifests as .*\(a\/b, v1\)$/),
      ]);
    },
  );

  test('of a manifest type in capitals is that type', async () => {
    const { repository, steps } = await answering(/manifests/, label(MediaType.ociManifest.toUpperCase()));
    expect(await repository.resolve('v1')).toEqual(image.descriptor);
    expect(steps()).toEqual(['HEAD manifests']);
  });
});

describe('content', () => {
  const whole = (descriptor: typeof layer, action: FaultAction) =>
    answering(/blobs|manifests/, action).then(({ repository }) =>
      collect(repository.fetch(descriptor), 1e6, 'content'),
    );
  test.each([
    ['a manifest', image.descriptor],
    ['a blob', layer],
  ])('%s that is answered with a web page is refused as such', async (_what, descriptor) => {
    await expect(whole(descriptor, portal)).rejects.toMatchObject({
      code: 'UPSTREAM',
      message: expect.stringContaining('a web page (text/html)'),
    });
    const { repository } = await answering(/blobs|manifests/, portal);
    await expect(repository.has(descriptor)).rejects.toMatchObject({ code: 'UPSTREAM' });
  });

  test('that is HTML itself, or labeled so, is judged by its digest', async () => {
    expect(await whole(layer, label('text/html'))).toEqual(blob);
    const { repository, registry } = await startRegistry(seeded);
    const report = registry.repository('a/b').addBlob(Buffer.from(page), 'text/html');
    registry.fault({ match: { path: /blobs/ }, do: label('text/html') });
    expect(Buffer.from(await collect(repository.fetch(report), 1e6, 'page')).toString()).toBe(page);
  });

  test('a manifest by digest may have any label', async () => {
    expect(await whole(image.descriptor, label('application/json'))).toEqual(image.bytes);
  });

  test('of a type that OCI removed is named', async () => {
    const { descriptor } = manifestOf({}, 'application/vnd.oci.artifact.manifest.v1+json');
    const { repository } = await startRegistry(seeded);
    await expect(collect(repository.fetch(descriptor), 1e6, 'x')).rejects.toMatchObject({
      code: 'UPSTREAM',
      message: expect.stringContaining('removed from the OCI specification'),
    });
  });
});

describe('a list or log-in that is answered with something else', () => {
  const all = async (names: AsyncIterable<string>): Promise<void> => {
    for await (const _ of names);
  };
  type Started = Awaited<ReturnType<typeof startRegistry>>;
  const asked: readonly [what: string, path: RegExp, ask: (started: Started) => Promise<unknown>][] = [
    ['tags', /tags/, ({ repository }) => all(repository.tags())],
    ['ping', /^\/v2\/$/, ({ client }) => client.ping()],
    ['referrers', /referrers/, ({ repository }) => repository.referrers(layer.digest)],
    [
      'fallback tag',
      /referrers|manifests/,
      ({ repository }) => repository.referrers(layer.digest, undefined, () => {}),
    ],
  ];
  test.each(asked)('%s: a web page', async (_what, path, ask) => {
    await expect(ask(await answering(path, portal))).rejects.toMatchObject({
      code: 'UPSTREAM',
      message: expect.stringContaining('a web page (text/html)'),
    });
  });

  const json = { 'content-type': 'application/json' };
  test.each([
    ['tags: no JSON', /tags/, { status: 200, headers: json, body: 'ok' }],
    ['tags: no list', /tags/, { status: 200, headers: json, body: '{"tags":5}' }],
    ['tags: a list', /tags/, { status: 200, headers: json, body: '[]' }],
    ['referrers: no JSON', /referrers/, { status: 200, headers: json, body: 'ok' }],
    ['referrers: no list', /referrers/, { status: 200, headers: json, body: '{"manifests":5}' }],
    ['referrers: no descriptors', /referrers/, { status: 200, headers: json, body: '{"manifests":[5]}' }],
  ] as const)('%s', async (what, path, answer) => {
    const { repository } = await answering(path, answer);
    const ask = what.startsWith('tags') ? all(repository.tags()) : repository.referrers(layer.digest);
    await expect(ask).rejects.toMatchObject({ code: 'UPSTREAM' });
  });

  test('referrers whose list is labeled application/json count', async () => {
    const signature = manifestOf({ subject: image.descriptor });
    const { repository, registry } = await answering(/referrers/, label('application/json'));
    registry.repository('a/b').addManifest(signature.bytes, MediaType.ociManifest);
    const [found] = await repository.referrers(image.descriptor.digest);
    expect(found?.digest).toBe(signature.descriptor.digest);
  });
});

test('what the answer of another host was, is said of that host', async () => {
  const origin = await server((_, response) =>
    response.writeHead(200, { 'content-type': 'text/html' }).end(page),
  );
  const { repository } = await startRegistry(
    {
      ...seeded,
      script: [
        { match: { path: /blobs/ }, do: { status: 307, headers: { location: 'https://cdn.example/blob' } } },
      ],
    },
    { others: { 'cdn.example': origin } },
  );
  await expect(collect(repository.fetch(layer), 1e6, 'x')).rejects.toMatchObject({
    code: 'UPSTREAM',
    message: expect.stringContaining('cdn.example answers with a web page'),
  });
});

test('a log-in that is answered with a page is no fault of the content', async () => {
  const { repository } = await startRegistry({
    ...seeded,
    auth: { kind: 'token' },
    script: [{ match: { path: /token/ }, do: portal }],
  });
  await expect(repository.has(layer)).rejects.toMatchObject({
    code: 'UPSTREAM',
    message: expect.stringMatching(/^token of registry\.example: .* answers with a web page/),
  });
});

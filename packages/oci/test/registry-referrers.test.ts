/** What refers to an image: by the API, and by the fallback index where a registry has none. */
import { describe, expect, test } from 'vitest';
import type { Descriptor } from '../src/model/descriptor.ts';
import { hexOf } from '../src/model/digest.ts';
import { MediaType } from '../src/model/media-type.ts';
import type { Fault } from '../src/testing/registry/faults.ts';
import { image, manifestOf, opener, startRegistry, withConfig } from './registry.ts';

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
    const { registry, repository, steps } = await startRegistry({ ...withConfig, pageSize: 2 });
    for (const { descriptor, bytes } of [image, a, b, c]) await repository.push(descriptor, opener(bytes));
    const found = await repository.referrers(image.descriptor.digest);
    expect(digests(found)).toEqual(expected);
    expect(found[0]?.artifactType).toBe('application/vnd.example.sig');
    expect(registry.repository('a/b').tags.size).toBe(0);
    expect(steps().filter((step) => step === 'GET referrers')).toHaveLength(2);
    expect(await repository.referrers(a.descriptor.digest)).toEqual([]);
  });
  test('from the fallback index, which pushes keep, even at the same time', async () => {
    const { registry, repository } = await startRegistry({ ...withConfig, referrersApi: false });
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
    const { registry, repository } = await startRegistry({ ...withConfig, referrersApi });
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
    const { repository } = await startRegistry({ ...withConfig, referrersApi: false });
    const many = Array.from({ length: 12 }, (_, i) => signature(`s${i}`));
    await Promise.all(many.map(({ descriptor, bytes }) => repository.push(descriptor, opener(bytes))));
    expect(await repository.referrers(image.descriptor.digest)).toHaveLength(12);
  });
  test('F19 a fallback index never takes in the children of the image itself', async () => {
    const { registry, repository } = await startRegistry({ ...withConfig, referrersApi: false });
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
  ])('F18 %s means that there is no API', async (_, action) => {
    const { repository, records } = await startRegistry({
      ...withConfig,
      script: [{ match: { path: /referrers/ }, do: action }],
    });
    expect(await repository.referrers(image.descriptor.digest)).toEqual([]);
    expect(records.map(({ path }) => path.split('/').at(-1))).toEqual([image.descriptor.digest, tag]);
  });
  describe('a web page in place of the list', () => {
    const page = { status: 200, headers: { 'content-type': 'text/html' }, body: '<html>' };
    const withFallback = async (script: readonly Fault[]) => {
      const started = await startRegistry({ ...withConfig, script });
      const store = started.registry.repository('a/b');
      for (const { bytes } of [image, a]) store.addManifest(bytes, MediaType.ociManifest);
      const index = manifestOf({ manifests: [a.descriptor] }, MediaType.ociIndex);
      store.addManifest(index.bytes, MediaType.ociIndex, tag);
      return started;
    };
    const said = /registry\.example answers with a web page \(text\/html\).*captive portal/;
    test('is refused', async () => {
      const { repository } = await withFallback([{ match: { path: /referrers/ }, do: page }]);
      await expect(repository.referrers(image.descriptor.digest)).rejects.toMatchObject({
        code: 'UPSTREAM',
        message: expect.stringMatching(said),
      });
    });
    test('counts as no API for whoever takes the error', async () => {
      const { repository } = await withFallback([{ match: { path: /referrers/ }, do: page }]);
      const errors: string[] = [];
      const found = await repository.referrers(image.descriptor.digest, undefined, ({ message }) =>
        errors.push(message),
      );
      expect(digests(found)).toEqual(digests([a.descriptor]));
      expect(errors).toEqual([expect.stringMatching(said)]);
    });
    test('is refused as a later page of a list', async () => {
      const link = `</v2/a/b/referrers/${image.descriptor.digest}?page=2>; rel="next"`;
      const { repository } = await withFallback([
        { match: { path: /referrers.*page=2/ }, do: page },
        { match: { path: /referrers/ }, do: { headers: { link } } },
      ]);
      await expect(repository.referrers(image.descriptor.digest, undefined, () => {})).rejects.toMatchObject({
        code: 'UPSTREAM',
        message: expect.stringMatching(said),
      });
    });
    test('does not keep a pushed referrer out of the fallback index', async () => {
      const { repository, registry } = await startRegistry({
        ...withConfig,
        referrersApi: false,
        script: [{ match: { path: /referrers/ }, do: page }],
      });
      for (const one of [image, a, a]) await repository.push(one.descriptor, opener(one.bytes));
      expect(registry.repository('a/b').tags.has(tag)).toBe(true);
    });
  });
  test.each([401, 403, 429, 500])('%i is an error, never "none"', async (status) => {
    const { repository } = await startRegistry(
      { ...withConfig, script: [{ match: { path: /referrers/ }, do: { status } }] },
      { tries: 2 },
    );
    await expect(repository.referrers(image.descriptor.digest)).rejects.toMatchObject({ status });
  });
  test('C2 what only the fallback tag names is listed beside what the API names, each once', async () => {
    const { registry, repository } = await startRegistry(withConfig);
    const store = registry.repository('a/b');
    for (const { descriptor, bytes } of [image, a]) await repository.push(descriptor, opener(bytes));
    // As a registry that gained the API knows only what was pushed since.
    store.addManifest(b.bytes, MediaType.ociManifest);
    const index = manifestOf({ manifests: [a.descriptor, b.descriptor] }, MediaType.ociIndex);
    store.addManifest(index.bytes, MediaType.ociIndex, tag);
    const entries = JSON.stringify({ schemaVersion: 2, manifests: [a.descriptor] });
    const headers = { 'content-type': MediaType.ociIndex };
    registry.fault({ match: { path: /referrers/ }, do: { status: 200, headers, body: entries } });
    const found = await repository.referrers(image.descriptor.digest);
    expect(digests(found)).toEqual(digests([a.descriptor, b.descriptor]));
  });
  test.each([401, 403, 429, 500])('C2 %i for the fallback tag beside the API is an error', async (status) => {
    const { repository } = await startRegistry(
      { ...withConfig, script: [{ match: { path: /manifests\/sha256-/ }, do: { status } }] },
      { tries: 2 },
    );
    await expect(repository.referrers(image.descriptor.digest)).rejects.toMatchObject({ status });
  });
  test('a redirect within the registry is followed', async () => {
    const { repository } = await startRegistry({
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
    const { registry, repository } = await startRegistry({ ...withConfig, referrersApi: false });
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

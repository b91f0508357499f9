/** The object store double of the end-to-end tests, and the registry that keeps its blobs in it. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CephGateway, cephCommands, startCeph } from './ceph.ts';
import { type Registry, startRegistry } from './docker-registry.ts';
import { imageCommands, type PublishedImages, publishImages } from './images.ts';
import { describeWith } from './service-test.ts';
import { signedFetch } from './signed-fetch.ts';

describeWith([...cephCommands, 'docker-registry', ...imageCommands], 'Ceph gateway', () => {
  let gateway: CephGateway;
  let registry: Registry;
  let images: PublishedImages;
  beforeAll(async () => {
    gateway = await startCeph();
    await gateway.createBucket('registry');
    registry = await startRegistry({ storage: { gateway, bucket: 'registry' } });
    images = await publishImages(registry);
  });
  afterAll(async () => {
    await registry?.stop();
    await gateway?.stop();
  });

  test('takes what is signed with its key, and nothing else', async () => {
    await gateway.createBucket('of-the-test');
    expect((await gateway.request('of-the-test/key', { method: 'PUT', body: 'some text' })).status).toBe(200);
    expect(await (await gateway.request('of-the-test/key')).text()).toBe('some text');
    expect(await (await gateway.request('of-the-test?list-type=2&prefix=k')).text()).toContain(
      '<Key>key</Key>',
    );
    const wrong = { ...gateway, secretAccessKey: 'another' };
    expect((await signedFetch(new URL(`${gateway.url}/of-the-test/key`), wrong)).status).toBe(403);
    expect((await fetch(`${gateway.url}/of-the-test/key`)).status).toBe(403);
  });

  test('gives the blobs of a registry that redirects to it', async () => {
    const { repository, layers } = images.docker;
    const layer = layers[0];
    const answer = await fetch(`${registry.url}/v2/${repository}/blobs/${layer?.digest}`, {
      redirect: 'manual',
    });
    expect(answer.status).toBe(307);
    const location = new URL(answer.headers.get('location') ?? '');
    expect(location.origin).toBe(gateway.url);
    const blob = await (await fetch(location)).bytes();
    expect(blob.byteLength).toBe(layer?.size);
  });
});

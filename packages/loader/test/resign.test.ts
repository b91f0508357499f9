import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { claimOf } from '@omni-airgap/format';
import type { Layout } from '@omni-airgap/oci/layout';
import { digestFromHex, digestOf, hexOf, MediaType } from '@omni-airgap/oci/model';
import { describe, expect, test } from 'vitest';
import { addBlob, addImage, addSignature, bytesFor, loadInto, makeBundle, startDouble } from './support.ts';

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
const imager = 'ghcr.io/siderolabs/imager:v1.13.9';
const other = 'quay.io/acme/tool:v1';

interface Signatures {
  readonly config: { readonly digest: string };
  readonly layers: readonly { readonly digest: string; readonly annotations: Record<string, string> }[];
}

/** An image with a signature of its publisher, a schematic and an image of somebody else. */
async function fill(layout: Layout): Promise<void> {
  const image = await addImage(layout, imager, bytesFor('imager', 1000));
  const config = await addBlob(layout, MediaType.ociConfig, Buffer.from('{"rootfs":{"diff_ids":[]}}'));
  await addSignature(layout, 'ghcr.io/siderolabs/imager', image, config);
  await addImage(layout, other, bytesFor('tool', 1000));
  const schematic = bytesFor('s', 10);
  const id = hexOf(digestOf(schematic));
  await addImage(layout, `factory.talos.dev/siderolabs/image-factory/schematics:${id}`, schematic);
}

test('what a factory checks is signed once, beside the publisher’s signatures; a second load changes nothing', async () => {
  const { folder, document } = await makeBundle(fill);
  const double = await startDouble();
  const first = await loadInto(double, [folder], { resignKey: privateKey });
  expect(first.resigned).toEqual({ signed: 1, present: 0, unverified: 1 });
  const digest = document.roots.find(({ name }) => name === imager)?.descriptor.digest;
  const repository = double.repository('siderolabs/imager');
  const tag = `sha256-${digest?.slice(7)}.sig`;
  const read = (): Signatures => JSON.parse(Buffer.from(repository.manifest(tag)?.bytes ?? '').toString());
  const { layers, config } = read();
  expect(layers).toHaveLength(2);
  expect(layers[0]?.annotations).toEqual({ 'dev.cosignproject.cosign/signature': 'AAAA' });
  const claim = repository.blobs.get(layers[1]?.digest ?? '') ?? new Uint8Array();
  expect(Buffer.from(claim).toString()).toBe(
    `{"critical":{"identity":{"docker-reference":"${double.host}/siderolabs/imager"},"image":{"docker-manifest-digest":"${digest}"},"type":"cosign container image signature"},"optional":null}`,
  );
  const signature = Buffer.from(layers[1]?.annotations['dev.cosignproject.cosign/signature'] ?? '', 'base64');
  expect(verify('sha256', claim, createPublicKey(privateKey), signature)).toBe(true);
  const held = JSON.parse(Buffer.from(repository.blobs.get(config.digest) ?? '').toString());
  expect(held.rootfs.diff_ids).toEqual(layers.map((layer) => layer.digest));
  expect([...double.repository('acme/tool').tags.keys()]).toEqual(['v1']);

  const before = repository.tags.get(tag);
  const second = await loadInto(double, [folder], { resignKey: privateKey });
  expect(second.resigned).toEqual({ signed: 0, present: 1, unverified: 1 });
  await loadInto(double, [folder]);
  expect(repository.tags.get(tag)).toBe(before);
  // A key that replaces it signs as well.
  const { privateKey: next } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  expect((await loadInto(double, [folder], { resignKey: next })).resigned).toEqual({
    signed: 1,
    present: 0,
    unverified: 1,
  });
  expect(read().layers).toHaveLength(3);
});

test('what was verified outside does not count as unverified', async () => {
  const { folder, document } = await makeBundle(fill);
  const signature = digestFromHex('2'.repeat(64));
  const verified = { identity: 'ann@siderolabs.com', issuer: 'https://accounts.google.com', signature };
  const roots = document.roots.map((root) => (root.name === imager ? { ...root, verified } : root));
  await writeFile(join(folder, 'bundle.json'), JSON.stringify({ ...document, roots }));
  const { receipt, resigned } = await loadInto(await startDouble(), [folder], { resignKey: privateKey });
  expect(resigned).toEqual({ signed: 1, present: 0, unverified: 0 });
  expect(receipt.images.find(({ name }) => name === imager)?.verified).toEqual(verified);
});

test('the image’s own tag comes after its signature', async () => {
  const { folder } = await makeBundle((layout) =>
    addImage(layout, imager, bytesFor('imager', 10)).then(() => {}),
  );
  const double = await startDouble();
  await loadInto(double, [folder], { resignKey: privateKey });
  const tags = double.requests
    .filter(({ method, path }) => method === 'PUT' && /siderolabs\/imager\/manifests\/(?!sha256:)/.test(path))
    .map(({ path }) => path.slice(path.lastIndexOf('/') + 1));
  expect(tags).toEqual([expect.stringMatching(/\.sig$/), 'v1.13.9']);
});

test('two sites’ loads at once sign once each', async () => {
  const { folder } = await makeBundle(fill);
  const double = await startDouble();
  const { privateKey: next } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  await Promise.all([
    loadInto(double, [folder], { resignKey: privateKey }),
    loadInto(double, [folder], { resignKey: next }),
  ]);
  const reports = [
    await loadInto(double, [folder], { resignKey: privateKey }),
    await loadInto(double, [folder], { resignKey: next }),
  ];
  expect(reports.every(({ receipt }) => receipt.images.length === 4)).toBe(true);
  const repository = double.repository('siderolabs/imager');
  const tag = [...repository.tags.keys()].find((name) => name.endsWith('.sig')) ?? '';
  const { layers }: Signatures = JSON.parse(Buffer.from(repository.manifest(tag)?.bytes ?? '').toString());
  expect(layers.length).toBeGreaterThanOrEqual(3);
});

describe('the claim', () => {
  test('is what Go’s encoder writes, its escapes included', () => {
    const digest = `sha256:${'0'.repeat(64)}` as Parameters<typeof claimOf>[1];
    expect(Buffer.from(claimOf('r/<a>&b\u2028', digest)).toString()).toBe(
      `{"critical":{"identity":{"docker-reference":"r/\\u003ca\\u003e\\u0026b\\u2028"},"image":{"docker-manifest-digest":"${digest}"},"type":"cosign container image signature"},"optional":null}`,
    );
  });
});

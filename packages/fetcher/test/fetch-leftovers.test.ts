/** What a kill or a power cut in the middle of a write leaves in the store's ingest folder: the next fetch finishes. */
import { createHash } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Layout } from '@omni-airgap/oci/layout';
import { type Descriptor, fetchManifest, hexOf } from '@omni-airgap/oci/model';
import { expect, test } from 'vitest';
import { bundleOver, iso, mediaSite, mirrorOf, setName, text, vanilla } from './media-site.ts';
import { publishImage, type Site, talosVersion } from './site.ts';

const dex = 'ghcr.io/dexidp/dex:v1';
const schematicName = `factory.talos.dev/siderolabs/image-factory/schematics:${vanilla.id}`;
const listName = `factory.talos.dev/talos-catalog/extensions:${talosVersion}`;

async function named(layout: Layout, name: string): Promise<Descriptor> {
  const root = await layout.resolve(name);
  if (root === undefined) throw new Error(`${name} is not in the store`);
  return root;
}

/** The nth descriptor below an image or artifact: its config, then its layers. */
async function below(layout: Layout, parent: Descriptor, n: number): Promise<Descriptor> {
  const { manifest } = await fetchManifest(layout, parent);
  const all = manifest.kind === 'image' ? [manifest.config, ...manifest.layers] : manifest.manifests;
  const found = all.at(n);
  if (found === undefined) throw new Error(`${parent.digest} has no part ${n}`);
  return found;
}

const child = async (layout: Layout): Promise<Descriptor> => below(layout, await named(layout, dex), 0);

/** What was left, and how to find it in a store that has it. */
const kinds: readonly (readonly [what: string, find: (layout: Layout) => Promise<Descriptor>])[] =
  Object.entries({
    'the index of an image': (layout: Layout) => named(layout, dex),
    'a manifest in an index': child,
    'the config of an image': async (layout: Layout) => below(layout, await child(layout), 0),
    'a layer of an image': async (layout: Layout) => below(layout, await child(layout), 1),
    'the manifest of a schematic': (layout: Layout) => named(layout, schematicName),
    'the config of a schematic': async (layout: Layout) =>
      below(layout, await named(layout, schematicName), 0),
    'the text of a schematic': async (layout: Layout) => below(layout, await named(layout, schematicName), 1),
    'the manifest of media': (layout: Layout) => named(layout, setName),
    'the config of media': async (layout: Layout) => below(layout, await named(layout, setName), 0),
    'the signature of a file': async (layout: Layout) => below(layout, await named(layout, setName), 2),
    'the manifest of a list': (layout: Layout) => named(layout, listName),
    'the text of a list': async (layout: Layout) => below(layout, await named(layout, listName), 1),
  });

async function fetched(): Promise<Site> {
  const site = await mediaSite({ 'ghcr.io': {} });
  await publishImage(site.registry('ghcr.io'), 'dexidp/dex', 'v1');
  const bundle = bundleOver(
    createHash('sha256')
      .update(site.factory.files.get(iso) ?? '')
      .digest(),
  );
  site.factory.rules.push({
    path: /\.iso\.sigstore\.json$/,
    answer: (_, response) => text(response, 200, bundle),
  });
  await site.mirror(`images: ['${dex}']\n${mirrorOf(['metal-amd64.iso'])}`);
  await site.fetch();
  return site;
}

const leftovers = kinds.flatMap(([what, find]) =>
  (['half', 'all'] as const).map((part) => ({ what, part, find })),
);

test.each(leftovers)('F6 $what, $part of it written when the process died', async ({ part, find }) => {
  const site = await fetched();
  const { digest, size } = await find(await Layout.open(site.store));
  const blob = join(site.store, 'blobs', 'sha256', hexOf(digest));
  const bytes = await readFile(blob);
  await rm(blob);
  // As a killed process leaves it: under the name of its run, which no process has any more.
  const leftover = join(site.store, 'ingest', `${hexOf(digest)}.0123456789abcdef.0.part`);
  await writeFile(leftover, part === 'half' ? bytes.subarray(0, Math.floor(size / 2)) : bytes);
  await site.fetch();
  expect((await readFile(blob)).equals(bytes)).toBe(true);
});

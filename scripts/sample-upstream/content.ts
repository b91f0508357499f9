/** Makes the sample's content once, into a folder, from a seed; a folder that has it already is taken as it is. */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { schematicFrom } from '../../packages/talos/src/index.ts';
import { type ImageContext, makeImage } from './image.ts';
import { LayoutWriter } from './layout-writer.ts';
import { Media } from './media.ts';
import { SigningKey } from './signing-key.ts';
import {
  defaultMedia,
  extensions,
  factoryHost,
  imagesOf,
  overlays,
  type SampleImage,
  type SampleVersions,
} from './versions.ts';

/** Counts up when the same seed gives other content, so that folders of older versions are made anew. */
const generation = 3;

export interface SampleContent {
  /** Folder of the layout for a registry host. */
  readonly layoutOf: (host: string) => string;
  readonly media: Media;
  /** Signs what publishers sign. */
  readonly publisherKey: SigningKey;
  readonly factoryKey: SigningKey;
  /** Builds an installer of the factory for a schematic. */
  readonly makeInstaller: (
    repository: string,
    schematic: string,
    canonical: string,
    version: string,
  ) => Promise<void>;
  /** What the extensions and overlays endpoints answer, for every Talos version. */
  readonly catalogs: Catalogs;
  readonly versions: SampleVersions;
}

interface Catalogs {
  readonly extensions: readonly object[];
  readonly overlays: readonly object[];
}

const hosts = ['ghcr.io', 'registry.k8s.io', factoryHost] as const;

/** @param givenMedia as Media takes them */
export async function sampleContent(
  dir: string,
  seed: number,
  sizeMiB: number,
  versions: SampleVersions,
  givenMedia?: Readonly<Record<string, string>>,
): Promise<SampleContent> {
  const layoutOf = (host: string): string => join(dir, 'registries', host);
  const media = new Media(join(dir, 'media'), seed, sizeMiB, givenMedia);
  const publisherKey = new SigningKey(seed, 'publisher');
  const factoryKey = new SigningKey(seed, 'factory');
  const contextOf = async (host: string): Promise<ImageContext> => ({
    layout: await LayoutWriter.open(layoutOf(host)),
    seed,
    sizeMiB,
    key: host === factoryHost ? factoryKey : publisherKey,
  });
  const makeInstaller: SampleContent['makeInstaller'] = async (repository, schematic, canonical, version) => {
    const context = await contextOf(factoryHost);
    const reference = `${factoryHost}/${repository}/${schematic}:${version}`;
    await makeImage(context, { reference, share: 8, program: 'installer' }, { 'schematic.yaml': canonical });
    await context.layout.finish();
  };

  const stamp = JSON.stringify({ generation, seed, sizeMiB, versions });
  const stampFile = join(dir, 'sample.json');
  const before = await readFile(stampFile, 'utf8').catch(() => undefined);
  const described = join(dir, 'catalogs.json');
  if (before !== stamp) {
    await mkdir(dir, { recursive: true });
    for (const part of ['registries', 'media', 'sample.json']) {
      await rm(join(dir, part), { recursive: true, force: true });
    }
    const contexts = new Map<string, ImageContext>();
    for (const host of hosts) contexts.set(host, await contextOf(host));
    const { id, canonical } = schematicFrom('customization: {}\n');
    const makeBuilds = async (): Promise<void> => {
      for (const version of versions.talos) {
        await makeInstaller('metal-installer', id, canonical, version);
        for (const file of defaultMedia)
          await media.file({ schematic: id, canonical, extraKernelArgs: [], version, file });
      }
    };
    const [catalogs] = await Promise.all([makeImages(contexts, versions), makeBuilds()]);
    await writeFile(described, JSON.stringify(catalogs));
    await writeFile(join(dir, 'cosign.pub'), publisherKey.publicKey);
    await writeFile(stampFile, stamp);
  }
  const catalogs = JSON.parse(await readFile(described, 'utf8')) as Catalogs;
  return { layoutOf, media, publisherKey, factoryKey, makeInstaller, catalogs, versions };
}

async function makeImages(
  contexts: ReadonlyMap<string, ImageContext>,
  versions: SampleVersions,
): Promise<Catalogs> {
  const contextOf = (reference: string): ImageContext => {
    const context = contexts.get(reference.slice(0, reference.indexOf('/')));
    if (context === undefined) throw new Error(`no registry for ${reference}`);
    return context;
  };
  const make = (image: SampleImage, text?: Record<string, string>) =>
    makeImage(contextOf(image.reference), image, text);
  const withDigests = async <T extends SampleImage>(list: readonly T[]) =>
    Promise.all(list.map(async (image) => ({ ...image, digest: (await make(image)).digest })));

  const extensionImages = await withDigests(extensions);
  const overlayImages = await withDigests(overlays);
  const extensionFiles = {
    'image-digests': extensionImages.map(({ reference, digest }) => `${reference}@${digest}\n`).join(''),
    'descriptions.yaml': extensionImages
      .map(({ reference, digest, description }) => {
        return `${reference}@${digest}:\n  author: Sidero Labs\n  description: ${description}\n`;
      })
      .join(''),
  };
  const overlayFiles = {
    'overlays.yaml': `overlays:\n${overlayImages
      .map(
        ({ name, reference, digest }) =>
          `  - name: ${name}\n    image: ${reference}\n    digest: ${digest}\n`,
      )
      .join('')}`,
  };
  for (const version of versions.talos) {
    const catalog = (name: string): SampleImage => ({
      reference: `ghcr.io/siderolabs/${name}:${version}`,
      share: 0.1,
      program: name,
    });
    await make(catalog('extensions'), extensionFiles);
    await make(catalog('overlays'), overlayFiles);
  }
  // One image after the other in two lines: their compression is what takes the time, and there are two cores at least.
  const queue = [...imagesOf(versions)];
  const line = async (): Promise<void> => {
    for (let image = queue.shift(); image !== undefined; image = queue.shift()) await make(image);
  };
  await Promise.all([line(), line()]);
  for (const [host, { layout }] of contexts) if (host !== factoryHost) await layout.finish();
  return {
    extensions: extensionImages.map(({ reference, digest, description }) => ({
      name: nameOf(reference),
      ref: reference,
      digest,
      author: 'Sidero Labs',
      description,
    })),
    overlays: overlayImages.map(({ name, reference, digest }) => ({
      name,
      image: nameOf(reference),
      ref: reference,
      digest,
    })),
  };
}

function nameOf(reference: string): string {
  return reference.slice(reference.indexOf('/') + 1, reference.lastIndexOf(':'));
}

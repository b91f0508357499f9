/** Schematics and media files from the Image Factory, as artifacts in the store. */
import {
  bytesOf,
  CodedError,
  collectGraph,
  type Descriptor,
  type Digest,
  type Layout,
  type LockDocument,
  type LockedFile,
  type LockedItem,
  type Progress,
} from '@omni-airgap/content';
import { contentTypeOf, publicFactoryHost } from '@omni-airgap/talos';
import {
  type Artifact,
  fileArtifact,
  mediaArtifactType,
  schematicArtifact,
  schematicRepository,
} from './artifacts.ts';
import type { WantedSchematic } from './mirror/mirror.ts';
import type { FactoryClient } from './sources/factory-client.ts';
import type { WantedMediaSet } from './wanted.ts';

export interface MediaContext {
  readonly factory: FactoryClient;
  readonly layout: Layout;
  /** What the store was locked to before, if it was. */
  readonly lock: LockDocument | undefined;
  readonly progress: Progress;
}

/** Makes the schematic known upstream and puts it into the store. Nothing is asked when the store has it. */
export async function fetchSchematic(context: MediaContext, wanted: WantedSchematic): Promise<LockedItem> {
  const { factory, layout } = context;
  const name = `${publicFactoryHost}/${schematicRepository}:${wanted.id}`;
  const before = context.lock?.items.find((item) => item.name === name);
  if (before !== undefined && (await isWhole(layout, before.descriptor))) return before;
  let bytes: Uint8Array;
  if (wanted.kind === 'text') {
    await factory.createSchematic(wanted.canonical, wanted.id);
    bytes = Buffer.from(wanted.canonical);
  } else bytes = await factory.schematic(wanted.id);
  const artifact = schematicArtifact(bytes);
  await layout.push(artifact.layer, () => bytesOf(bytes));
  const descriptor = await storeArtifact(layout, artifact, name);
  return {
    name,
    kind: 'schematic',
    descriptor,
    bytes: bytes.byteLength + artifact.bytes.byteLength + artifact.configBytes.byteLength,
    source: `https://${publicFactoryHost}/schematics/${wanted.id}`,
    fetchedAt: new Date().toISOString(),
  };
}

/**
 * All files of one schematic and version as one artifact. Files that the lock pins and the store has are kept as
 * they are: the factory promises no digest, so the first fetch decides what a file is.
 */
export async function fetchMediaSet(context: MediaContext, wanted: WantedMediaSet): Promise<LockedItem> {
  const { factory, layout, progress } = context;
  const { schematic, version } = wanted;
  const name = `${publicFactoryHost}/talos-media/${schematic.id}:${version}`;
  const pinned = new Map(
    context.lock?.items.find((item) => item.name === name)?.files?.map((f) => [f.name, f]),
  );
  const files: LockedFile[] = [];
  for (const file of wanted.files) {
    const known = pinned.get(file);
    if (known !== undefined && (await layout.has(descriptorOfFile(known)))) {
      files.push(known);
      continue;
    }
    progress.note(`waiting for the factory: ${file} ${version} (a first build takes minutes)`);
    const media = { schematic: schematic.id, version, file };
    const fetched = await factory.fetchMedia(layout, media, (bytes) => {
      progress.expect(bytes);
      progress.advance(bytes);
    });
    if (known !== undefined && known.digest !== fetched.digest) {
      throw new CodedError(
        'CONFLICT',
        `${file} ${version}: the factory now has ${fetched.digest}, lock.json pins ${known.digest}; remove its entry from lock.json to accept the new one`,
      );
    }
    files.push(fetched);
  }
  const titled = files.map((file) => ({ name: file.name, descriptor: descriptorOfFile(file) }));
  const artifact = fileArtifact(mediaArtifactType, titled);
  const descriptor = await storeArtifact(layout, artifact, name);
  return {
    name,
    kind: 'media',
    descriptor,
    bytes: files.reduce((total, file) => total + file.size, 0),
    source: `https://${publicFactoryHost}`,
    fetchedAt: new Date().toISOString(),
    files,
  };
}

function descriptorOfFile(file: LockedFile): Descriptor {
  return { mediaType: contentTypeOf(file.name), digest: file.digest as Digest, size: file.size };
}

async function storeArtifact(layout: Layout, artifact: Artifact, name: string): Promise<Descriptor> {
  await layout.push(artifact.config, () => bytesOf(artifact.configBytes));
  await layout.push(artifact.manifest, () => bytesOf(artifact.bytes));
  await layout.tag(artifact.manifest, name);
  return artifact.manifest;
}

async function isWhole(layout: Layout, root: Descriptor): Promise<boolean> {
  if (!(await layout.has(root))) return false;
  for (const descriptor of (await collectGraph(layout, root)).values()) {
    if (!(await layout.has(descriptor))) return false;
  }
  return true;
}

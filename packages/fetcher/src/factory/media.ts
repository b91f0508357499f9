/** Schematics and media files from the Image Factory, as artifacts in the store. */

import { CodedError, isCoded } from '@omni-airgap/oci/base';
import type { Layout } from '@omni-airgap/oci/layout';
import { collect, type Descriptor, descriptorOf, fetchManifest, openerOf } from '@omni-airgap/oci/model';
import type { LockDocument, LockedFile, LockedItem } from '@omni-airgap/store';
import {
  artifactName,
  commonSchematicId,
  contentTypeOf,
  decodeSchematic,
  findSecretsInText,
  imagePath,
  maxSchematicBytes,
  mediaArtifactType,
  publicFactoryHost,
  type Schematic,
  signatureSuffix,
  TalosError,
} from '@omni-airgap/talos';
import type { WantedBuilds, WantedImage, WantedMediaSet } from '../mirror/resolved-mirror.ts';
import type { WantedSchematic } from '../mirror/schematic.ts';
import { type Failure, failureOf, once, type Run } from '../run.ts';
import { fileArtifact, isWhole, schematicArtifact, storeArtifact } from './artifacts.ts';
import type { KnownSchematic } from './client.ts';
import { descriptorOfFile, type FactoryContext, fetchFile } from './file.ts';
import { compareChecksum, signatureBundle } from './sidecars.ts';

/** A schematic as it lies in the store, under the ID that the factory gives it. */
export interface StoredSchematic {
  readonly id: string;
  readonly item: LockedItem;
}

/** Name under which the store knows a schematic. */
export function schematicName(id: string): string {
  return artifactName({ kind: 'schematic', id });
}

/** Name under which the store knows the media of a schematic. */
export function mediaSetName(id: string, version: string): string {
  return artifactName({ kind: 'media', schematic: id, version });
}

/** The schematic as an earlier fetch stored it: under our own ID for it, or that of the factory's other spelling. */
export async function lockedSchematic(
  layout: Layout | undefined,
  lock: LockDocument | undefined,
  wanted: WantedSchematic,
): Promise<StoredSchematic | undefined> {
  const stored = (lock?.items ?? [])
    .filter(({ kind }) => kind === 'schematic')
    .map((item) => ({ id: item.name.slice(item.name.lastIndexOf(':') + 1), item }));
  const own = stored.find(({ id }) => id === wanted.id);
  if (own !== undefined || wanted.kind === 'id' || layout === undefined) return own;
  for (const one of stored) {
    const text = await storedText(layout, one.item);
    if (text !== undefined && commonSchematicId(text) === wanted.id) return one;
  }
  return undefined;
}

/** Undefined where the store has lost it. */
async function storedText(layout: Layout, { descriptor }: LockedItem): Promise<Uint8Array | undefined> {
  try {
    const { manifest } = await fetchManifest(layout, descriptor);
    const [layer] = manifest.kind === 'image' ? manifest.layers : [];
    return layer && (await collect(layout.fetch(layer), maxSchematicBytes, 'schematic'));
  } catch (error) {
    if (isCoded(error, 'MISSING_CONTENT', 'DIGEST_MISMATCH')) return undefined;
    throw error;
  }
}

/**
 * Makes the schematic known upstream and puts it into the store. Nothing is asked when the store has it.
 * @throws DIGEST_MISMATCH, NOT_FOUND; SECRET when the factory's text of an ID holds one
 */
async function fetchSchematic(context: FactoryContext, wanted: WantedSchematic): Promise<StoredSchematic> {
  const { factory, layout } = context;
  const before = await lockedSchematic(layout, context.lock, wanted);
  if (before !== undefined && (await isWhole(layout, before.item.descriptor))) return before;
  const known =
    wanted.kind === 'text' ? await factory.createSchematic(wanted) : await readKnown(context, wanted.id);
  const { id, bytes } = known;
  const artifact = schematicArtifact(bytes);
  await layout.push(artifact.layer, openerOf(bytes));
  const descriptor = await storeArtifact(layout, artifact, schematicName(id));
  return {
    id,
    item: {
      name: schematicName(id),
      kind: 'schematic',
      descriptor,
      bytes: bytes.byteLength + artifact.bytes.byteLength + artifact.configBytes.byteLength,
      source: `${factory.base}/schematics/${id}`,
      fetchedAt: new Date().toISOString(),
    },
  };
}

/** The factory's text of an ID. @throws NOT_FOUND, DIGEST_MISMATCH; SECRET when it holds one that is not allowed */
export async function readKnown(
  { factory, allowSecrets }: Pick<FactoryContext, 'factory' | 'allowSecrets'>,
  id: string,
): Promise<KnownSchematic> {
  const known = await factory.schematic(id);
  const [secret] = allowSecrets ? [] : findSecretsInText(known.bytes);
  if (secret === undefined) return known;
  throw new CodedError(
    'SECRET',
    `schematic ${id}: ${secret.where} holds ${secret.what}; pass --allow-secrets to carry it all the same`,
  );
}

/**
 * One file of a schematic and version, and what the factory offers beside it. A file that the lock pins and the
 * store has is kept as it is: the factory promises no digest, so the first fetch decides what a file is.
 * @returns the file first, its signature bundle after it where there is one
 * @throws CONFLICT when the factory now has another file; DIGEST_MISMATCH, BAD_SIGNATURE when what it says of the file
 * does not fit
 */
async function fetchMediaFile(
  context: FactoryContext,
  id: string,
  version: string,
  name: string,
  sized: () => void,
): Promise<readonly LockedFile[]> {
  const { factory, layout } = context;
  const pinned = context.lock?.items.find((item) => item.name === mediaSetName(id, version))?.files ?? [];
  const path = imagePath(id, version, name);
  let signature = pinned.find((one) => one.name === `${name}${signatureSuffix}`);
  const file = await fetchFile(context, {
    item: mediaSetName(id, version),
    name,
    path,
    version,
    known: pinned.find((one) => one.name === name),
    sized,
    check: async (descriptor) => {
      await compareChecksum(factory, path, descriptor, layout);
      signature = await storeSignature(context, name, path, descriptor);
    },
  });
  if (signature === undefined) return [file];
  if (await layout.has(descriptorOfFile(signature))) return [file, signature];
  const again = await storeSignature(context, name, path, descriptorOfFile(file));
  if (again !== undefined) return [file, again];
  throw new CodedError(
    'NOT_FOUND',
    `${signature.name}: lock.json pins it, the store has lost it, and the factory offers none any more`,
  );
}

async function storeSignature(
  { factory, layout }: FactoryContext,
  name: string,
  path: string,
  descriptor: Descriptor,
): Promise<LockedFile | undefined> {
  const bytes = await signatureBundle(factory, path, descriptor);
  if (bytes === undefined) return undefined;
  const bundle = descriptorOf(contentTypeOf(`${name}${signatureSuffix}`), bytes);
  await layout.push(bundle, openerOf(bytes));
  return {
    name: `${name}${signatureSuffix}`,
    digest: bundle.digest,
    size: bundle.size,
    source: `${factory.base}/${path}${signatureSuffix}`,
    fetchedAt: new Date().toISOString(),
  };
}

/** All files of one schematic and version as one artifact. */
async function storeMediaSet(
  context: FactoryContext,
  id: string,
  { version }: WantedMediaSet,
  files: readonly LockedFile[],
): Promise<LockedItem> {
  const titled = files.map((file) => ({ name: file.name, descriptor: descriptorOfFile(file) }));
  const artifact = fileArtifact(mediaArtifactType, titled);
  const name = mediaSetName(id, version);
  const descriptor = await storeArtifact(context.layout, artifact, name);
  return {
    name,
    kind: 'media',
    descriptor,
    bytes: files.reduce((total, file) => total + file.size, 0),
    source: context.factory.base,
    fetchedAt: new Date().toISOString(),
    files: [...files],
  };
}

/** How many tasks of a run fetchBuilds is: the schematic, its installers, its sets of boot assets. */
export function buildTasks({ media, installers }: WantedBuilds): number {
  return 1 + media.length + installers.length;
}

/** @param image fetches one image */
export async function fetchBuilds(
  run: Run,
  builds: WantedBuilds,
  context: FactoryContext,
  image: (one: WantedImage) => Promise<void>,
): Promise<void> {
  const { schematic, place } = builds;
  const stored = await run.task(`schematic ${schematic.id}`, () => fetchSchematic(context, schematic));
  const id = stored?.id ?? schematic.id;
  const failAll = (version: string | undefined, error: CodedError, because: string): void => {
    const isOf = (one: { readonly version: string }): boolean =>
      version === undefined || one.version === version;
    const names = [
      ...builds.installers.filter(isOf).map((one) => installerName(id, one)),
      ...builds.media.filter(isOf).map((one) => mediaSetName(id, one.version)),
    ];
    for (const name of names) run.fail(name, error, because);
  };
  if (stored === undefined) return failAll(undefined, unknownSchematic(id), `schematic ${schematic.id}`);
  run.add([stored.item]);
  const meaning = await meaningOf(builds, undefined, context.layout, stored);
  const refused = new Set<string>();
  for (const version of meaning === undefined ? [] : versionsOfBuilds(builds)) {
    const error = meaning && (await context.offers.refusal(meaning, version, place));
    if (error === undefined) continue;
    refused.add(version);
    const name = `schematic ${id} for Talos ${version}`;
    run.failures.push({ name, error });
    failAll(version, unbuildable(id, version), name);
  }
  const isBuilt = ({ version }: { readonly version: string }): boolean => !refused.has(version);
  const references = builds.installers.filter(isBuilt).map((one) => installerName(id, one));
  const media = builds.media.filter(isBuilt);
  await Promise.all([
    ...references.map((reference) => image({ reference, platforms: undefined })),
    ...media.map(async (set) =>
      run.add([
        await run.attempt(mediaSetName(id, set.version), (sized) => fetchMediaSet(context, id, set, sized)),
      ]),
    ),
  ]);
}

/** Talos versions that something of a schematic is built for. */
export function versionsOfBuilds({
  media,
  installers,
}: Pick<WantedBuilds, 'media' | 'installers'>): readonly string[] {
  return [...new Set([...media, ...installers].map(({ version }) => version))];
}

/**
 * What a schematic says.
 * @param text of one that the factory was asked for; otherwise it is read from the store
 * @returns undefined where that is not known, or in a form of a newer factory
 */
export async function meaningOf(
  { schematic: wanted }: Pick<WantedBuilds, 'schematic'>,
  text: Uint8Array | undefined,
  layout: Layout | undefined,
  stored: StoredSchematic | undefined,
): Promise<Schematic | undefined> {
  if (wanted.kind === 'text') return wanted.schematic;
  const bytes = text ?? (layout && stored && (await storedText(layout, stored.item)));
  try {
    return bytes && decodeSchematic(bytes);
  } catch (error) {
    if (error instanceof TalosError) return undefined;
    throw error;
  }
}

/** Reference of an installer at the factory. */
export function installerName(
  id: string,
  { repository, version }: { readonly repository: string; readonly version: string },
): string {
  return `${publicFactoryHost}/${repository}/${id}:${version}`;
}

/** Why a version of a schematic is not built. */
export function unbuildable(id: string, version: string): CodedError {
  return new CodedError('INCOMPLETE', `its schematic ${id} cannot be built for Talos ${version}`);
}

/** Why nothing is built for a schematic that could not be had. */
export function unknownSchematic(id: string): CodedError {
  return new CodedError('INCOMPLETE', `its schematic ${id} is not known to the factory`);
}

/** Files that came are pinned also when others of their set failed. */
async function fetchMediaSet(
  context: FactoryContext,
  id: string,
  set: WantedMediaSet,
  sized: () => void,
): Promise<LockedItem> {
  const { progress } = context;
  // From now on each file counts for itself.
  progress.unsized?.(set.files.length);
  sized();
  const files = await Promise.allSettled(
    set.files.map((file) => {
      const fileSized = once(() => progress.unsized?.(-1));
      return fetchMediaFile(context, id, set.version, file, fileSized).finally(fileSized);
    }),
  );
  const failed = files.filter((one) => one.status === 'rejected');
  const errors = failed.map(({ reason }): Failure => ({ name: `${id} ${set.version}`, error: reason }));
  if (errors.length > 0) throw failureOf(errors, files.length);
  const all = files.flatMap((one) => (one.status === 'fulfilled' ? one.value : []));
  return storeMediaSet(context, id, set, all);
}

/** A bundle that is being made: what it will be, where it goes, and what is known of its volumes by now. */
import { realpath } from 'node:fs/promises';
import { isAbsolute, relative, resolve, sep } from 'node:path';
import { hashVolume, mapOf, planHashOf, volumeName, type WrittenVolume } from '@omni-airgap/format';
import { noProgress } from '@omni-airgap/oci';
import { CodedError } from '@omni-airgap/oci/base';
import type { Store } from '@omni-airgap/store';
import type { BundleOptions } from './bundle-options.ts';
import { consumingInto } from './consume.ts';
import { type Draft, issuedDraft, newDraft } from './draft.ts';
import { Medium } from './medium.ts';
import type { ReadBackContext } from './read-back.ts';

/** What all steps share. */
export interface Bundling extends ReadBackContext {
  readonly draft: Draft;
}

/**
 * Nothing is written by now but what the store knows of an issued bundle.
 * @throws as newDraft and issuedDraft; BUSY while another process writes to the folder; CONFLICT when it holds another
 * bundle; DISK
 */
export async function openBundling(store: Store, options: BundleOptions): Promise<Bundling> {
  const { out, issued, signKey, signal, progress = noProgress } = options;
  const draft =
    issued === undefined ? await newDraft(store, options) : await issuedDraft(store, issued, signKey);
  const { map, layout, hash } = draft;
  const medium = await Medium.open(out, hash, map.sizes);
  try {
    await refuseOther(medium, draft);
    // Another run may have written to both until now.
    const journal = await store.bundles.volumeJournal(hash);
    for (const [volume, { sha256 }] of (draft.volumes ?? []).entries()) await journal.hashed(volume, sha256);
    return { draft, map, layout, journal, medium, progress, signal };
  } catch (error) {
    await medium.close();
    throw error;
  }
}

/** Reads the content of volumes for their hashes, without writing any. @throws MISSING_CONTENT, DISK */
export async function hashVolumes(work: Bundling, volumes: readonly number[]): Promise<void> {
  const { map, layout, journal } = work;
  for (const volume of volumes) {
    const { sha256 } = await hashVolume(map, volume, layout, watchOf(work));
    await journal.hashed(volume, sha256);
  }
}

/** All volumes, each of which has been hashed by now. */
export function volumesOf({ map: { sizes }, journal }: Bundling): readonly WrittenVolume[] {
  return sizes.map((size, volume): WrittenVolume => {
    const sha256 = journal.sha256Of(volume);
    if (sha256 === undefined) throw new CodedError('INTERNAL', `volume ${volume} was never hashed`);
    return { name: volumeName(volume), size, sha256 };
  });
}

export function bytesOf({ map: { sizes } }: Bundling, volumes: readonly number[]): number {
  return volumes.reduce((sum, volume) => sum + (sizes[volume] ?? 0), 0);
}

/** For whatever reads or writes volumes. */
export function watchOf({ progress, signal }: Bundling): {
  readonly onBytes: (bytes: number) => void;
  readonly signal?: AbortSignal;
} {
  const onBytes = (bytes: number): void => progress.advance(bytes);
  return signal === undefined ? { onBytes } : { onBytes, signal };
}

/** Content that leaves the store must not stay in its folder. @throws USAGE */
export async function refuseInStore(out: string, store: string): Promise<void> {
  const inside = relative(await realpath(store).catch(() => store), resolve(out));
  if (inside === '..' || inside.startsWith(`..${sep}`) || isAbsolute(inside)) return;
  throw new CodedError('USAGE', `--out ${out}: is in the store; name a folder on the medium`);
}

/** @throws CONFLICT */
async function refuseOther({ document, folder, begun }: Medium, { hash, store }: Draft): Promise<void> {
  if (document !== undefined && planHashOf(document, mapOf(document)) !== hash) {
    throw new CodedError('CONFLICT', `${folder}: holds another bundle (${document.id}); use an empty folder`);
  }
  const id = begun === undefined ? undefined : await consumingInto(store, folder);
  if (id !== undefined) {
    throw new CodedError(
      'CONFLICT',
      `${folder}: bundle ${id} is being written here, and its content has begun to leave the store; finish it first: bundle --issued ${id.slice(0, 12)} --out ${folder} --consume`,
    );
  }
}

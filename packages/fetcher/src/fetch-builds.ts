/** All that the Image Factory builds for one schematic: the schematic first, then its media and installers. */
import { CodedError } from '@omni-airgap/oci/base';
import type { LockedItem } from '@omni-airgap/store';
import { publicFactoryHost } from '@omni-airgap/talos';
import { type Failure, failureOf } from './failures.ts';
import type { FactoryContext } from './fetch-file.ts';
import { fetchMediaFile, fetchSchematic, mediaSetName, storeMediaSet } from './fetch-media.ts';
import type { Run } from './run.ts';
import type { WantedBuilds, WantedImage, WantedMediaSet } from './wanted.ts';

/** @param image fetches one image */
export async function fetchBuilds(
  run: Run,
  { schematic, media, installers }: WantedBuilds,
  context: FactoryContext,
  image: (one: WantedImage) => Promise<void>,
): Promise<void> {
  const stored = await run.task(`schematic ${schematic.id}`, () => fetchSchematic(context, schematic));
  const id = stored?.id ?? schematic.id;
  const references = installers.map(
    ({ repository, version }) => `${publicFactoryHost}/${repository}/${id}:${version}`,
  );
  if (stored === undefined) {
    const error = new CodedError('INCOMPLETE', `its schematic ${id} is not known to the factory`);
    const names = [...references, ...media.map(({ version }) => mediaSetName(id, version))];
    run.failures.push(...names.map((name) => ({ name, error })));
    return;
  }
  run.add([stored.item]);
  await Promise.all([
    ...references.map((reference) => image({ reference, platforms: undefined })),
    ...media.map(async (set) =>
      run.add([await run.attempt(mediaSetName(id, set.version), () => fetchMediaSet(context, id, set))]),
    ),
  ]);
}

/** Files that came are pinned also when others of their set failed. */
async function fetchMediaSet(context: FactoryContext, id: string, set: WantedMediaSet): Promise<LockedItem> {
  const files = await Promise.allSettled(
    set.files.map((file) => fetchMediaFile(context, id, set.version, file)),
  );
  const failed = files.filter((one) => one.status === 'rejected');
  const errors = failed.map(({ reason }): Failure => ({ name: `${id} ${set.version}`, error: reason }));
  if (errors.length > 0) throw failureOf(errors, files.length);
  const all = files.flatMap((one) => (one.status === 'fulfilled' ? one.value : []));
  return storeMediaSet(context, id, set, all);
}

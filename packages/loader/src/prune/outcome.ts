/**
 * What a prune of a site deletes, rewrites and keeps, looked up from the records and the site as they are. The plan states
 * it, and apply looks it up again to see that nothing has changed.
 */
import type { LoadRecord, PlannedManifest, PruneInputs, PrunePlan } from '@omni-airgap/format';
import { byText, isCoded, messageOf, settleAll } from '@omni-airgap/oci/base';
import type { Digest } from '@omni-airgap/oci/model';
import pLimit from 'p-limit';
import { artifactOf } from '../targets/names.ts';
import { advertisedSets } from '../targets/registry/sets.ts';
import { InUse, talosVersionOf } from './in-use.ts';
import { arrivalsOf, type BroughtImage, Inventory, isNamed } from './inventory.ts';
import { type ObjectsAnswer, pruneObjects } from './objects.ts';
import { pruneRepository, type RepositoryAnswer, type TagRewrite } from './repository.ts';
import type { PruneSite } from './site.ts';
import { RepositorySurvey } from './survey.ts';
import { type ObjectRewrite, rewriteTaggedList } from './version-lists.ts';

export interface Outcome {
  readonly inventory: Inventory;
  /** What advertises others first, parents before children, what speaks about others last. */
  readonly manifests: readonly PlannedManifest[];
  readonly rewrites: readonly TagRewrite[];
  readonly objects: PrunePlan['objects'];
  readonly objectRewrites: readonly ObjectRewrite[];
  readonly kept: PrunePlan['kept'];
  /** Bytes that go at most. */
  readonly bytes: number;
}

/** Repositories looked at side by side. */
const repositoriesAtOnce = 4;

/**
 * @param orphans by repository: manifests that an interrupted prune was to delete, which nothing leads to any more
 * @throws MISSING_CONTENT for a missing receipt; BAD_DOCUMENT, DENIED, UPSTREAM, NETWORK, DISK
 */
export async function lookUp(
  site: PruneSite,
  records: readonly LoadRecord[],
  inputs: PruneInputs,
  orphans: ReadonlyMap<string, readonly Digest[]> = new Map(),
): Promise<Outcome> {
  const { names, accepted, sink, signal } = site;
  const inventory = new Inventory(arrivalsOf(records, accepted, names, inputs.keep), names);
  const inUse = new InUse(inputs);
  const registry = await lookUpRegistry(site, inventory, inUse, orphans);
  const none: ObjectsAnswer = { objects: [], rewrites: [], kept: [] };
  const objects = sink === undefined ? none : await pruneObjects(sink, inventory, inUse, signal);
  return {
    inventory,
    ...registry,
    objects: objects.objects,
    objectRewrites: objects.rewrites,
    kept: [...registry.kept, ...objects.kept],
    bytes: registry.bytes + objects.objects.reduce((sum, { size }) => sum + size, 0),
  };
}

type RegistryOutcome = Pick<Outcome, 'manifests' | 'rewrites' | 'kept' | 'bytes'>;

async function lookUpRegistry(
  { registry, signal }: PruneSite,
  inventory: Inventory,
  inUse: InUse,
  orphans: ReadonlyMap<string, readonly Digest[]>,
): Promise<RegistryOutcome> {
  if (registry === undefined) return { manifests: [], rewrites: [], kept: [], bytes: 0 };
  const { client, target } = registry;
  const { old, stays, kept } = divide(inventory, inUse, target.host);
  const paths = new Set([...old.map(({ repository }) => repository), ...orphans.keys()]);
  const limit = pLimit(repositoriesAtOnce);
  const answers = await settleAll(
    [...paths].sort().map((path) =>
      limit(async (): Promise<RepositoryAnswer> => {
        const isHere = ({ repository }: BroughtImage): boolean => repository === path;
        const question = {
          old: old.filter(isHere),
          kept: stays.filter(isHere),
          relied: inventory.relied.get(path) ?? new Set<Digest>(),
          inUse: inUse.digests,
          orphans: orphans.get(path) ?? [],
        };
        try {
          return await pruneRepository(
            await RepositorySurvey.open(client.repository(path), signal),
            question,
            signal,
          );
        } catch (error) {
          // One that cannot be read whole is left as it is: a tag in it may need anything.
          if (
            !isCoded(error, 'BAD_DOCUMENT', 'DIGEST_MISMATCH', 'DENIED', 'UPSTREAM') ||
            error.status === 401
          )
            throw error;
          const why = `the repository cannot be read: ${messageOf(error)}`;
          return {
            manifests: [],
            rewrites: [],
            kept: [{ target: path, why }],
            freed: new Map(),
            needed: new Set(),
          };
        }
      }),
    ),
  );
  const manifests = inOrder(answers.flatMap((answer) => answer.manifests));
  const needed = new Set(answers.flatMap((answer) => [...answer.needed]));
  const freed = new Map(
    answers.flatMap((answer) => [...answer.freed]).filter(([digest]) => !needed.has(digest)),
  );
  const at = ({ target: place, why }: PrunePlan['kept'][number]) => ({
    target: `${target.host}/${place}`,
    why,
  });
  return {
    manifests,
    rewrites: [
      ...(await rewriteLists(registry, inventory, manifests, signal)),
      ...answers.flatMap((answer) => answer.rewrites),
    ],
    kept: [...kept, ...answers.flatMap((answer) => answer.kept.map(at))].sort((a, b) =>
      byText(a.target, b.target),
    ),
    bytes: [...freed.values()].reduce((sum, size) => sum + size, 0),
  };
}

/** What may go, what stays whatever the registry says, and why, where no kept bundle names it. */
function divide(
  { images, missing }: Inventory,
  inUse: InUse,
  host: string,
): {
  readonly old: readonly BroughtImage[];
  readonly stays: readonly BroughtImage[];
  readonly kept: PrunePlan['kept'];
} {
  const old: BroughtImage[] = [];
  const stays: BroughtImage[] = [];
  const kept = new Map<string, string>();
  for (const image of images) {
    const { name, repository, tag, digest } = image;
    const artifact = artifactOf(name);
    // Machines know schematics by ID for ever; a list of versions is rewritten instead.
    const isForEver =
      artifact?.kind === 'schematic' || (artifact?.kind === 'list' && artifact.list === 'versions');
    const partial = missing.get(name);
    const why =
      partial === undefined
        ? inUse.why(image)
        : `bundle ${partial.bundle.slice(0, 12)} has it, and its load left it out`;
    if (!isNamed(image) && !isForEver && why === undefined) {
      old.push(image);
      continue;
    }
    stays.push(image);
    if (!isNamed(image) && why !== undefined) {
      kept.set(`${host}/${repository}${tag === undefined ? `@${digest}` : `:${tag}`}`, why);
    }
  }
  return { old, stays, kept: [...kept].map(([target, why]) => ({ target, why })) };
}

/** Who sees a name that advertises others would order what is gone: such names go first. */
function inOrder(manifests: readonly PlannedManifest[]): readonly PlannedManifest[] {
  const names = manifests.flatMap((manifest) => manifest.names);
  const advertising = new Set(advertisedSets(names).map(({ name }) => name));
  const isFirst = (manifest: PlannedManifest): boolean =>
    manifest.names.some((name) => advertising.has(name));
  return manifests.toSorted((a, b) => Number(isFirst(b)) - Number(isFirst(a)));
}

/** Versions of Talos of which nothing is left to install. */
async function rewriteLists(
  { client }: NonNullable<PruneSite['registry']>,
  { images }: Inventory,
  manifests: readonly PlannedManifest[],
  signal: AbortSignal | undefined,
): Promise<readonly TagRewrite[]> {
  const gone = new Set(manifests.map(({ repository, digest }) => `${repository}@${digest}`));
  const [going, staying] = [new Set<string>(), new Set<string>()];
  for (const { name, repository, digest } of images) {
    const version = talosVersionOf(name);
    if (version === undefined) continue;
    (gone.has(`${repository}@${digest}`) ? going : staying).add(version);
  }
  const versions = new Set([...going].filter((version) => !staying.has(version)));
  const lists = new Map<string, BroughtImage>();
  for (const image of images) {
    const artifact = artifactOf(image.name);
    if (artifact?.kind === 'list' && artifact.list === 'versions')
      lists.set(`${image.repository}:${image.tag}`, image);
  }
  const found: TagRewrite[] = [];
  for (const { repository, tag } of versions.size === 0 ? [] : lists.values()) {
    const rewrite =
      tag === undefined
        ? undefined
        : await rewriteTaggedList(client.repository(repository), tag, versions, signal);
    if (rewrite !== undefined) found.push(rewrite);
  }
  return found;
}

/** What of an object store goes: objects that loads stored, that nothing names any more, and that are still what was stored. */
import type { PrunePlan } from '@omni-airgap/format';
import type { ObjectSink } from '@omni-airgap/objects';
import { byText, settleAll } from '@omni-airgap/oci/base';
import type { Digest } from '@omni-airgap/oci/model';
import { versionsPath } from '@omni-airgap/talos';
import pLimit from 'p-limit';
import { type InUse, versionOfKey } from './in-use.ts';
import { type BroughtObject, type Inventory, isNamed } from './inventory.ts';
import { type ObjectRewrite, rewriteObjectList } from './version-lists.ts';

export interface ObjectsAnswer {
  /** Lists and scripts before the files that they speak of. */
  readonly objects: PrunePlan['objects'];
  readonly rewrites: readonly ObjectRewrite[];
  readonly kept: PrunePlan['kept'];
}

/** In a folder each look reads the file, in a bucket each that no read-back is on record for. */
const looksAtOnce = 4;
/** Schematics are small, and the site's Image Factory and machines know them by ID for ever. */
const schematicsPrefix = 'schematics/';

/** @throws DISK, DENIED, UPSTREAM, NETWORK */
export async function pruneObjects(
  sink: ObjectSink,
  inventory: Inventory,
  inUse: InUse,
  signal?: AbortSignal,
): Promise<ObjectsAnswer> {
  const kept: { target: string; why: string }[] = [];
  const old: BroughtObject[] = [];
  const named = new Set(inventory.objects.filter(isNamed).map(({ key }) => key));
  const staying = new Set(named);
  const keep = (key: string, why: string): void => {
    staying.add(key);
    kept.push({ target: `${sink.url}/${key}`, why });
  };
  for (const object of inventory.objects) {
    const { key } = object;
    if (named.has(key) || key === versionsPath || key.startsWith(schematicsPrefix)) continue;
    const why = whyKept(object, inventory, inUse);
    if (why === undefined) old.push(object);
    else if (!staying.has(key)) keep(key, why);
  }
  const limit = pLimit(looksAtOnce);
  const objects: { key: string; digest: Digest; size: number }[] = [];
  const present = new Set<string>();
  await settleAll(
    old.map(({ key, digest, size }) =>
      limit(async () => {
        if ((await sink.head(key, signal)) === undefined) return;
        present.add(key);
        const isOurs = await sink.holds({ key, descriptor: { digest, size } }, signal);
        if (isOurs) objects.push({ key, digest, size });
      }),
    ),
  );
  const gone = new Set(objects.map(({ key }) => key));
  for (const key of present) if (!gone.has(key)) keep(key, 'it is not what the load stored');
  const still = new Set([...staying].map(imageVersionOf));
  const versions = new Set(
    [...gone].flatMap((key) => {
      const version = imageVersionOf(key);
      return version === undefined || still.has(version) ? [] : [version];
    }),
  );
  const rewrite = await rewriteObjectList(sink, versions, signal);
  const isFile = ({ key }: { readonly key: string }): boolean => /^(?:image|talosctl)\//.test(key);
  return {
    objects: objects.sort((a, b) => Number(isFile(a)) - Number(isFile(b)) || byText(a.key, b.key)),
    rewrites: rewrite === undefined ? [] : [rewrite],
    kept: kept.sort((a, b) => byText(a.target, b.target)),
  };
}

/** The version of Talos that a file boots; undefined for other keys. */
function imageVersionOf(key: string): string | undefined {
  return key.startsWith('image/') ? versionOfKey(key) : undefined;
}

function whyKept(
  { key }: BroughtObject,
  { missing, reliedKeys }: Inventory,
  inUse: InUse,
): string | undefined {
  const partial = missing.get(key);
  if (partial !== undefined) return `bundle ${partial.bundle.slice(0, 12)} has it, and its load left it out`;
  // Loading the increment again looks for it at this key, also where another key has the same content.
  if (reliedKeys.has(key)) return 'an increment that stays relies on it';
  return inUse.whyKey(key);
}

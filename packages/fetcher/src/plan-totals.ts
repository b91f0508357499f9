/** What the items of a plan come to: content that several share counts once. */

import type { ErrorCode } from '@omni-airgap/oci/base';
import type { Layout } from '@omni-airgap/oci/layout';
import type { Descriptor, Digest } from '@omni-airgap/oci/model';
import type { LockedItem } from '@omni-airgap/store';

type Kind = LockedItem['kind'];

export interface PlannedItem {
  readonly name: string;
  readonly kind: Kind;
  /** Undefined when only a build at the factory, or the download, would tell. */
  readonly digest?: string;
  /** Bytes in all, and bytes that the store has not; undefined when unknown until built. */
  readonly bytes?: number;
  readonly missing?: number;
  readonly problem?: string;
  /** Platforms that are wanted, and that it lacks upstream. */
  readonly missingPlatforms?: readonly string[];
}

/** Why a fetch of an item would fail. */
export interface PlanProblem {
  readonly name: string;
  readonly code: ErrorCode;
  readonly message: string;
  /** The name of the item whose problem it follows from. */
  readonly because?: string;
}

/** An item with its content; without, when only its size is known, or nothing. */
export interface Planned {
  readonly item: PlannedItem;
  /** The code of the item's problem. */
  readonly code?: ErrorCode;
  /** The name of the item whose problem its own follows from. */
  readonly because?: string;
  readonly content: readonly Descriptor[];
  readonly perPlatform?: readonly (readonly [platform: string, bytes: number])[];
}

/** Within one kind, content that items share counts once. */
interface KindTotal {
  readonly items: number;
  readonly bytes: number;
  readonly missing: number;
  /** Items whose size only a build would tell. */
  readonly unknown: number;
  /** Items with a problem: no sum has their size. */
  readonly failed: number;
}

export interface Totals {
  readonly kinds: Readonly<Record<Kind, KindTotal>>;
  /** Content that several items share counts once. */
  readonly bytes: number;
  readonly bytesToFetch: number;
  /** Items whose size only a build would tell. */
  readonly unknown: number;
  /** Bytes of each platform, shared content included. */
  readonly platforms: Readonly<Record<string, number>>;
}

export async function totalsOf(planned: readonly Planned[], layout: Layout | undefined): Promise<Totals> {
  const platforms: Record<string, number> = {};
  for (const { perPlatform = [] } of planned)
    for (const [name, bytes] of perPlatform) platforms[name] = (platforms[name] ?? 0) + bytes;
  const of = (kind: Kind): Promise<KindTotal> =>
    total(
      planned.filter(({ item }) => item.kind === kind),
      layout,
    );
  const all = await total(planned, layout);
  return {
    kinds: {
      image: await of('image'),
      signature: await of('signature'),
      schematic: await of('schematic'),
      media: await of('media'),
      catalog: await of('catalog'),
    },
    bytes: all.bytes,
    bytesToFetch: all.missing,
    unknown: all.unknown,
    platforms,
  };
}

async function total(planned: readonly Planned[], layout: Layout | undefined): Promise<KindTotal> {
  const content = new Map<Digest, Descriptor>();
  for (const one of planned) for (const descriptor of one.content) content.set(descriptor.digest, descriptor);
  const counted = await countBytes(content.values(), layout);
  // Files of which only the size is known share nothing.
  const loose = planned.filter((one) => one.content.length === 0);
  const more = loose.reduce((sum, { item }) => sum + (item.bytes ?? 0), 0);
  const isUnknown = ({ kind, bytes, problem }: PlannedItem): boolean =>
    bytes === undefined && problem === undefined && (kind === 'image' || kind === 'media');
  return {
    items: planned.length,
    bytes: counted.bytes + more,
    missing: counted.missing + more,
    unknown: planned.filter(({ item }) => isUnknown(item)).length,
    failed: planned.filter(({ item }) => item.problem !== undefined).length,
  };
}

export function problemsOf(planned: readonly Planned[]): readonly PlanProblem[] {
  return planned.flatMap(({ item: { name, problem: message }, code, because }) =>
    message === undefined || code === undefined
      ? []
      : [{ name, code, message, ...(because === undefined ? {} : { because }) }],
  );
}

export async function countBytes(
  descriptors: Iterable<Descriptor>,
  layout: Layout | undefined,
): Promise<{ readonly bytes: number; readonly missing: number }> {
  let bytes = 0;
  let missing = 0;
  for (const descriptor of descriptors) {
    bytes += descriptor.size;
    if (layout === undefined || !(await layout.has(descriptor))) missing += descriptor.size;
  }
  return { bytes, missing };
}

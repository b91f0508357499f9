/** What is known against the content of a mirror.yaml, before it is asked for and once it is locked. */
import { graphOf, walk } from '@omni-airgap/oci';
import { CodedError } from '@omni-airgap/oci/base';
import type { Layout } from '@omni-airgap/oci/layout';
import { parseReference } from '@omni-airgap/oci/model';
import { registryKinds, shapesOf } from '@omni-airgap/oci/registry';
import { type LockedItem, lockedName } from '@omni-airgap/store';
import {
  type CarriedName,
  type InsideFacts,
  type InsideFinding,
  insideFindings,
  insideRefusal,
  publicFactoryHost,
  type SiteFacts,
} from '@omni-airgap/talos';
import { listNames } from './factory/lists.ts';
import { mediaSetName, schematicName } from './factory/media.ts';
import type { Mirror } from './mirror/mirror.ts';
import type { ResolvedMirror } from './mirror/resolved-mirror.ts';
import type { Planned } from './plan-totals.ts';

/** Undefined where mirror.yaml says nothing of the site. */
export function factsOf({ talos, inside }: Mirror): InsideFacts | undefined {
  return talos === undefined ? inside : { ...inside, talos: talos.versions };
}

/** By names alone: nothing has been asked yet. */
export function findingsOfWanted(wanted: ResolvedMirror, facts: SiteFacts): readonly InsideFinding[] {
  return insideFindings(wantedNames(wanted), facts, registryKinds);
}

/** With what upstream has answered about them. */
export function findingsOfPlanned(
  wanted: ResolvedMirror,
  planned: readonly Planned[],
  facts: SiteFacts,
): readonly InsideFinding[] {
  const names = new Map(wantedNames(wanted).map((one) => [one.name, one]));
  for (const { item, content } of planned) {
    const { name, kind, digest, problem } = item;
    if (kind === 'media' || problem !== undefined) continue;
    const platforms = names.get(name)?.platforms;
    const traits = { isSparse: platforms !== undefined, isReferrer: name.includes('@') };
    names.set(name, { name, digest, platforms, shapes: shapesOf(content, traits) });
  }
  return insideFindings([...names.values()], facts, registryKinds);
}

/** @throws BAD_DOCUMENT, DISK */
export async function findingsOfLocked(
  layout: Layout,
  items: readonly LockedItem[],
  facts: SiteFacts,
): Promise<readonly InsideFinding[]> {
  const names: CarriedName[] = [];
  for (const item of items) {
    const below = await graphOf(walk(layout, [item.descriptor], { missing: 'skip' }));
    names.push(lockedName(item, below.values()));
  }
  return insideFindings(names, facts, registryKinds);
}

/** @param isStrict warnings count as well @throws CONFIG for what cannot work */
export function refuseFindings(findings: readonly InsideFinding[], isStrict: boolean): void {
  const refusal = insideRefusal(findings, isStrict);
  if (refusal !== undefined) throw new CodedError('CONFIG', refusal);
}

/** Names of the items that are known before anything is fetched. */
export function wantedNames({ images, builds, lists }: ResolvedMirror): readonly CarriedName[] {
  return [
    ...images.map(({ reference, platforms }) => {
      const { digest } = parseReference(reference);
      return { name: reference, digest, platforms };
    }),
    ...builds.flatMap(({ schematic: { id }, media, installers }) => [
      { name: schematicName(id) },
      ...media.map(({ version, files }) => ({ name: mediaSetName(id, version), files })),
      ...installers.map(({ repository, version }) => ({
        name: `${publicFactoryHost}/${repository}/${id}:${version}`,
      })),
    ]),
    ...(lists === undefined ? [] : listNames(lists).map((name) => ({ name }))),
  ];
}

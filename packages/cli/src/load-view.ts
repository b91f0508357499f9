/** What load did, or would do, for people. */
import { join } from 'node:path';
import type { LoadReport, MissingItem, PlannedLoad } from '@omni-airgap/loader';
import { CodedError, formatBytes } from '@omni-airgap/oci/base';
import { subjectOfTag } from '@omni-airgap/oci/model';
import { count, formatDuration } from './format.ts';

export function describeLoad(result: LoadReport, seconds: number): string {
  const { images, objects, bundle, registry, objectStore } = result.receipt;
  const part = result.missing.length === 0 ? '' : 'a part of ';
  const what = result.receipt.sequence === 0 ? 'the store' : `bundle ${bundle}`;
  const lines = [`Loaded ${part}${what} in ${formatDuration(seconds)}.`];
  const { registry: moved } = result;
  if (moved !== undefined) {
    lines.push(
      `Registry ${registry}: ${count(images.length, 'name')}, ${formatBytes(moved.storedBytes)} stored, ${count(moved.presentBlobs, 'blob')} already present, ${moved.mountedBlobs} mounted.`,
    );
  }
  if (objectStore !== undefined) {
    lines.push(
      `Object store ${objectStore}: ${count(objects.length, 'object')}, ${result.objectsStored} stored, ${result.objectsPresent} already present${result.receipt.objectsReadBack === false ? ', none of them read back (--verify quick)' : ''}.`,
    );
  }
  if (result.verifiedBytes !== undefined) {
    lines.push(`Pulled back and hashed: ${formatBytes(result.verifiedBytes)}, all as in the bundle.`);
  }
  for (const name of result.flattened) {
    lines.push(`${name} is one platform now: its digest is not that of the index outside.`);
  }
  for (const { name, index, digest, signatures } of result.trimmed) {
    const uncovered =
      signatures.length === 0
        ? ''
        : `; ${count(signatures.length, 'signature')} of the original do not cover it`;
    lines.push(
      `${name} is an index of the carried platforms now: ${digest} instead of ${index}${uncovered}.`,
    );
  }
  if (result.resigned !== undefined) {
    const { signed, present, unverified } = result.resigned;
    lines.push(
      `Signed with the site's key: ${count(signed, 'image')}, ${present} had its signature already.`,
    );
    if (unverified > 0)
      lines.push(
        `Of these, ${count(unverified, 'image')} had no signature that was verified outside; fetch --sigstore-root does that.`,
      );
  }
  if (result.handoff !== undefined) {
    const { folder, kept } = result.handoff;
    lines.push(`Next steps: ${join(folder, 'README.txt')}.`);
    for (const name of kept)
      lines.push(`${join(folder, name)} was changed here; the new text is in ${name}.new.`);
  }
  lines.push(...describeMissing(result.missing));
  const { withdraws = [] } = result.receipt;
  if (withdraws.length > 0)
    lines.push(
      `The bundle withdraws ${count(withdraws.length, 'name')} of earlier bundles; load deletes nothing, prune does.`,
    );
  if (part !== '' || result.trimmed.length + result.flattened.length > 0)
    lines.push(
      'For bundle --since carry the receipt of this load out (--receipt FILE): by its id alone the bundle counts as loaded whole.',
    );
  for (const warning of result.warnings) lines.push(`Warning: ${warning}.`);
  const did = (moved?.storedBlobs ?? 0) + result.objectsStored;
  if (did === 0) lines.push('Nothing to do: everything is already present.');
  return lines.join('\n');
}

export function describePlan({ bundle, images, objects, bytes, missing }: PlannedLoad): string {
  const moves = ({ action }: PlannedItem): boolean => action !== 'present';
  const items = [...foldCompanions(images.filter(moves)), ...objects.filter(moves)];
  const present = images.length + objects.length - [...images, ...objects].filter(moves).length;
  return [
    ...items.map(
      ({ action, bytes: size, target }) => `${action.padEnd(8)}${formatBytes(size).padStart(10)}  ${target}`,
    ),
    ...describeMissing(missing),
    `Bundle ${bundle}: ${count(items.length, 'item')} to store (${formatBytes(bytes)}), ${present} already present. Nothing was changed.`,
  ].join('\n');
}

type PlannedItem = PlannedLoad['images'][number];

const companionNames: Readonly<Record<string, string>> = {
  '': 'referrers',
  '.sig': 'signature',
  '.att': 'attestation',
  '.sbom': 'SBOM',
};

/** What speaks about an image by a tag of its repository is shown behind that image, where it is in the list too. */
function foldCompanions(images: readonly PlannedItem[]): readonly PlannedItem[] {
  const places = images.map((image) => {
    const [, repository = image.target, tag = ''] = /^(.*\/[^/:]+):([^/:]+)$/.exec(image.target) ?? [];
    return { image, repository, tag, subject: subjectOfTag(tag) };
  });
  const subjects = new Set(
    places
      .filter(({ subject }) => subject === undefined)
      .map(({ repository, image }) => `${repository}@${image.digest}`),
  );
  const about = new Map<string, (typeof places)[number][]>();
  const own: (typeof places)[number][] = [];
  for (const place of places) {
    const key = `${place.repository}@${place.subject}`;
    if (place.subject === undefined || !subjects.has(key)) own.push(place);
    else about.set(key, [...(about.get(key) ?? []), place]);
  }
  return own.map(({ image, repository }) => {
    const key = `${repository}@${image.digest}`;
    const companions = about.get(key);
    // The second tag of the same image has nothing left to show.
    about.delete(key);
    if (companions === undefined) return image;
    const labels = companions.map(({ tag }) => {
      const suffix = tag.slice('sha256-'.length + 64);
      return companionNames[suffix] ?? suffix.slice(1);
    });
    const bytes = companions.reduce((sum, companion) => sum + companion.image.bytes, image.bytes);
    return { ...image, bytes, target: `${image.target} (with ${labels.sort().join(', ')})` };
  });
}

/** Items with the same cause as one. */
function describeMissing(missing: readonly MissingItem[]): readonly string[] {
  const causes = new Map<string, string[]>();
  for (const { name, why, message } of missing) {
    const cause = why === 'refused' ? `Refused: ${message}` : `Held back: ${message}`;
    if (why !== 'excluded') causes.set(cause, [...(causes.get(cause) ?? []), name]);
  }
  const excluded = missing.filter(({ why }) => why === 'excluded').length;
  return [
    ...[...causes].flatMap(([cause, names]) => [cause, ...names.map((name) => `    ${name}`)]),
    ...(excluded === 0 ? [] : [`Left out by --only and --except: ${count(excluded, 'name')}.`]),
  ];
}

/** @throws INCOMPLETE naming what was refused */
export function requireComplete(missing: readonly MissingItem[]): void {
  const refused = missing.filter(({ why }) => why === 'refused');
  const [first] = refused;
  if (first === undefined) return;
  const more = refused.length > 1 ? ` and ${count(refused.length - 1, 'other')}` : '';
  throw new CodedError(
    'INCOMPLETE',
    `not loaded: ${first.name}${more}; everything else is loaded; fix the cause and run the same command again, or leave it out with --except`,
  );
}

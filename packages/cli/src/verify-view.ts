/** What verify found in a bundle, as text for people; --json has all of it. */
import type { BundleCheck, BundleSigner, NamedDamage } from '@omni-airgap/format';
import { formatBytes, printable } from '@omni-airgap/oci/base';
import { count, formatDuration } from './format.ts';

export interface CheckedBundle extends BundleCheck {
  readonly id: string;
  readonly names: number;
  readonly volumes: number;
  readonly bases: readonly string[];
  readonly signer: BundleSigner;
  /** False when there is no signature that could be checked. */
  readonly isSigned: boolean;
}

/** Damages of one volume that are listed: a volume that is cut off has one for each blob behind its end. */
const mostListed = 4;

export function describeCheck(check: CheckedBundle, isQuick: boolean, seconds: number): string {
  const isDamaged = check.damages.length + check.fileDamages.length > 0;
  const whole = isQuick ? 'Structure is right' : 'Whole and right';
  const verdict = isDamaged
    ? 'DAMAGED'
    : check.unusable.length + check.absent.length > 0
      ? 'INCOMPLETE'
      : whole;
  const read = isQuick
    ? 'content not read (--quick)'
    : `${formatBytes(check.bytes)} in ${formatDuration(seconds)}`;
  return [
    ...volumesIn(check.damages).flatMap((volume) => describeVolume(check, volume)),
    ...check.fileDamages.map(({ path, what }) => `Damaged: ${path} ${what}: do not go by what it says`),
    ...check.absent.map((name) => `Not here: ${name}`),
    ...describeUnusable(check),
    ...check.bases.map((id) => `Relies on bundle ${id},\n  which must have been loaded before.`),
    `${verdict}: bundle ${check.id}`,
    `${count(check.volumes, 'volume')}, ${count(check.names, 'name')}, ${read}, ${signatureOf(check)}.`,
  ].join('\n');
}

/** Names of the damaged volumes, in order. */
export function volumesIn(damages: readonly NamedDamage[]): readonly string[] {
  return [...new Set(damages.map(({ volume }) => volume))].sort();
}

function describeVolume({ damages }: CheckedBundle, volume: string): readonly string[] {
  const here = damages.filter((damage) => damage.volume === volume);
  const more = here.length - mostListed;
  return [
    ...here
      .slice(0, mostListed)
      .map((one) => `Damaged: ${volume} at byte ${one.offset}: ${one.what}${itemOf(one)}`),
    ...(more > 0 ? [`Damaged: ${volume}: ${count(more, 'place')} more; --json lists them`] : []),
  ];
}

/** What people know the damaged blob by. */
function itemOf({ names = [] }: NamedDamage): string {
  const [first] = names;
  if (first === undefined) return '';
  return `\n  of ${printable(first)}${names.length > 1 ? ` and ${names.length - 1} more` : ''}`;
}

function describeUnusable({ unusable, names, damages, absent }: CheckedBundle): readonly string[] {
  if (unusable.length === 0) return [];
  if (damages.length === 0 && absent.length > 0)
    return [`${unusable.length} of ${names} names need what is not here.`];
  if (unusable.length === names) return ['Not usable: any of it'];
  return unusable.map((name) => `Not usable: ${printable(name)}`);
}

function signatureOf({ signer, isSigned }: CheckedBundle): string {
  if (signer.mode === 'signed') return `signed by ${signer.key.slice(0, 16)}`;
  return isSigned ? 'signature not checked (--verify-key)' : 'not signed';
}

/** omni-airgap verify */

import { isSigned, type StoreCheck, verifyStore } from '@omni-airgap/bundler';
import {
  type BundleCheck,
  type BundleSigner,
  BundleStore,
  formatVolumeRange,
  type NamedDamage,
  numberOfVolume,
  verifyBundle,
} from '@omni-airgap/format';
import { refusalsOf } from '@omni-airgap/loader';
import { CodedError, formatBytes, printable } from '@omni-airgap/oci/base';
import { Command } from 'commander';
import {
  type BundleOrStoreFlags,
  storeToRead,
  withBundleOrStore,
  withCommon,
  withExample,
} from '../flags.ts';
import { count, describeLeft, formatDuration } from '../format.ts';
import { readTrust } from '../keys.ts';
import { report, type Session } from '../session.ts';

interface Flags extends BundleOrStoreFlags {
  readonly quick?: true;
  readonly requireSignature?: true;
  readonly missing?: true;
}

export function addVerify(session: Session): Command {
  const command = withBundleOrStore(new Command('verify'))
    .option('--quick', 'only signature, structure and sizes; do not read the content')
    .option('--require-signature', 'fail (exit 4) unless --verify-key says whose signature it must have')
    .option('--missing', 'print one short line: which volumes to send again, missing or damaged')
    .action(async (flags: Flags) => {
      const store = storeToRead('verify', flags);
      if (store !== undefined && flags.missing === true)
        throw new CodedError('USAGE', '--missing: a store has no volumes; it is for --bundle');
      if (flags.requireSignature === true) requireKey(flags);
      if (store !== undefined) await checkStore(session, flags, store);
      else await checkBundle(session, flags);
    });
  return withExample(withCommon(command), 'omni-airgap verify --bundle /mnt/usb --verify-key site.pub');
}

/** So that a script with an unset key variable does not pass a bundle of anyone. @throws USAGE, UNSIGNED */
function requireKey({ store, verifyKey }: Flags): void {
  if (store !== undefined)
    throw new CodedError('USAGE', '--require-signature: a store has no signature; it is for --bundle');
  if (verifyKey.length === 0) {
    throw new CodedError(
      'UNSIGNED',
      '--require-signature: pass --verify-key PUB, the public key that came through a separate channel',
    );
  }
}

async function checkBundle(session: Session, flags: Flags): Promise<void> {
  const trust = await readTrust(flags.verifyKey, true);
  const result = await report(
    session,
    flags,
    'verify',
    async (progress) => {
      const bundle = await BundleStore.open(flags.bundle, trust, { volumes: 'present' });
      const { id, volumes, roots, base } = bundle.document;
      const absent = new Set(bundle.problems.filter((p) => p.size === undefined).map((p) => p.volume));
      const size = volumes.reduce((sum, volume, i) => sum + (absent.has(i) ? 0 : volume.size), 0);
      const depth = flags.quick === true ? 'structure' : 'everything';
      if (depth === 'everything') progress.expect(size);
      const watch = { onBytes: (bytes: number) => progress.advance(bytes), signal: session.signal };
      const check = await verifyBundle(bundle, { depth, ...watch });
      const bases = (base ?? []).map((one) => one.id);
      const refused = await refusalsOf(bundle, bundle.document);
      return {
        id,
        names: roots.length,
        volumes: volumes.length,
        bases,
        size,
        signer: bundle.signer,
        isSigned: await isSigned(bundle.folders),
        refused,
        resend: resendOf(check),
        ...check,
      };
    },
    (check, seconds) =>
      flags.missing === true ? describeMissing(check) : describeCheck(check, flags.quick === true, seconds),
  );
  const damaged = volumesIn(result.damages);
  const [damage] = result.damages;
  if (damage !== undefined) {
    const usable = `${result.names - result.unusable.length} of ${result.names} names are still usable`;
    throw new CodedError(
      'BAD_VOLUME',
      `${damaged.join(', ')}: damaged, first at byte ${damage.offset} of ${damage.volume}; ${usable}; copy ${damaged.length === 1 ? 'the volume' : 'these volumes'} again`,
    );
  }
  const [file] = result.fileDamages;
  if (file !== undefined) {
    throw new CodedError('DIGEST_MISMATCH', `${file.path} ${file.what}; the volumes are not touched by that`);
  }
  const [refusal] = result.refused;
  if (refusal !== undefined) {
    throw new CodedError('BAD_DOCUMENT', `${refusal}; load would refuse this bundle: ask whoever made it`);
  }
  const [volume] = result.absent;
  if (volume !== undefined) {
    throw new CodedError(
      'BAD_VOLUME',
      `${volume} is in none of the given folders (what is here is right): add its medium with another --bundle`,
    );
  }
  const [name] = result.unusable;
  if (name !== undefined)
    throw new CodedError('MISSING_CONTENT', `${name}: its content is not all in the bundle`);
}

async function checkStore(session: Session, flags: Flags, store: string): Promise<void> {
  const result = await report(
    session,
    flags,
    'verify',
    (progress) => verifyStore(store, { quick: flags.quick === true, progress, signal: session.signal }),
    (check, seconds) =>
      [
        ...check.damages.map(({ path, what }) => `Damaged: ${path} ${what}`),
        ...check.unusable.map((name) => `Not usable: ${printable(name)}`),
        ...describeLeft(check.left),
        describeStore(check, flags.quick === true, seconds),
      ].join('\n'),
  );
  const [damage] = result.damages;
  if (damage !== undefined) {
    throw new CodedError(
      'DIGEST_MISMATCH',
      `${damage.path} ${damage.what}; ${count(result.unusable.length, 'name')} cannot be used; remove the file, then run fetch again, or push it again where it was pushed`,
    );
  }
}

function describeStore({ damages, blobs, bytes }: StoreCheck, isQuick: boolean, seconds: number): string {
  const verdict = damages.length > 0 ? 'DAMAGED' : isQuick ? 'Structure is right' : 'Complete and undamaged';
  const read = isQuick ? 'content not read (--quick)' : `${formatBytes(bytes)} in ${formatDuration(seconds)}`;
  return `${verdict}: ${count(blobs, 'blob')}, ${read}.`;
}

export interface CheckedBundle extends BundleCheck {
  readonly id: string;
  readonly names: number;
  readonly volumes: number;
  readonly bases: readonly string[];
  readonly signer: BundleSigner;
  /** False when there is no signature that could be checked. */
  readonly isSigned: boolean;
  /** What load would refuse although no byte is damaged, a line each. */
  readonly refused: readonly string[];
  /** Volumes that are missing or damaged, as --volumes takes them: `2,5-6`; empty when there are none. */
  readonly resend: string;
}

function resendOf({ absent, damages }: BundleCheck): string {
  const names = new Set([...absent, ...damages.map(({ volume }) => volume)]);
  return formatVolumeRange([...names].map(numberOfVolume).sort((a, b) => a - b));
}

/** To be read over a phone: the words of `bundle --issued ID --volumes RANGE`, which writes them. */
function describeMissing({ id, resend }: CheckedBundle): string {
  const bundle = `bundle ${id.slice(0, 8)}`;
  return resend === ''
    ? `No volume of ${bundle} is missing or damaged.`
    : `Send again: ${bundle}, volumes ${resend}.`;
}

/** Damages of one volume that are listed: a volume that is cut off has one for each blob behind its end. */
const mostListed = 4;

export function describeCheck(check: CheckedBundle, isQuick: boolean, seconds: number): string {
  const isDamaged = check.damages.length + check.fileDamages.length > 0;
  const isLacking = check.unusable.length + check.absent.length > 0;
  const state = isQuick ? 'Structure is right' : 'Complete and undamaged';
  const trusted = check.signer.mode === 'signed' ? '' : '; NOT checked who made it';
  const verdict = isDamaged
    ? 'DAMAGED'
    : check.refused.length > 0
      ? 'NOT LOADABLE'
      : isLacking
        ? 'INCOMPLETE'
        : `${state}${trusted}`;
  const read = isQuick
    ? 'content not read (--quick)'
    : `${formatBytes(check.bytes)} in ${formatDuration(seconds)}`;
  return [
    ...volumesIn(check.damages).flatMap((volume) => describeVolume(check, volume)),
    ...check.fileDamages.map(({ path, what }) => `Damaged: ${path} ${what}; do not rely on it`),
    ...check.refused.map((line) => `Not loadable: ${line}`),
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
  return isSigned ? 'signature not checked (--verify-key PUB checks it)' : 'not signed by anyone';
}

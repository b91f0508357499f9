/** Flags of the commands that write bundles, and what they mean. */

import { type BundleOptions, type BundleReport, parseVolumeSize } from '@omni-airgap/bundler';
import { formatVolumeRange } from '@omni-airgap/format';
import type { Progress } from '@omni-airgap/oci';
import { CodedError, formatBytes, printable } from '@omni-airgap/oci/base';
import type { Command } from 'commander';
import { collected } from './flags.ts';
import { count, formatDuration } from './format.ts';
import { describeInside, type InsideFlags, insideOptions, withInside } from './inside.ts';
import { readPrivateKey } from './keys.ts';
import { account, type CommonFlags, type Session, tool } from './session.ts';

export interface BundleFlags extends CommonFlags, InsideFlags {
  readonly store: string;
  readonly out: string;
  readonly volumeSize: string;
  readonly since: readonly string[];
  readonly signKey?: string;
  readonly unsigned?: true;
  readonly withProgram?: string;
  readonly allowSecrets?: true;
  readonly readback: boolean;
  readonly private?: true;
  readonly issued?: string;
  readonly withdraw: readonly string[];
}

export function withBundleFlags(command: Command): Command {
  return withInside(
    command
      .optionsGroup('The bundle:')
      .option('--store <dir>', 'the store', './store')
      .requiredOption('--out <dir>', 'folder on the medium; becomes the bundle')
      .option('--volume-size <size>', 'most bytes of a volume: 2GiB, 700MB, fat32, dvd, bluray', 'fat32')
      .option(
        '--since <base>',
        'carry only what is not inside yet: a bundle.json, a receipt, or the id of an earlier bundle (repeatable)',
        collected,
        [],
      )
      .option(
        '--withdraw <pattern>',
        'names of earlier bundles that serve and prune no longer keep; * stands for any text (repeatable)',
        collected,
        [],
      )
      .option(
        '--sign-key <file>',
        'sign with this private key, as keygen makes it; this or --unsigned is required',
      )
      .option('--unsigned', 'leave the bundle unsigned; omni-airgap sign can sign it later')
      .option(
        '--private',
        'let only this account read the files on the medium (default: everyone, whatever the umask)',
      )
      .option(
        '--with-program <dir>',
        'put the executables of this release of omni-airgap (./scripts/release DIR) on the medium as well',
      )
      .option('--no-readback', 'do not read everything back after writing'),
  );
}

/** @throws USAGE, CONFIG, NO_INPUT for flags that cannot be used */
export async function bundleOptions(
  command: 'bundle' | 'mirror',
  session: Session,
  flags: BundleFlags,
  progress: Progress,
): Promise<BundleOptions> {
  const { store, out, since, withdraw } = flags;
  requireDecision(command, flags);
  const signKey =
    flags.signKey === undefined
      ? undefined
      : await readPrivateKey('--sign-key', flags.signKey, session, flags);
  return {
    store,
    out,
    since,
    withdraw,
    volumeSize: parseVolumeSize(flags.volumeSize),
    signKey,
    withProgram: flags.withProgram,
    readBack: flags.readback,
    private: flags.private === true,
    allowSecrets: flags.allowSecrets === true,
    ...(await insideOptions(flags)),
    tool,
    by: account(),
    now: creationTime(session.env),
    progress,
    signal: session.signal,
  };
}

/** Whether to sign is decided here, not found out inside. One that was issued before keeps its signature. @throws USAGE */
function requireDecision(command: string, { signKey, unsigned, issued }: BundleFlags): void {
  if (signKey !== undefined && unsigned === true)
    throw new CodedError('USAGE', `${command} takes either --sign-key KEY or --unsigned`);
  if (signKey !== undefined || unsigned === true || issued !== undefined) return;
  throw new CodedError(
    'USAGE',
    `${command} needs --sign-key KEY or --unsigned: omni-airgap keygen --out site makes a key; an unsigned bundle is refused inside unless omni-airgap sign signs it or load gets --allow-unsigned`,
  );
}

export function describeBundle(result: BundleReport, out: string, seconds: number): string {
  const what = `${count(result.volumes.length, 'volume')}, ${formatBytes(result.bytes)}, ${count(result.names, 'name')}`;
  const { changes, here, bases, volumes } = result;
  const lines = [
    result.written
      ? `${here.length < volumes.length ? `Wrote ${here.length} of` : 'Bundled'} ${what} in ${formatDuration(seconds)}.`
      : `Nothing to do: ${out} holds this very bundle already (${what}).`,
    `Id ${result.id},`,
    `number ${result.sequence} of store ${result.origin}.`,
  ];
  if (changes !== undefined) {
    const { added, moved, removed } = changes;
    const changed = added.length + moved.length + removed.length;
    lines.push(
      changed === 0
        ? 'Nothing has changed since what is inside.'
        : `Since what is inside: ${added.length} added, ${moved.length} with other content, ${removed.length} no longer carried.`,
      ...bases.map((id) => `Relies on ${id}.`),
    );
  }
  const { withdraws } = result;
  if (withdraws.length > 0) {
    const more = withdraws.length > 1 ? ` and ${withdraws.length - 1} more` : '';
    lines.push(
      `Withdraws ${printable(withdraws[0] ?? '')}${more}: serve and prune no longer keep what older bundles have of it.`,
      'Versions of omni-airgap that do not support withdrawals refuse this bundle: update the program inside first.',
    );
  }
  if (result.consumedBytes > 0) {
    lines.push(`${formatBytes(result.consumedBytes)} left the store: this bundle holds them now.`);
  }
  lines.push(...describeInside(result.inside));
  if (here.length < volumes.length) {
    const rangeOf = (isMeant: (name: string) => boolean): string =>
      formatVolumeRange([...volumes.keys()].filter((i) => isMeant(volumes[i]?.name ?? '')));
    lines.push(
      `On it: ${rangeOf((name) => here.includes(name))}; not on it: ${rangeOf((name) => !here.includes(name))}.`,
      `Next: omni-airgap bundle --issued ${result.id.slice(0, 12)} --volumes RANGE --out OTHER`,
      'All media: omni-airgap verify with --bundle for each. One alone: sha256sum -c SHA256SUMS.',
    );
  } else {
    const key = result.signed ? ' --verify-key PUB' : '';
    lines.push(`Next: omni-airgap verify --bundle ${out}${key}, then carry it across.`);
  }
  if (!result.signed) lines.push(`To sign it: omni-airgap sign --bundle ${out} --sign-key KEY`);
  return [...lines, describeSignature(result)].join('\n');
}

/** The last line of a command that writes bundles: what the medium has, whatever the flags were. */
function describeSignature({ signed, signedBy }: BundleReport): string {
  if (!signed) return 'NOT signed: load refuses it without --allow-unsigned.';
  return signedBy === undefined
    ? 'Signed by an earlier command; not checked by whom.'
    : `Signed with key ${signedBy.slice(0, 16)}.`;
}

/** Source: reproducible-builds.org SOURCE_DATE_EPOCH specification 1.1: seconds since 1970. */
function creationTime(env: Session['env']): number {
  const text = env['SOURCE_DATE_EPOCH'];
  if (text === undefined) return Date.now();
  if (!/^[0-9]{1,11}$/.test(text))
    throw new CodedError('USAGE', 'SOURCE_DATE_EPOCH must be seconds since 1970');
  return Number(text) * 1000;
}

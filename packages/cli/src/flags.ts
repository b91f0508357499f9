/** Flags that several commands share, and how their values are read. */

import type { SignerOptions } from '@omni-airgap/fetcher';
import { CodedError } from '@omni-airgap/oci/base';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { CommonFlags } from './session.ts';

/** For flags that may be given more than once. */
export function collected(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

/**
 * Lists the options that follow under a heading, in the help of a command that has groups: with a dozen options and
 * fewer, one list reads better.
 */
function grouped(command: Command, heading: string): Command {
  return command.optionsGroup() === '' ? command : command.optionsGroup(heading);
}

/** `--concurrency` of commands that fetch: what fetch does without it. */
export const transfersAtOnce = '12 to 24 for each host, as its line takes';

/** What every command takes. @param atOnce the command's own default, where several things can be done at once */
export function withCommon(command: Command, atOnce = '8'): Command {
  const concurrency = new Option(
    '--concurrency <n>',
    `things done at once, where there are several (default: ${atOnce})`,
  );
  return grouped(command, 'General options:')
    .option('--json', 'print the result as one JSON document')
    .option('--quiet', 'print nothing but errors')
    .addOption(concurrency.argParser(parseConcurrency))
    .helpOption('-h, --help', 'display help for command');
}

function parseConcurrency(text: string): number {
  const n = Number(text);
  if (!/^[0-9]{1,3}$/.test(text) || n < 1 || n > 256) throw new InvalidArgumentError('Must be 1 to 256.');
  return n;
}

/** How old a bundle may be that is taken inside. */
export function maxAgeOption(): Option {
  return new Option('--max-age <days>', 'refuse a bundle that was made so many days ago or longer').argParser(
    (text) => {
      if (!/^[1-9][0-9]{0,4}$/.test(text)) throw new InvalidArgumentError('Must be a number of days.');
      return Number(text);
    },
  );
}

const unitMs: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds of a duration with one unit: `90s`, `30m`, `24h`, `7d`. */
export function parseDuration(text: string): number {
  const [, number, unit = ''] = /^([0-9]{1,6})([smhd])$/.exec(text) ?? [];
  const ms = Number(number) * (unitMs[unit] ?? Number.NaN);
  if (Number.isNaN(ms)) throw new InvalidArgumentError('Must be a duration, such as 30m, 24h or 7d.');
  return ms;
}

export interface PushedFlags {
  /** Milliseconds. */
  readonly gracePeriod?: number;
  /** Milliseconds. */
  readonly deleteUntaggedAfter?: number;
}

/** How long what was pushed stays once nothing needs it: for the server, and for the command while it is stopped. */
export function withPushed(command: Command): Command {
  const grace = new Option(
    '--grace-period <duration>',
    'keep content that no manifest needs for this long: it may belong to a push under way (default: 24h)',
  );
  const untagged = new Option(
    '--delete-untagged-after <duration>',
    'delete manifests that have had no tag for this long, but for children and referrers of others (default: never)',
  );
  return command.addOption(grace.argParser(parseDuration)).addOption(untagged.argParser(parseDuration));
}

export function withNetwork(command: Command): Command {
  return grouped(command, 'Network:')
    .option(
      '--upstream <host=url>',
      'send requests for a host to this URL instead (repeatable)',
      collected,
      [],
    )
    .option(
      '--allow-host <pattern>',
      'allow one more host, such as *.example.com (repeatable)',
      collected,
      [],
    )
    .option('--plain-http <host>', 'allow http for this host (repeatable)', collected, [])
    .option('--ca-cert <file>', 'trust the certificates in this PEM file as well')
    .option('--registry-config <file>', 'registry credentials: an auth.json of docker or podman');
}

/** withNetwork for commands that move content. */
export function withTransfers(command: Command): Command {
  const minRate = new Option(
    '--min-rate <bytes>',
    'give up and retry a transfer that stays below this many bytes per second for a minute; 0 turns it off (default: 1024)',
  );
  return withNetwork(command)
    .addOption(minRate.argParser(parseRate))
    .option('--verbose', 'print a line for each retry, not only their number');
}

function parseRate(text: string): number {
  if (!/^[0-9]{1,12}$/.test(text)) throw new InvalidArgumentError('Must be a number of bytes per second.');
  return Number(text);
}

export interface SignerFlags {
  readonly verifyImagesKey: readonly string[];
  readonly sigstoreRoot?: string;
  readonly verifyImagesIdentity: readonly string[];
  readonly verifyImagesIssuer: readonly string[];
  readonly verifyImagesExcept: readonly string[];
}

export const updateHelp =
  'choose the newest versions for ranges such as v1.13.x again; default: those that lock.json pins';

export const requirePlatformsHelp: string =
  'fail (exit 2) when an image lacks one of the wanted platforms; default: carry the others and name it';

/** What fetch must find signed, and by whom. */
export function withSigners(command: Command): Command {
  return grouped(command, 'Signatures of images:')
    .option(
      '--verify-images-key <[prefix=]file>',
      'images (that begin with PREFIX) must carry a cosign signature by this public key (repeatable)',
      collected,
      [],
    )
    .option(
      '--sigstore-root <file>',
      'verify keyless signatures against this trusted_root.json; without the next flag, those of Sidero on its images',
    )
    .option(
      '--verify-images-identity <regexp>',
      'images must be signed by an identity that this fits whole; [PREFIX=]REGEXP as for keys (repeatable)',
      collected,
      [],
    )
    .option(
      '--verify-images-issuer <url>',
      "who vouches for the identities: once for all, or once for each (default: Sidero's, https://accounts.google.com)",
      collected,
      [],
    )
    .option(
      '--verify-images-except <prefix>',
      'images that begin with PREFIX may be without a signature (repeatable)',
      collected,
      [],
    );
}

export function signerOptions(flags: SignerFlags): SignerOptions {
  return {
    verifyImagesKeys: flags.verifyImagesKey,
    sigstoreRoot: flags.sigstoreRoot,
    verifyImagesIdentities: flags.verifyImagesIdentity,
    verifyImagesIssuers: flags.verifyImagesIssuer,
    verifyImagesExcept: flags.verifyImagesExcept,
  };
}

/** For commands that connect to a registry or object store of the site. @param when begins the descriptions */
export function withClientCertificate(command: Command, when = ''): Command {
  return command
    .option(
      '--client-cert <file>',
      `${when}certificate to show to the registry and the object store (PEM, mutual TLS)`,
    )
    .option('--client-key <file>', `${when}the private key of that certificate (PEM)`);
}

/** Where the object store of the site answers. @param when begins the descriptions */
export function withS3(command: Command, when = ''): Command {
  return command
    .option(
      '--s3-endpoint <url>',
      `${when}where the object store answers; credentials come from the AWS variables or files`,
    )
    .addOption(
      new Option(
        '--s3-addressing <where>',
        `${when}where the bucket is named: path (ENDPOINT/BUCKET, the default) or virtual (BUCKET.ENDPOINT)`,
      ).choices(['path', 'virtual'] as const),
    );
}

/** For commands inside, which take no proxy from the environment. */
export const insideProxy: readonly [flag: string, description: string] = [
  '--proxy <url>',
  'reach the targets through this forward proxy; none is taken from the environment',
];

/** An example under the command's help. */
export function withExample(command: Command, ...lines: readonly string[]): Command {
  return command.addHelpText('after', `\nExample:\n${lines.map((line) => `  ${line}`).join('\n')}`);
}

/** Of commands that check the signatures of bundles. */
export function verifyKeyOption(): Option {
  return new Option(
    '--verify-key <file>',
    'a public key that the bundle may be signed with (repeatable; a PEM file may hold several)',
  )
    .argParser(collected)
    .default([]);
}

/** An option that takes one value for the whole command. */
export function takesOneValue({ required, optional, variadic, parseArg }: Option): boolean {
  return (required || optional) && !variadic && parseArg !== collected;
}

export interface BundleOrStoreFlags extends CommonFlags {
  readonly bundle: readonly string[];
  readonly store?: string;
  readonly verifyKey: readonly string[];
}

export function withBundleOrStore(command: Command): Command {
  return command
    .option(
      '--bundle <dir...>',
      'folder of a bundle (repeatable when it is spread over media)',
      collected,
      [],
    )
    .option('--store <dir>', 'a store instead of a bundle')
    .addOption(verifyKeyOption());
}

/** The store to read, undefined when it is a bundle. @throws USAGE unless one of them is named */
export function storeToRead(command: string, { bundle, store }: BundleOrStoreFlags): string | undefined {
  if ((store === undefined) === (bundle.length === 0)) {
    throw new CodedError('USAGE', `${command} takes either --bundle DIR or --store DIR`);
  }
  return store;
}

/** omni-airgap fetch */

import { type FetchReport, fetch } from '@omni-airgap/fetcher';
import { CodedError, formatBytes, printable } from '@omni-airgap/oci/base';
import { Command } from 'commander';
import {
  collected,
  requirePlatformsHelp,
  type SignerFlags,
  signerOptions,
  transfersAtOnce,
  updateHelp,
  withCommon,
  withExample,
  withSigners,
  withTransfers,
} from '../flags.ts';
import { count, formatDuration } from '../format.ts';
import { describeInside, type InsideFlags, insideOptions, withInside } from '../inside.ts';
import { type NetworkFlags, networkSettings } from '../network.ts';
import { reportPlan } from '../plan-view.ts';
import { account, boundGarbage, type CommonFlags, report, type Session } from '../session.ts';
import { rangeLines } from '../versions-view.ts';

interface Flags extends CommonFlags, NetworkFlags, SignerFlags, InsideFlags {
  readonly config: string;
  readonly store: string;
  readonly allowSecrets?: true;
  readonly dryRun?: true;
  readonly restore?: true;
  readonly update?: true;
  readonly requirePlatforms?: true;
  readonly repin: readonly string[];
}

export function addFetch(session: Session): Command {
  const command = withSigners(
    withInside(
      new Command('fetch')
        .optionsGroup('What to fetch:')
        .option('--config <file>', 'what to carry', './mirror.yaml')
        .option('--store <dir>', 'the store', './store')
        .option('--allow-secrets', 'let schematics with secrets in them go to the Image Factory')
        .option('--require-platforms', requirePlatformsHelp)
        .option('--restore', 'bring back what bundle --consume has taken out of the store')
        .option('--update', updateHelp)
        .option(
          '--repin <name>',
          'accept what the factory has now for a file that lock.json pins: ITEM/FILE, or ITEM for all its files (repeatable)',
          collected,
          [],
        )
        .option('--dry-run', 'only show what would be fetched, as plan does'),
    ),
  ).action(async (flags: Flags) => {
    boundGarbage();
    const { config, store, concurrency } = flags;
    const network = networkSettings(flags, session.env, true);
    const common = {
      config,
      store,
      network,
      allowSecrets: flags.allowSecrets === true,
      requirePlatforms: flags.requirePlatforms === true,
      update: flags.update === true,
      ...(await insideOptions(flags)),
    };
    if (flags.dryRun === true) {
      if (flags.repin.length > 0)
        throw new CodedError('USAGE', '--repin replaces a pin and --dry-run changes nothing; leave one out');
      await reportPlan(session, flags, 'fetch', { ...common, restore: flags.restore === true });
      return;
    }
    await report(
      session,
      flags,
      'fetch',
      (progress) =>
        fetch({
          ...common,
          restore: flags.restore === true,
          repin: flags.repin,
          by: account(),
          ...signerOptions(flags),
          concurrency,
          progress,
          signal: session.signal,
        }),
      (result, seconds) => describe(result, store, seconds),
    );
  });
  return withExample(
    withCommon(withTransfers(command), transfersAtOnce),
    'omni-airgap fetch --config mirror.yaml --store ./store',
  );
}

function describe(result: FetchReport, store: string, seconds: number): string {
  const { ranges, changed, items, bytes, receivedBytes, verified, signers, missingPlatforms, inside } =
    result;
  return [
    ...rangeLines(ranges),
    changed.length === 0
      ? `Nothing to do: all ${count(items, 'item')} (${formatBytes(bytes)}) are in ${store} already.`
      : `${items} of ${count(items, 'item')} in ${store}: ${changed.length} new (${formatBytes(receivedBytes)} in ${formatDuration(seconds)}), ${items - changed.length} ${items - changed.length === 1 ? 'was' : 'were'} there.`,
    ...(verified === 0 ? [] : [`Checked the signature of ${count(verified, 'image')}.`]),
    ...missingPlatforms.map(
      ({ name, platforms }) => `${printable(name)} has no ${platforms.join(', ')} upstream.`,
    ),
    ...signers.map(({ signer, images }) => `  ${count(images, 'image')} by ${printable(signer, 1000)}`),
    ...describeInside(inside),
    `Next: omni-airgap bundle --store ${store} --out ./media --sign-key KEY`,
  ].join('\n');
}

/** omni-airgap fetch */
import { fetch } from '@omni-airgap/fetcher';
import { Command } from 'commander';
import { withCommon, withConcurrency, withExample, withNetwork } from '../flags.ts';
import { count, formatBytes, formatDuration } from '../format.ts';
import { type CommonFlags, type NetworkFlags, networkSettings, report, type Session } from '../session.ts';

interface Flags extends CommonFlags, NetworkFlags {
  readonly config: string;
  readonly store: string;
  readonly allowSecrets?: true;
}

export function addFetch(session: Session): Command {
  const command = new Command('fetch')
    .description('bring the store to what mirror.yaml says; run it again to go on after a failure')
    .option('--config <file>', 'what to carry', './mirror.yaml')
    .option('--store <dir>', 'the store', './store')
    .option('--allow-secrets', 'let schematics with secrets in them go to the Image Factory')
    .action(async (flags: Flags) => {
      const { config, store, concurrency } = flags;
      await report(
        session,
        flags,
        'fetch',
        (progress) =>
          fetch({
            config,
            store,
            network: networkSettings(flags, session.env, true),
            allowSecrets: flags.allowSecrets === true,
            ...(concurrency === undefined ? {} : { concurrency }),
            progress,
            signal: session.signal,
          }),
        (result, seconds) =>
          [
            result.changed.length === 0
              ? `Nothing to do: all ${count(result.items, 'item')} (${formatBytes(result.bytes)}) are in ${store} already.`
              : `Fetched ${count(result.changed.length, 'item')} of ${result.items}: ${formatBytes(result.storedBytes)} of image content in ${formatDuration(seconds)}, ${count(result.presentBlobs, 'blob')} there already.`,
            `Next: omni-airgap bundle --store ${store} --out ./media`,
          ].join('\n'),
      );
    });
  return withExample(
    withNetwork(withConcurrency(withCommon(command))),
    'omni-airgap fetch --config mirror.yaml --store ./store',
  );
}

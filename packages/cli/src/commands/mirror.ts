/** omni-airgap mirror */
import { type BundleReport, bundle, isConsuming } from '@omni-airgap/bundler';
import { fetch } from '@omni-airgap/fetcher';
import { Command } from 'commander';
import { verifyImagesKeyOption, withCommon, withExample, withNetwork } from '../flags.ts';
import { type NetworkFlags, networkSettings, report, type Session } from '../session.ts';
import { type BundleFlags, bundleOptions, describeBundle, withBundleFlags } from './bundle-flags.ts';

interface Flags extends BundleFlags, NetworkFlags {
  readonly config: string;
  readonly verifyImagesKey: readonly string[];
}

export function addMirror(session: Session): Command {
  const command = withBundleFlags(
    new Command('mirror')
      .description('fetch and bundle in one go, with one copy of the content on disk')
      .option('--config <file>', 'what to carry', './mirror.yaml'),
  )
    .option('--allow-secrets', 'let schematics with secrets in them go to the Image Factory and cross')
    .addOption(verifyImagesKeyOption())
    .addHelpText(
      'after',
      '\nContent leaves the store once the volume that holds it is written, synced and read back. Run it\nagain after an interruption: it goes on where it was. For a newer state name another --out.',
    )
    .action(async (flags: Flags) => {
      await report(
        session,
        flags,
        'mirror',
        async (progress): Promise<BundleReport> => {
          const options = await bundleOptions(session, flags, progress);
          if (await isConsuming(options)) {
            progress.note(`${flags.out} was begun before: nothing is fetched, only what is left is written`);
          } else {
            const { config, store, concurrency } = flags;
            await fetch({
              config,
              store,
              network: networkSettings(flags, session.env, true),
              allowSecrets: flags.allowSecrets === true,
              verifyImagesKeys: flags.verifyImagesKey,
              ...(concurrency === undefined ? {} : { concurrency }),
              progress,
              signal: session.signal,
            });
          }
          return bundle({ ...options, consume: true });
        },
        (result, seconds) => describeBundle(result, flags.out, seconds),
      );
    });
  return withExample(
    withNetwork(withCommon(command)),
    'omni-airgap mirror --config mirror.yaml --store ./store --out /mnt/usb --sign-key site.key',
  );
}

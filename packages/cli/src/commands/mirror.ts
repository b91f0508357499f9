/** omni-airgap mirror */
import {
  type BundleReport,
  bundleFrom,
  checkMedium,
  checkWithdraw,
  consumingInto,
} from '@omni-airgap/bundler';
import { prepareFetch, repairNote } from '@omni-airgap/fetcher';
import { checkOutputFolder } from '@omni-airgap/oci/fs';
import { Store } from '@omni-airgap/store';
import { Command } from 'commander';
import { type BundleFlags, bundleOptions, describeBundle, withBundleFlags } from '../bundle-flags.ts';
import {
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
import { type NetworkFlags, networkSettings } from '../network.ts';
import { account, boundGarbage, report, type Session } from '../session.ts';
import { rangeLines } from '../versions-view.ts';

interface Flags extends BundleFlags, NetworkFlags, SignerFlags {
  readonly config: string;
  readonly requirePlatforms?: true;
  readonly update?: true;
}

export function addMirror(session: Session): Command {
  const command = withSigners(
    withBundleFlags(
      new Command('mirror')
        .optionsGroup('What to fetch:')
        .option('--config <file>', 'what to carry', './mirror.yaml')
        .option('--allow-secrets', 'let schematics with secrets in them go to the Image Factory and cross')
        .option('--require-platforms', requirePlatformsHelp)
        .option('--update', updateHelp),
    ),
  )
    .addHelpText(
      'after',
      '\nContent leaves the store once the volume that holds it is written, synced and read back; it is not\nfetched again. Run it again after an interruption: it resumes where it left off. For a newer state name\nanother --out, and with --since the bundles that are inside.',
    )
    .action(async (flags: Flags) => {
      boundGarbage();
      await report(
        session,
        flags,
        'mirror',
        async (progress): Promise<BundleReport> => {
          const options = await bundleOptions('mirror', session, flags, progress);
          await checkOutputFolder('--store', flags.store);
          await checkMedium(flags.out, flags.store);
          const { config, store: root, concurrency } = flags;
          const { signal } = session;
          const fetching = {
            config,
            store: root,
            network: networkSettings(flags, session.env, true),
            allowSecrets: flags.allowSecrets === true,
            requirePlatforms: flags.requirePlatforms === true,
            update: flags.update === true,
            site: options.site,
            strict: options.strict === true,
            ...signerOptions(flags),
            by: account(),
            concurrency,
            progress,
            signal,
          };
          // Where there is no store, none is made before the flags and mirror.yaml have been read and found right.
          const isNew = !(await Store.exists(root));
          if (isNew) await checkWithdraw(undefined, flags.withdraw);
          const prepared = isNew ? await prepareFetch(fetching) : undefined;
          // Alone from the start: content will be removed, and hours of fetching must not end in a refusal.
          const opening = {
            access: 'exclusive',
            purpose: 'omni-airgap mirror',
            create: true,
            onRepaired: repairNote(progress),
            signal,
          } as const;
          return Store.use(root, opening, async (store) => {
            // What has begun to leave the store is finished first, whatever mirror.yaml says now.
            const issued = await consumingInto(store, flags.out);
            if (issued !== undefined) {
              progress.note(
                `${flags.out} was begun before: nothing is fetched, only what is left is written`,
              );
              return bundleFrom(store, { ...options, issued, consume: true });
            }
            await checkWithdraw(store, flags.withdraw);
            const fetchInto = prepared ?? (await prepareFetch(fetching));
            for (const line of rangeLines((await fetchInto(store)).ranges)) progress.note(line);
            return bundleFrom(store, { ...options, consume: true });
          });
        },
        (result, seconds) => describeBundle(result, flags.out, seconds),
      );
    });
  return withExample(
    withCommon(withTransfers(command), transfersAtOnce),
    'omni-airgap mirror --config mirror.yaml --store ./store --out /mnt/usb --sign-key site.key',
  );
}

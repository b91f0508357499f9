/** omni-airgap bundle */
import { bundle } from '@omni-airgap/bundler';
import { CodedError } from '@omni-airgap/oci/base';
import { Command } from 'commander';
import { type BundleFlags, bundleOptions, describeBundle, withBundleFlags } from '../bundle-flags.ts';
import { withCommon, withExample } from '../flags.ts';
import { boundGarbage, report, type Session } from '../session.ts';

interface Flags extends BundleFlags {
  readonly volumes?: string;
  readonly consume?: true;
}

export function addBundle(session: Session): Command {
  const command = withBundleFlags(new Command('bundle'))
    .option('--volumes <range>', 'write only these volumes to this medium, such as 2-5 (000 is on each)')
    .option('--issued <id>', 'write media of a bundle that was issued before, instead of making one')
    .option('--consume', 'remove content from the store once the volume that holds it is safe')
    .option('--allow-secrets', 'carry schematics with secrets in them')
    .action(async (flags: Flags) => {
      boundGarbage();
      const { issued, withdraw } = flags;
      if (issued !== undefined && flags.since.length > 0) {
        throw new CodedError('USAGE', '--issued and --since: a bundle that was issued has its bases');
      }
      if (issued !== undefined && withdraw.length > 0) {
        throw new CodedError('USAGE', '--issued and --withdraw: a bundle that was issued stays as it is');
      }
      await report(
        session,
        flags,
        'bundle',
        async (progress) =>
          bundle({
            ...(await bundleOptions('bundle', session, flags, progress)),
            volumes: flags.volumes,
            issued,
            consume: flags.consume === true,
          }),
        (result, seconds) => describeBundle(result, flags.out, seconds),
      );
    });
  return withExample(
    withCommon(command),
    'omni-airgap bundle --store ./store --out /mnt/usb --sign-key site.key',
    'omni-airgap bundle --out /mnt/usb2 --sign-key site.key --since receipt.json',
  );
}

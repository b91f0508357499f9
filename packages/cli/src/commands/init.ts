/** omni-airgap init */
import { init } from '@omni-airgap/fetcher';
import { Command, Option } from 'commander';
import { withCommon, withExample } from '../flags.ts';
import { type CommonFlags, report, type Session } from '../session.ts';

export function addInit(session: Session): Command {
  const command = new Command('init')
    .option('--config <file>', 'where to write it', './mirror.yaml')
    .addOption(
      new Option(
        '--for <purpose>',
        'write one that is complete: omni-site, a site with its own Omni, Image Factory and Kubernetes clusters',
      ).choices(['omni-site'] as const),
    )
    .action(async (flags: CommonFlags & { config: string; for?: 'omni-site' }) => {
      await report(
        session,
        flags,
        'init',
        async () => {
          await init(flags.config, flags.for);
          return { config: flags.config };
        },
        ({ config }) =>
          flags.for === undefined
            ? `Wrote ${config}. Edit it, then run: omni-airgap plan --config ${config}`
            : `Wrote ${config}. Next: omni-airgap plan --config ${config}`,
      );
    });
  return withExample(
    withCommon(command),
    'omni-airgap init --config mirror.yaml',
    'omni-airgap init --for omni-site --config mirror.yaml',
  );
}

/** omni-airgap init */
import { init } from '@omni-airgap/fetcher';
import { Command } from 'commander';
import { withCommon, withExample } from '../flags.ts';
import { type CommonFlags, report, type Session } from '../session.ts';

export function addInit(session: Session): Command {
  const command = new Command('init')
    .description('write a commented mirror.yaml to start from')
    .option('--config <file>', 'where to write it', './mirror.yaml')
    .action(async (flags: CommonFlags & { config: string }) => {
      await report(
        session,
        flags,
        'init',
        async () => {
          await init(flags.config);
          return { config: flags.config };
        },
        ({ config }) => `Wrote ${config}. Edit it, then run: omni-airgap plan --config ${config}`,
      );
    });
  return withExample(withCommon(command), 'omni-airgap init --config mirror.yaml');
}

/** omni-airgap plan */
import { Command } from 'commander';
import { withCommon, withExample, withNetwork } from '../flags.ts';
import { type InsideFlags, insideOptions, withInside } from '../inside.ts';
import { reportPlan } from '../plan-view.ts';
import { type CommonFlags, type NetworkFlags, networkSettings, type Session } from '../session.ts';

interface Flags extends CommonFlags, NetworkFlags, InsideFlags {
  readonly config: string;
  readonly store: string;
  readonly build?: true;
  readonly update?: true;
  readonly allowSecrets?: true;
}

export function addPlan(session: Session): Command {
  const command = withInside(
    new Command('plan')
      .description('show what a fetch would bring, and what it takes; changes nothing')
      .option('--config <file>', 'what to carry', './mirror.yaml')
      .option('--store <dir>', 'the store', './store')
      .option('--update', 'plan a fetch --update: with the newest versions for ranges')
      .option(
        '--build',
        'let the factory build the files whose size is unknown (takes minutes the first time)',
      )
      .option('--allow-secrets', 'with --build: let schematics with secrets in them go to the Image Factory'),
  ).action(async ({ config, store, build, update, allowSecrets, ...flags }: Flags) => {
    const network = networkSettings(flags, session.env, true);
    const options = {
      build: build === true,
      update: update === true,
      allowSecrets: allowSecrets === true,
      ...(await insideOptions(flags)),
    };
    await reportPlan(session, flags, 'plan', { config, store, network, ...options });
  });
  return withExample(
    withNetwork(withCommon(command)),
    'omni-airgap plan --config mirror.yaml --store ./store',
  );
}

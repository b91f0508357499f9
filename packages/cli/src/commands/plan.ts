/** omni-airgap plan */
import { namesInside } from '@omni-airgap/bundler';
import { CodedError } from '@omni-airgap/oci/base';
import { Command } from 'commander';
import { collected, withCommon, withExample, withNetwork } from '../flags.ts';
import { type InsideFlags, insideOptions, withInside } from '../inside.ts';
import { type NetworkFlags, networkSettings } from '../network.ts';
import { reportPlan } from '../plan-view.ts';
import type { CommonFlags, Session } from '../session.ts';

interface Flags extends CommonFlags, NetworkFlags, InsideFlags {
  readonly config: string;
  readonly store: string;
  readonly build?: true;
  readonly update?: true;
  readonly since: readonly string[];
  readonly write?: true;
  readonly allowSecrets?: true;
}

export function addPlan(session: Session): Command {
  const command = withInside(
    new Command('plan')
      .option('--config <file>', 'what to carry', './mirror.yaml')
      .option('--store <dir>', 'the store', './store')
      .option('--update', 'plan a fetch --update: with the newest versions for ranges')
      .option(
        '--since <base>',
        'show the upgrade path from a receipt, bundle.json or bundle id: what the site has (repeatable)',
        collected,
        [],
      )
      .option('--write', 'with --since: add the missing versions of the path to mirror.yaml')
      .option(
        '--build',
        'let the factory build the files whose size is unknown (takes minutes the first time)',
      )
      .option('--allow-secrets', 'with --build: let schematics with secrets in them go to the Image Factory'),
  ).action(async ({ config, store, build, update, since, write, allowSecrets, ...flags }: Flags) => {
    if (write === true && since.length === 0)
      throw new CodedError('USAGE', '--write adds what an upgrade path needs; specify --since RECEIPT too');
    const network = networkSettings(flags, session.env, true);
    const options = {
      build: build === true,
      update: update === true,
      siteNames: since.length === 0 ? undefined : await namesInside(store, since, session.signal),
      write: write === true,
      allowSecrets: allowSecrets === true,
      ...(await insideOptions(flags)),
    };
    await reportPlan(session, flags, 'plan', { config, store, network, ...options });
  });
  return withExample(
    withNetwork(withCommon(command)),
    'omni-airgap plan --config mirror.yaml --store ./store',
    'omni-airgap plan --since receipt.json --write',
  );
}

/** Flags of the commands that read either a bundle or a store. */
import { CodedError } from '@omni-airgap/oci/base';
import type { Command } from 'commander';
import { collected } from '../flags.ts';
import type { CommonFlags } from '../session.ts';

export interface BundleOrStoreFlags extends CommonFlags {
  readonly bundle: readonly string[];
  readonly store?: string;
  readonly verifyKey?: string;
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
    .option('--verify-key <file>', 'the public key it must be signed with');
}

/** The store to read, undefined when it is a bundle. @throws USAGE unless one of them is named */
export function storeToRead(command: string, { bundle, store }: BundleOrStoreFlags): string | undefined {
  if ((store === undefined) === (bundle.length === 0)) {
    throw new CodedError('USAGE', `${command} takes either --bundle DIR or --store DIR`);
  }
  return store;
}

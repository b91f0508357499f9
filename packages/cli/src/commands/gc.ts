/** omni-airgap gc */

import { formatBytes } from '@omni-airgap/content';
import { gc } from '@omni-airgap/fetcher';
import { Command } from 'commander';
import { withCommon, withExample } from '../flags.ts';
import { count } from '../format.ts';
import { type CommonFlags, report, type Session } from '../session.ts';

interface Flags extends CommonFlags {
  readonly store: string;
  readonly dryRun?: true;
}

export function addGc(session: Session): Command {
  const command = new Command('gc')
    .description('remove from the store what lock.json no longer names')
    .option('--store <dir>', 'the store', './store')
    .option('--dry-run', 'only say what would be removed')
    .action(async ({ store, dryRun, ...flags }: Flags) => {
      await report(
        session,
        flags,
        'gc',
        () => gc({ store, dryRun: dryRun === true, signal: session.signal }),
        ({ names, blobs, partial, bytes }) =>
          `${dryRun === true ? 'Would remove' : 'Removed'} ${count(names.length, 'name')}, ${count(blobs, 'blob')} and ${count(partial, 'partial file')}: ${formatBytes(bytes)}.`,
      );
    });
  return withExample(withCommon(command), 'omni-airgap gc --store ./store');
}

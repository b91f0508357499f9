/** omni-airgap gc */

import { formatVolumeRange } from '@omni-airgap/bundler';
import { formatBytes } from '@omni-airgap/oci/base';
import { type GcReport, Store } from '@omni-airgap/store';
import { Command } from 'commander';
import { collected, withCommon, withExample } from '../flags.ts';
import { count } from '../format.ts';
import { type CommonFlags, report, type Session } from '../session.ts';

interface Flags extends CommonFlags {
  readonly store: string;
  readonly dryRun?: boolean;
  readonly dropIssued: readonly string[];
}

export function addGc(session: Session): Command {
  const command = new Command('gc')
    .description('remove from the store what lock.json no longer names')
    .option('--store <dir>', 'the store', './store')
    .option('--dry-run', 'only print what would be removed')
    .option(
      '--drop-issued <id>',
      'forget an issued bundle whose media were never finished (repeatable)',
      collected,
      [],
    )
    .addHelpText(
      'after',
      '\nWhat a bundle needs that was issued and not written whole (bundle --volumes, --consume) is kept.',
    )
    .action(async ({ store, dryRun = false, dropIssued, ...flags }: Flags) => {
      await report(
        session,
        flags,
        'gc',
        () => {
          const { signal } = session;
          const access = dryRun ? 'read' : 'exclusive';
          return Store.use(store, { access, purpose: 'omni-airgap gc', signal }, (opened) =>
            opened.collectGarbage({ dryRun, dropIssued, signal }),
          );
        },
        (result) => describe(result, store, dryRun),
      );
    });
  return withExample(withCommon(command), 'omni-airgap gc --store ./store');
}

function describe(
  { names, blobs, partial, bytes, kept, dropped }: GcReport,
  store: string,
  dryRun: boolean,
): string {
  const lines = dropped.map((id) => `${dryRun ? 'Would forget' : 'Forgot'} bundle ${id}.`);
  lines.push(
    `${dryRun ? 'Would remove' : 'Removed'} ${count(names.length, 'name')}, ${count(blobs, 'blob')} and ${count(partial, 'partial file')}: ${formatBytes(bytes)}.`,
  );
  for (const one of kept) {
    const id = one.bundle.slice(0, 12);
    const volumes = formatVolumeRange(one.volumes);
    lines.push(
      `Kept for bundle ${id} (number ${one.sequence}): ${count(one.blobs, 'blob')}, ${formatBytes(one.bytes)}; ${one.volumes.length === 1 ? 'volume' : 'volumes'} ${volumes} not written yet.`,
      `  Finish it:    omni-airgap bundle --store ${store} --issued ${id} --volumes ${volumes} --out DIR`,
      `  Or let it go: omni-airgap gc --store ${store} --drop-issued ${id}`,
    );
  }
  return lines.join('\n');
}

/** omni-airgap gc */

import { formatVolumeRange } from '@omni-airgap/format';
import { formatBytes, printable } from '@omni-airgap/oci/base';
import { type GcReport, Store } from '@omni-airgap/store';
import { Command } from 'commander';
import { collected, type PushedFlags, withCommon, withExample, withPushed } from '../flags.ts';
import { count } from '../format.ts';
import { type CommonFlags, report, type Session } from '../session.ts';

interface Flags extends CommonFlags, PushedFlags {
  readonly store: string;
  readonly dryRun?: boolean;
  readonly dropIssued: readonly string[];
}

export function addGc(session: Session): Command {
  const command = new Command('gc')
    .option('--store <dir>', 'the store, or the folder of a stopped serve --writable', './store')
    .option('--dry-run', 'only print what would be removed')
    .option(
      '--drop-issued <id>',
      'forget an issued bundle whose media were never finished (repeatable)',
      collected,
      [],
    )
    .addHelpText(
      'after',
      '\nContent of bundles that were issued and not written completely (bundle --volumes, --consume) is kept. So is all that' +
        '\nwas pushed to serve --writable and not deleted there. A running serve cleans its folder itself: stop it first.',
    )
    .action(async ({ store, dryRun = false, dropIssued, ...flags }: Flags) => {
      const { gracePeriod: graceMs, deleteUntaggedAfter: deleteUntaggedAfterMs } = flags;
      await report(
        session,
        flags,
        'gc',
        () => {
          const { signal } = session;
          const access = dryRun ? 'read' : 'exclusive';
          return Store.use(store, { access, purpose: 'omni-airgap gc', signal }, (opened) =>
            opened.collectGarbage({ dryRun, dropIssued, graceMs, deleteUntaggedAfterMs, signal }),
          );
        },
        (result) => describe(result, store, dryRun),
      );
    });
  return withExample(withCommon(withPushed(command)), 'omni-airgap gc --store ./store');
}

function describe(
  { names, untagged, blobs, partial, bytes, waiting, kept, dropped }: GcReport,
  store: string,
  dryRun: boolean,
): string {
  const lines = dropped.map((id) => `${dryRun ? 'Would forget' : 'Forgot'} bundle ${id}.`);
  const remove = dryRun ? 'Would remove' : 'Removed';
  for (const name of untagged) lines.push(`${remove} untagged ${printable(name)}.`);
  lines.push(
    `${remove} ${count(names.length + untagged.length, 'name')}, ${count(blobs, 'blob')} and ${count(partial, 'partial file')}: ${formatBytes(bytes)}.`,
  );
  if (waiting.blobs > 0)
    lines.push(
      `Kept until the grace period ends: ${count(waiting.blobs, 'blob')}, ${formatBytes(waiting.bytes)} (--grace-period).`,
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

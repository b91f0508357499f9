/** omni-airgap outdated */
import { type Outdated, outdated, outdatedFailure } from '@omni-airgap/fetcher';
import { printable } from '@omni-airgap/oci/base';
import { Command } from 'commander';
import { withCommon, withExample, withNetwork } from '../flags.ts';
import { count, table, wrap } from '../format.ts';
import { type NetworkFlags, networkSettings } from '../network.ts';
import { type CommonFlags, report, type Session } from '../session.ts';

interface Flags extends CommonFlags, NetworkFlags {
  readonly config: string;
  readonly store: string;
}

export function addOutdated(session: Session): Command {
  const command = new Command('outdated')
    .option('--config <file>', 'what to carry', './mirror.yaml')
    .option('--store <dir>', 'the store', './store')
    .addHelpText(
      'after',
      '\nWithin ranges such as v1.13.x: what fetch --update brings. Beyond: the newest patch of each minor release, to be\nwritten into mirror.yaml. A tag that is no version is compared by its digest. Exits 0 also when something is newer,\n5 when a list cannot be read.',
    )
    .action(async ({ config, store, ...flags }: Flags) => {
      const network = networkSettings(flags, session.env, true);
      const { signal } = session;
      const result = await report(
        session,
        flags,
        'outdated',
        (progress) => outdated({ config, store, network, progress, signal }),
        describe,
      );
      const failure = outdatedFailure(result);
      if (failure !== undefined) throw failure;
    });
  return withExample(
    withNetwork(withCommon(command)),
    'omni-airgap outdated --config mirror.yaml --store ./store',
  );
}

function describe({ products, outdated: newer, moved, pinned, problems }: Outdated): string {
  const list = (versions: readonly string[]): string =>
    versions.map((one) => printable(one)).join(', ') || '-';
  const rows = products.map(({ name, wanted, current, within, beyond, problem }) => [
    name,
    list(wanted),
    list(current),
    problem === undefined ? list(within) : '?',
    problem === undefined ? list(beyond) : '?',
  ]);
  const brought = products.filter(({ within }) => within.length > 0).length;
  return [
    ...(rows.length === 0
      ? []
      : [table([['NAME', 'MIRROR.YAML', 'LOCKED', 'WITHIN', 'BEYOND'], ...rows]), '']),
    newer === 0 && moved.length === 0 && problems === 0
      ? 'Nothing is newer upstream.'
      : `${newer} of ${products.length} have newer versions upstream${brought === 0 ? '' : `; fetch --update brings those within the ranges (${brought})`}.`,
    ...moved
      .filter(({ problem }) => problem === undefined)
      .map(({ name, locked, upstream }) => {
        if (upstream === undefined) return `${printable(name)}: no longer available upstream`;
        const is = `now ${upstream.slice(0, 19)}`;
        return `${printable(name)}: ${locked === undefined ? `not fetched yet, ${is}` : `moved, ${locked.slice(0, 19)} is locked, ${is}`}; fetch brings it`;
      }),
    ...(pinned.length === 0
      ? []
      : [
          `Not compared, pinned by digest (${count(pinned.length, 'image')}):`,
          wrap(pinned.map((name) => printable(name))),
        ]),
    ...[...products, ...moved].flatMap(({ name, problem }) =>
      problem === undefined ? [] : [`${printable(name)}: ${printable(problem, 2000)}`],
    ),
  ].join('\n');
}

/** omni-airgap prune */
import type { LoadOptions } from '@omni-airgap/loader';
import {
  applyPrune,
  type PlannedPrune,
  type PruneReport,
  parseKeepVersion,
  planPrune,
  readInUse,
} from '@omni-airgap/loader/prune';
import { byText, CodedError, formatBytes } from '@omni-airgap/oci/base';
import { subjectOfTag } from '@omni-airgap/oci/model';
import { Command, InvalidArgumentError, Option } from 'commander';
import {
  collected,
  insideProxy,
  withClientCertificate,
  withCommon,
  withExample,
  withNetwork,
  withS3,
} from '../flags.ts';
import { count } from '../format.ts';
import { noteExposed } from '../keys.ts';
import { type CommonFlags, defaultState, report, type Session, tool } from '../session.ts';
import { readTargets, type TargetFlags } from '../targets.ts';

interface Flags extends CommonFlags, TargetFlags {
  readonly keep?: number;
  readonly inUse: readonly string[];
  readonly keepVersions: readonly string[];
  readonly plan?: string;
  readonly apply?: string;
  readonly receipt: readonly string[];
  readonly state?: string;
}

export function addPrune(session: Session): Command {
  const command = new Command('prune')
    .optionsGroup('First step, a plan to read; nothing is deleted:')
    .option('--plan <file>', 'write what would be deleted to this file')
    .addOption(
      new Option(
        '--keep <n>',
        'the last N accepted bundles of each store keep what they name (default: 2)',
      ).argParser(parseKeep),
    )
    .option(
      '--in-use <file>',
      'what runs: output of kubectl get pods,nodes -A -o json, talosctl image list, omnictl get clusters -o json (repeatable)',
      collected,
      [],
    )
    .option(
      '--keep-versions <version>',
      'keep this version of Talos, Kubernetes, Omni or the Image Factory (repeatable)',
      collected,
      [],
    )
    .optionsGroup('Second step:')
    .option('--apply <file>', 'delete what this plan lists, unless the site changed since')
    .optionsGroup('Targets and records:')
    .option('--registry <host[/prefix]>', 'registry that was loaded into')
    .option('--object-store <url>', 'object store that was loaded into: s3://BUCKET[/PREFIX] or file:///DIR');
  withS3(command)
    .option(
      '--state <dir>',
      'the --state of the loads, with their receipts (default: $XDG_STATE_HOME/omni-airgap or ~/.local/state/omni-airgap)',
    )
    .option(
      '--receipt <file>',
      'with --plan: the receipt of a load that --state lacks (repeatable); with --apply: write what is inside now to this file',
      collected,
      [],
    )
    .action(async (flags: Flags) => {
      const [first, ...others] = [flags.plan, flags.apply].filter((path) => path !== undefined);
      if (first === undefined || others.length > 0) {
        throw new CodedError(
          'USAGE',
          'prune needs --plan FILE to write a plan, or --apply FILE to delete what one lists',
        );
      }
      await noteExposed('--client-key', flags.clientKey, session, flags);
      await (flags.apply === undefined ? plan(session, flags, first) : apply(session, flags, first));
    });
  return withExample(
    withCommon(withClientCertificate(withNetwork(command)).option(...insideProxy)),
    'kubectl get pods,nodes -A -o json > pods.json',
    'omni-airgap prune --registry registry.site:5000 --keep 2 --in-use pods.json --plan prune.json',
    'omni-airgap prune --registry registry.site:5000 --apply prune.json --receipt receipt.json',
  );
}

async function plan(session: Session, flags: Flags, path: string): Promise<void> {
  const options = await targetOptions(session, flags);
  const inputs = { keep: flags.keep ?? defaultKeep, ...(await inUseOf(flags)) };
  await report(
    session,
    flags,
    'prune',
    (progress) => planPrune({ ...options, inputs, receipts: flags.receipt, plan: path, progress }),
    (planned) => describePlanned(planned, path),
  );
}

async function apply(session: Session, flags: Flags, path: string): Promise<void> {
  if (flags.keep !== undefined)
    throw new CodedError(
      'USAGE',
      '--keep: the plan says how many bundles keep what they name; make a new plan',
    );
  const [receipt, ...others] = flags.receipt;
  if (others.length > 0) throw new CodedError('USAGE', '--receipt: with --apply one file is written');
  const options = await targetOptions(session, flags);
  const inputs = await inUseOf(flags);
  const { refused } = await report(
    session,
    flags,
    'prune',
    (progress) => applyPrune({ ...options, plan: path, inputs, receipt, progress }),
    describePruned,
  );
  const [first] = refused;
  if (first === undefined) return;
  const more = refused.length > 1 ? ` and ${refused.length - 1} more` : '';
  throw new CodedError(
    'INCOMPLETE',
    `not deleted: ${first.target}${more}: ${first.message}; the rest is deleted, the same command tries these again`,
  );
}

const defaultKeep = 2;

async function inUseOf({ inUse, keepVersions }: Flags) {
  return { inUse: await readInUse(inUse), keepVersions: keepVersions.map(parseKeepVersion) };
}

async function targetOptions(
  session: Session,
  flags: Flags,
): Promise<Pick<LoadOptions, 'registry' | 'objectStore' | 'state' | 'network' | 'tool' | 'signal'>> {
  return {
    ...(await readTargets(session, flags)),
    state: flags.state ?? defaultState(session.env),
    tool,
    signal: session.signal,
  };
}

function parseKeep(text: string): number {
  if (!/^[1-9][0-9]{0,2}$/.test(text)) throw new InvalidArgumentError('Must be 1 to 999.');
  return Number(text);
}

/** Lines of a list that are printed; the plan file has all. */
const shownLines = 200;

function describePlanned({ plan, warnings }: PlannedPrune, path: string): string {
  const {
    origins,
    inputs,
    manifests,
    rewrites,
    objects,
    objectRewrites,
    kept,
    registry = '',
    objectStore = '',
  } = plan;
  const host = registry.split('/', 1)[0] ?? '';
  const versions = [
    ...inputs.inUse.talos.map((version) => `Talos ${version}`),
    ...inputs.inUse.kubernetes.map((version) => `Kubernetes ${version}`),
    ...inputs.keepVersions,
  ];
  const numbers = (bundles: readonly { readonly sequence: number }[]): string =>
    bundles.map(({ sequence }) => (sequence === 0 ? 'a store' : sequence)).join(', ') || 'none';
  const named = manifests.filter(({ tags }) => tags.some(isOwnTag));
  const deletions = [
    ...named.map(({ repository, tags }) => tags.map((tag) => `${host}/${repository}:${tag}`).join(', ')),
    ...objects.map(({ key }) => `${objectStore}/${key}`),
  ];
  const others = manifests.length - named.length;
  const notable = kept.filter(
    ({ target }) => isOwnTag(target.slice(target.lastIndexOf(':') + 1)) && !target.includes('@'),
  );
  const lists = [
    ...rewrites.map(
      ({ repository, tag, removed, kept: left }) => [`${host}/${repository}:${tag}`, removed, left] as const,
    ),
    ...objectRewrites.map(
      ({ key, removed, kept: left }) => [`${objectStore}/${key}`, removed, left] as const,
    ),
  ];
  return [
    ...origins.map(
      (one) =>
        `Store ${one.origin}: bundles ${numbers(one.kept)} keep what they name; older: ${numbers(one.older)}.`,
    ),
    `In use: ${[...versions, count(inputs.inUse.images.length, 'image')].join(', ')}.`,
    ...section('To delete:', deletions, others),
    ...section(
      'To rewrite:',
      lists.map(
        ([place, removed, left]) =>
          `${place}: without ${removed.length} of its ${removed.length + left} entries`,
      ),
    ),
    ...section(
      'To keep, though only older bundles name it:',
      notable.map(({ target, why }) => `${target}: ${why}`),
      kept.length - notable.length,
    ),
    ...warnings.map((warning) => `Warning: ${warning}.`),
    manifests.length + objects.length + lists.length === 0
      ? 'Nothing to delete.'
      : `${count(manifests.length, 'manifest')} and ${count(objects.length, 'object')}, ${formatBytes(plan.bytes)} at most. Nothing was deleted. Read ${path}, then run prune --apply ${path}.`,
  ].join('\n');
}

/** False for the tags of signatures and referrers, which go and stay with what they are about. */
function isOwnTag(tag: string): boolean {
  return subjectOfTag(tag) === undefined;
}

/** @param others platforms, signatures and referrers, and images that tags stood for once */
function section(title: string, lines: readonly string[], others = 0): readonly string[] {
  if (lines.length + others === 0) return [];
  const more = lines.length > shownLines ? [`  … and ${lines.length - shownLines} more`] : [];
  const rest =
    others === 0
      ? []
      : [
          `  and ${count(others, 'manifest')} without a name of their own: platforms, signatures, earlier images`,
        ];
  return [title, ...lines.slice(0, shownLines).map((line) => `  ${line}`), ...more, ...rest];
}

function describePruned({ record, recordFile, receipts, deleted, refused, reclaiming }: PruneReport): string {
  return [
    `Deleted ${count(deleted.manifests, 'manifest')} and ${count(deleted.objects, 'object')}; ${count(record.rewrites.length + record.objectRewrites.length, 'list')} rewritten.`,
    ...refused.map(({ target, message }) => `Not deleted: ${target}: ${message}`),
    ...(record.manifests.length === 0
      ? []
      : reclaiming
          .toSorted((a, b) => byText(a.kind, b.kind))
          .map(({ kind, how }) => `To reclaim the space, on ${kind}: ${how}.`)),
    `Record: ${recordFile}.`,
    ...(receipts.length === 0
      ? ['No bundle was pruned, so there is no new receipt: that of the last load stays right.']
      : [
          'For bundle --since carry the new receipt out: older receipts and bundle IDs name content that is no longer inside.',
        ]),
  ].join('\n');
}

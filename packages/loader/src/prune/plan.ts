/**
 * The first step of prune: what would go is looked up and written down, for a person to read. Nothing of the site changes; on
 * this host the plan is written, and receipts that it lacked are kept.
 */
import {
  type LoadRecord,
  maxBundleDocumentBytes,
  type PruneInputs,
  type PrunePlan,
  parsePrunePlan,
  parseReceiptDocument,
  serializeDocument,
} from '@omni-airgap/format';
import { CodedError, isCoded } from '@omni-airgap/oci/base';
import {
  checkOutput,
  checkOutputFolder,
  ensureFolder,
  readNamedFile,
  writeOutput,
} from '@omni-airgap/oci/fs';
import { parseReference } from '@omni-airgap/oci/model';
import { lockState } from '../outputs.ts';
import { keepLoadRecord, readLoadRecords } from '../records.ts';
import { isDigestName } from '../targets/names.ts';
import { lookUp, type Outcome } from './outcome.ts';
import { type PruneOptions, type PruneSite, withSite } from './site.ts';

export interface PlanOptions extends PruneOptions {
  readonly inputs: PruneInputs;
  /** Receipts that --state lacks: of loads by another host, or by an older program. */
  readonly receipts: readonly string[];
  /** Path to write the plan to. */
  readonly plan: string;
}

export interface PlannedPrune {
  readonly plan: PrunePlan;
  /** What a person should look at before the plan is applied. */
  readonly warnings: readonly string[];
}

/**
 * @throws USAGE when nothing tells what is in use; BUSY while a load runs; MISSING_CONTENT for a missing receipt; UPSTREAM
 * (405) and DENIED where the registry deletes nothing; NO_INPUT, CONFIG, BAD_DOCUMENT, NETWORK, DISK
 */
export async function planPrune(options: PlanOptions): Promise<PlannedPrune> {
  const { state, inputs, signal } = options;
  requireTarget(options);
  if (inputs.inUse.files.length + inputs.keepVersions.length === 0) {
    throw new CodedError(
      'USAGE',
      'prune needs to know what runs: specify --in-use with the output of kubectl, talosctl or omnictl, or --keep-versions',
    );
  }
  await checkOutputFolder('--state', state);
  await checkOutput('--plan', options.plan);
  await ensureFolder(state);
  const lock = await lockState(state, 'exclusive', 'omni-airgap prune', { signal });
  try {
    return await withSite(options, async (site) => {
      for (const path of options.receipts) await keepReceipt(state, path, site);
      const records = await readLoadRecords(state);
      const outcome = await lookUp(site, records, inputs);
      await requireDeletion(site, outcome);
      const plan = planOf(options, site, outcome);
      const text = serializeDocument(plan);
      parsePrunePlan(Buffer.from(text), options.plan);
      await writeOutput('--plan', options.plan, text, { signal });
      return { plan, warnings: warningsOf(site, records, outcome) };
    });
  } finally {
    await lock.release();
  }
}

/** @throws USAGE */
export function requireTarget({ registry, objectStore }: PruneOptions): void {
  if (registry !== undefined || objectStore !== undefined) return;
  throw new CodedError('USAGE', 'prune needs --registry HOST, --object-store URL, or both');
}

async function keepReceipt(state: string, path: string, { names }: PruneSite): Promise<void> {
  const bytes = await readNamedFile('--receipt', path, maxBundleDocumentBytes);
  const receipt = parseReceiptDocument(bytes, `--receipt ${path}`);
  const isHere =
    (receipt.registry !== undefined && receipt.registry === names.registry) ||
    (receipt.objectStore !== undefined && receipt.objectStore === names.objectStore);
  if (!isHere) {
    const places = [receipt.registry, receipt.objectStore].filter((one) => one !== undefined);
    throw new CodedError(
      'USAGE',
      `--receipt ${path}: it is of a load into ${places.join(' and ')}, which prune is not told about`,
    );
  }
  const record: LoadRecord = { kind: 'omni-airgap/load-record', schema: 1, receipt };
  await keepLoadRecord(state, record);
}

/** One repository of each project is asked, where something would go. @throws UPSTREAM, DENIED with what to do */
export async function requireDeletion(
  { registry, signal }: PruneSite,
  { manifests }: Pick<Outcome, 'manifests'>,
): Promise<void> {
  const projects = new Map(manifests.map(({ repository }) => [repository.split('/', 1)[0], repository]));
  for (const repository of projects.values()) {
    try {
      await registry?.client.repository(repository).probeDelete(signal);
    } catch (error) {
      if (!isCoded(error, 'UPSTREAM', 'DENIED')) throw error;
      const { code, message, status } = error;
      throw new CodedError(code, `${message}; nothing was deleted`, { cause: error, status });
    }
  }
}

function planOf({ tool, inputs }: PlanOptions, { names }: PruneSite, outcome: Outcome): PrunePlan {
  const { registry, objectStore } = names;
  return {
    kind: 'omni-airgap/prune-plan',
    schema: 1,
    plannedAt: new Date().toISOString(),
    tool,
    ...(registry === undefined ? {} : { registry }),
    ...(objectStore === undefined ? {} : { objectStore }),
    inputs,
    origins: outcome.inventory.origins,
    manifests: [...outcome.manifests],
    rewrites: outcome.rewrites.map(({ plan }) => plan),
    objects: outcome.objects,
    objectRewrites: outcome.objectRewrites.map(({ plan }) => plan),
    kept: outcome.kept,
    bytes: outcome.bytes,
  };
}

/** Images of services that run beside the clusters, so that no file of --in-use names them. */
const services: ReadonlyMap<string, string> = new Map([
  ['siderolabs/omni', 'Omni'],
  ['siderolabs/image-factory', 'the Image Factory'],
  ['dexidp/dex', 'Dex'],
]);

function warningsOf(
  { accepted }: PruneSite,
  records: readonly LoadRecord[],
  { manifests }: Outcome,
): readonly string[] {
  const warnings: string[] = [];
  for (const name of manifests.flatMap((manifest) => manifest.names)) {
    if (isDigestName(name)) continue;
    const { repository, tag } = parseReference(name);
    const service = services.get(repository);
    if (service === undefined || tag === undefined || tag.startsWith('sha256-')) continue;
    warnings.push(`${name} would go: if ${service} still runs ${tag}, add --keep-versions ${tag}`);
  }
  const known = new Set(records.map(({ receipt }) => receipt.bundle));
  const lacking = new Map(accepted.flatMap(({ id, sequence }) => (known.has(id) ? [] : [[id, sequence]])));
  for (const [id, sequence] of lacking) {
    warnings.push(
      `bundle ${id.slice(0, 12)} (number ${sequence}) has no receipt here: what it alone brought stays; --receipt adds it`,
    );
  }
  return warnings;
}

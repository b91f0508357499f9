/** What tests of prune share: a site that was loaded some times, and what runs there. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type PruneInputs, type PrunePlan, parsePrunePlan } from '@omni-airgap/format';
import type { Layout } from '@omni-airgap/oci/layout';
import type { Descriptor } from '@omni-airgap/oci/model';
import type { RegistryDouble, RegistryDoubleOptions } from '@omni-airgap/oci/testing';
import type { LoadOptions } from '../src/options.ts';
import { type ApplyOptions, applyPrune, type PruneReport } from '../src/prune/apply.ts';
import { type PlannedPrune, type PlanOptions, planPrune } from '../src/prune/plan.ts';
import {
  addImage,
  bytesFor,
  loadInto,
  makeBundle,
  startDouble,
  type TestBundle,
  temporary,
} from './support.ts';

type Filler = (layout: Layout) => Promise<unknown>;
type BundleMembers = NonNullable<Parameters<typeof makeBundle>[1]>;

/** An image with its own content, of its own repository unless it is named. */
export const image =
  (name: string | undefined, seed = name ?? '', size = 5000) =>
  async (layout: Layout): Promise<Descriptor> => {
    const built = await addImage(layout, name ?? `registry.test/unnamed:${seed}`, bytesFor(seed, size));
    if (name === undefined) await layout.untag(`registry.test/unnamed:${seed}`);
    return built;
  };

/** All of these, one after the other. */
export const all =
  (...fills: readonly Filler[]): Filler =>
  async (layout) => {
    for (const fill of fills) await fill(layout);
  };

/** Nothing of what these tests load. */
const idle: PruneInputs['inUse'] = {
  files: [],
  talos: [],
  kubernetes: [],
  images: ['quay.io/other/one:v9'],
};

export class PruneSite {
  readonly folder: string;
  readonly registry: RegistryDouble;
  #bundles = 0;

  private constructor(folder: string, registry: RegistryDouble) {
    this.folder = folder;
    this.registry = registry;
  }

  static async start(options: RegistryDoubleOptions = {}): Promise<PruneSite> {
    return new PruneSite(await temporary(), await startDouble(options));
  }

  get state(): string {
    return join(this.folder, 'state');
  }

  get plan(): string {
    return join(this.folder, 'plan.json');
  }

  get objects(): string {
    return join(this.folder, 'objects');
  }

  /** Makes the next bundle of the store, and loads it. */
  async load(
    fill: Filler,
    members: BundleMembers = {},
    options: Partial<LoadOptions> = {},
  ): Promise<TestBundle> {
    const bundle = await makeBundle(async (layout) => void (await fill(layout)), {
      sequence: ++this.#bundles,
      ...members,
    });
    await this.loadAgain(bundle, options);
    return bundle;
  }

  async loadAgain({ folder, document }: TestBundle, options: Partial<LoadOptions> = {}): Promise<void> {
    await loadInto(this.registry, [folder], {
      state: this.state,
      newOrigin: document.origin,
      ...options,
    });
  }

  #options() {
    const { host } = this.registry;
    return {
      registry: { host, prefix: '' },
      state: this.state,
      network: { upstreams: [], allowHosts: [], plainHttp: [host], env: {} },
      tool: 'test',
      plan: this.plan,
    };
  }

  async prune(
    inputs: Partial<Omit<PruneInputs, 'inUse'>> & { readonly inUse?: Partial<PruneInputs['inUse']> } = {},
    options: Partial<PlanOptions> = {},
  ): Promise<PlannedPrune> {
    const { keep = 1, keepVersions = [] } = inputs;
    const inUse = { ...idle, files: [{ path: 'pods.json', sha256: '0'.repeat(64) }], ...inputs.inUse };
    return planPrune({ ...this.#options(), inputs: { keep, keepVersions, inUse }, receipts: [], ...options });
  }

  apply(options: Partial<ApplyOptions> = {}): Promise<PruneReport> {
    return applyPrune({ ...this.#options(), ...options });
  }

  /** The plan that was written, changed. */
  edit(change: (plan: PrunePlan) => PrunePlan): void {
    const plan = parsePrunePlan(readFileSync(this.plan), 'plan');
    writeFileSync(this.plan, JSON.stringify(change(plan)));
  }

  tags(repository: string): readonly string[] {
    return [...this.registry.repository(repository).tags.keys()].sort();
  }

  /** Number of its manifests. */
  manifests(repository: string): number {
    return this.registry.repository(repository).manifests.size;
  }
}

/** What a plan deletes: `repository:tag`, or `repository@` for what has no tag. */
export function deletionsIn({ manifests }: PrunePlan): readonly string[] {
  return manifests.map(({ repository, tags }) =>
    tags.length === 0 ? `${repository}@` : `${repository}:${tags.join(',')}`,
  );
}

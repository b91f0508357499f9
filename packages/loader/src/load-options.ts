/** What a load is told: what to take, where to, and what is allowed. */
import type { KeyObject } from 'node:crypto';
import type { BundleTrust } from '@omni-airgap/format';
import type { ObjectStoreTarget } from '@omni-airgap/objects';
import type { Progress } from '@omni-airgap/oci';
import type { NetworkSettings } from '@omni-airgap/oci/registry';
import type { Site } from '@omni-airgap/talos';
import type { RegistryTarget } from './target-names.ts';

export interface LoadOptions {
  /** Folders where the media are mounted: of one bundle, or of a base and its increments. */
  readonly bundles: readonly string[];
  readonly trust: BundleTrust;
  readonly registry?: RegistryTarget | undefined;
  readonly objectStore?: ObjectStoreTarget | undefined;
  readonly keepHost?: boolean;
  readonly overwriteTags?: boolean;
  /** Where an index carries one platform only, tag that platform's image. */
  readonly flatten?: boolean;
  /** Take a bundle that is older than one that was accepted here. */
  readonly allowRollback?: boolean;
  /** The oldest bundle that is taken; no limit by default. */
  readonly maxAgeDays?: number | undefined;
  /** `full`: pull everything back and hash it. `quick`: not even objects are. Default: objects are. */
  readonly verify?: 'full' | 'quick' | undefined;
  /** Folder for what this host remembers: accepted bundles, unfinished uploads. */
  readonly state: string;
  /** Folder for parts of blobs that are cut over volumes which are not mounted together. */
  readonly spool?: string | undefined;
  /** Signs what an Image Factory checks; a P-256 private key. */
  readonly resignKey?: KeyObject;
  /** What only the site knows; its PXE URL makes boot scripts. */
  readonly site?: Site;
  /** PEM of the site's authority. */
  readonly ca?: string;
  /** Folder for configuration to go on with; none is written without it. */
  readonly handoff?: string;
  /** Path to write the receipt to. */
  readonly receipt?: string | undefined;
  readonly network: NetworkSettings;
  /** Blobs on their way at once; default 8. */
  readonly concurrency?: number | undefined;
  /** Name and version of this program, for the record. */
  readonly tool: string;
  readonly progress?: Progress;
  readonly signal?: AbortSignal | undefined;
}

/** What a load is told: the source, the targets, and how. */
import type { KeyObject } from 'node:crypto';
import type { ObjectStoreTarget } from '@omni-airgap/objects';
import type { Progress } from '@omni-airgap/oci';
import type { NetworkSettings } from '@omni-airgap/oci/registry';
import type { Site } from '@omni-airgap/talos';
import type { LoadSource } from './source.ts';
import type { RegistryTarget } from './targets/names.ts';

export interface LoadOptions {
  readonly source: LoadSource;
  readonly registry?: RegistryTarget | undefined;
  readonly objectStore?: ObjectStoreTarget | undefined;
  readonly keepHost?: boolean;
  readonly overwriteTags?: boolean;
  /** Where an index carries one platform only, tag that platform's image. */
  readonly flatten?: boolean;
  /** Where other indexes carry some platforms only, tag an index of these. */
  readonly trimIndexes?: boolean;
  /** Patterns of names and object keys that are loaded; default all. */
  readonly only?: readonly string[];
  /** Patterns of names and object keys that are left out. */
  readonly except?: readonly string[];
  /** Take a bundle that is older than one that was accepted here. */
  readonly allowRollback?: boolean;
  /** ID of the store of this bundle, 32 hex: taken though only other stores are known here. */
  readonly newOrigin?: string | undefined;
  /** The oldest bundle that is taken; no limit by default. */
  readonly maxAgeDays?: number | undefined;
  /**
   * `full`: pull everything back and hash it. `quick`: nothing; existing objects are taken for what their metadata
   * says. Default: objects that no read-back is on record for.
   */
  readonly verify?: 'full' | 'quick' | undefined;
  /** Folder for what this host remembers: accepted bundles, unfinished uploads, objects that were read back. */
  readonly state: string;
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

/** Where boot assets and lists of the Image Factory lie: as objects, or as artifacts in a registry. */
import type { Artifact } from '@omni-airgap/talos';
import type { HeldFile, HeldMedia, ListedFiles } from '../factory/holdings.ts';

/** What an artifact of files is the name of. */
export type FileSet = Exclude<Artifact, { readonly kind: 'schematic' }>;

/** Every method may throw DENIED, UPSTREAM, NETWORK, ABORTED. */
export interface Assets {
  file(set: FileSet, name: string, signal?: AbortSignal): Promise<HeldFile | undefined>;
  /** Empty where there is nothing. */
  files(set: FileSet, signal?: AbortSignal): Promise<ListedFiles>;
  media(signal?: AbortSignal): Promise<readonly HeldMedia[]>;
}

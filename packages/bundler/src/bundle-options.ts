/** What a bundle is made with: its content, and the medium it goes to. */
import type { Progress } from '@omni-airgap/oci';
import type { NewBundle } from './draft.ts';

export interface BundleOptions extends NewBundle {
  /** Folder that becomes the bundle; made when it is not there. */
  readonly out: string;
  /** Id (8 characters at least) of a bundle that was issued before: its volumes are written, not those of a new one. */
  readonly issued?: string | undefined;
  /** Which volumes go there, such as `2-5`; default all. Volume 000 goes to every medium. */
  readonly volumes?: string | undefined;
  /** Read each volume back after writing; default true. */
  readonly readBack?: boolean;
  /** Remove content from the store once it is safe on the medium. */
  readonly consume?: boolean;
  readonly progress?: Progress;
}

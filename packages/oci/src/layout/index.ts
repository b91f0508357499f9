/** OCI image layouts on disk: content, names, partial downloads, the sweep. */

export { formatIndexFile, layoutMarker, type Names } from './index-file.ts';
export type { Checkpoint, Checkpoints } from './ingest.ts';
export { Layout } from './layout.ts';
export { type Removed, removeGarbage } from './sweep.ts';

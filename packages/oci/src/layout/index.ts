/** OCI image layouts on disk: content, names, partial downloads, the sweep. */

export { formatIndexFile, layoutMarker, type Names } from './index-file.ts';
export type { Checkpoint, Checkpoints } from './ingest.ts';
export { Layout } from './layout.ts';
export { formatPushedName, parsePushedName } from './pushed-names.ts';
export { type Activity, defaultGraceMs, type Removed, type Swept, type SweptLayout, sweep } from './sweep.ts';

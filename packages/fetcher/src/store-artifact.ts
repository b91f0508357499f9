/** Artifacts that are made here, put into the store, and looked for in it. */
import { bytesOf, type Descriptor, walk } from '@omni-airgap/oci';
import type { Layout } from '@omni-airgap/oci/layout';
import type { Artifact } from './artifacts.ts';

/** Its files must be there. @returns the manifest */
export async function storeArtifact(layout: Layout, artifact: Artifact, name: string): Promise<Descriptor> {
  await layout.push(artifact.config, () => bytesOf(artifact.configBytes));
  await layout.push(artifact.manifest, () => bytesOf(artifact.bytes));
  await layout.tag(artifact.manifest, name);
  return artifact.manifest;
}

/** True when the manifest and all it points at are there. */
export async function isWhole(layout: Layout, root: Descriptor): Promise<boolean> {
  for await (const { kind, descriptor } of walk(layout, [root], { missing: 'skip' })) {
    if (kind === 'missing' || (kind === 'blob' && !(await layout.has(descriptor)))) return false;
  }
  return true;
}

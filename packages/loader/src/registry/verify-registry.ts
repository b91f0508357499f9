/** `--verify full`: everything below the names of a bundle is pulled from the registry and hashed. */
import { childrenOf, type Descriptor, fetchManifest, isManifestType, verified } from '@omni-airgap/oci';
import { giveBack } from '@omni-airgap/oci/base';
import type { RepositoryClient } from '@omni-airgap/oci/registry';
import pLimit from 'p-limit';
import { allOrFirst, type RegistryContext } from './context.ts';
import type { Surveyed } from './survey.ts';

const pullsAtOnce = 8;

/** @returns bytes pulled @throws DIGEST_MISMATCH naming what the registry gives instead; NOT_FOUND, … */
export async function verifyRegistry(context: RegistryContext, names: readonly Surveyed[]): Promise<number> {
  const { source, progress, signal } = context;
  const limit = pLimit(pullsAtOnce);
  const seen = new Set<string>();
  let bytes = 0;
  const pull = async (repository: RepositoryClient, descriptor: Descriptor): Promise<void> => {
    progress.expect(descriptor.size);
    for await (const chunk of verified(
      repository.fetch(descriptor, signal),
      descriptor,
      `${repository.registry}/${repository.path}`,
    )) {
      bytes += chunk.byteLength;
      progress.advance(chunk.byteLength);
      giveBack(chunk);
    }
  };
  const visit = async (repository: RepositoryClient, descriptor: Descriptor): Promise<void> => {
    const key = `${repository.path} ${descriptor.digest}`;
    if (seen.has(key)) return;
    seen.add(key);
    await limit(() => pull(repository, descriptor));
    if (!isManifestType(descriptor.mediaType)) return;
    const { manifest } = await fetchManifest(source, descriptor, signal);
    const children: Descriptor[] = [];
    for (const child of childrenOf(manifest)) {
      if (manifest.kind === 'image' || (await source.has(child))) children.push(child);
    }
    await allOrFirst(children.map((child) => visit(repository, child)));
  };
  await allOrFirst(
    names.map(({ repository, descriptor }) => visit(context.repository(repository), descriptor)),
  );
  return bytes;
}

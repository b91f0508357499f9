/** `--verify full`: everything below the names of a bundle is pulled from the registry and hashed. */
import { type Descriptor, type Digest, verified, walk } from '@omni-airgap/oci';
import { giveBack, settleAll } from '@omni-airgap/oci/base';
import type { RepositoryClient } from '@omni-airgap/oci/registry';
import pLimit from 'p-limit';
import type { RegistryContext } from './context.ts';
import type { Surveyed } from './survey.ts';

const pullsAtOnce = 8;

/** @returns bytes pulled @throws DIGEST_MISMATCH naming what the registry gives instead; NOT_FOUND, … */
export async function verifyRegistry(context: RegistryContext, names: readonly Surveyed[]): Promise<number> {
  const { source, progress, signal } = context;
  const walks = pLimit(pullsAtOnce);
  const pulls = pLimit(pullsAtOnce);
  /** By repository. */
  const seen = new Map<string, Set<Digest>>();
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
  const pullAll = async (repository: RepositoryClient, root: Descriptor): Promise<void> => {
    const known = seen.get(repository.path) ?? new Set<Digest>();
    seen.set(repository.path, known);
    if (known.has(root.digest)) return;
    const select = async (child: Descriptor): Promise<boolean> =>
      !known.has(child.digest) && (await source.has(child));
    const found: Descriptor[] = [];
    for await (const { descriptor } of walk(source, [root], { select, signal })) {
      if (known.has(descriptor.digest)) continue;
      known.add(descriptor.digest);
      found.push(descriptor);
    }
    await settleAll(found.map((descriptor) => pulls(() => pull(repository, descriptor))));
  };
  await settleAll(
    names.map(({ repository, descriptor }) =>
      walks(() => pullAll(context.repository(repository), descriptor)),
    ),
  );
  return bytes;
}

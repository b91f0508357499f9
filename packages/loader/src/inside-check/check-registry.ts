/**
 * Whether a registry takes what load brings: log-in, push, a large body, referrers, delete; and whether Omni can list
 * the Kubernetes versions. What is pushed for it is a few bytes in the repository `omni-airgap/probe`, and one body of
 * 48 MiB that is deleted again where the registry deletes.
 */
import type { Bytes } from '@omni-airgap/oci';
import { CodedError, isCoded } from '@omni-airgap/oci/base';
import { type Descriptor, Hasher, isManifestType, MediaType, openerOf } from '@omni-airgap/oci/model';
import type { RegistryClient, RepositoryClient } from '@omni-airgap/oci/registry';
import { stateRepository } from '../state.ts';
import { belowPrefix, type RegistryTarget } from '../targets/names.ts';
import { type Shape, sampleOf } from '../targets/registry/capability-probe.ts';
import { explainingShape, requireListed, requirePush } from '../targets/registry/preflight.ts';
import { type Finding, finding } from './finding.ts';

/** More than what proxies let through unless told otherwise, and more than our own chunks. */
const bodyBytes = 48 * 1024 * 1024;

export interface RegistryCheck {
  readonly client: RegistryClient;
  readonly target: RegistryTarget;
  /** Repositories have their host in the path. */
  readonly keepHost: boolean;
  /** Statuses of all answers so far. */
  readonly statuses: () => readonly number[];
  readonly signal?: AbortSignal | undefined;
}

export async function checkRegistryInside(check: RegistryCheck): Promise<readonly Finding[]> {
  const { client, target, signal } = check;
  const probe = client.repository(belowPrefix(target.prefix, 'omni-airgap/probe'));
  const ping = await finding('registry', 'answers', async () => {
    await client.ping(probe.path, signal);
    return client.host;
  });
  if (ping.state === 'failed') return [ping];
  const push = await finding('registry', 'push', async () => {
    await requirePush(client, [probe.path], signal);
    await pushSample(check, probe, 'image');
    return `${probe.registry}/${probe.path}`;
  });
  const kubelet = [target.prefix, ...(check.keepHost ? ['ghcr.io'] : []), 'siderolabs/kubelet'];
  const versions = await finding('registry', 'tags/list of kubelet', () =>
    kubernetesVersions(
      client.repository(kubelet.filter((part) => part !== '').join('/')),
      client.repository(belowPrefix(target.prefix, stateRepository)),
      signal,
    ),
  );
  if (push.state === 'failed') return [ping, push, versions];
  return [
    ping,
    push,
    await finding('registry', 'Docker schema 2', async () => {
      await pushSample(check, probe, 'docker');
      return 'taken';
    }),
    await finding('registry', 'large bodies', () => pushLarge(check, probe)),
    await finding('registry', 'referrers', () => checkReferrers(check, probe)),
    await finding('registry', 'delete', () => checkDelete(check, probe)),
    versions,
  ];
}

async function pushSample(
  { client, signal }: RegistryCheck,
  probe: RepositoryClient,
  shape: Shape,
): Promise<Descriptor> {
  const sample = sampleOf(shape);
  await explainingShape(client, shape, async () => {
    for (const { descriptor, bytes } of sample) await probe.push(descriptor, openerOf(bytes), signal);
    if (shape === 'referrer') await requireListed(probe, sample, signal);
  });
  const last = sample.at(-1)?.descriptor;
  if (last === undefined || !isManifestType(last.mediaType)) {
    throw new CodedError('INTERNAL', `the sample of ${shape} ends with no manifest`);
  }
  return last;
}

/** A body of zeros, pushed whole: a proxy that limits bodies shows by its 413. */
async function pushLarge(
  { statuses, signal }: RegistryCheck,
  probe: RepositoryClient,
): Promise<string | { readonly note: string }> {
  const hasher = new Hasher();
  for await (const chunk of zeros(0)) hasher.update(chunk);
  const blob = { mediaType: MediaType.octetStream, digest: hasher.finish(), size: bodyBytes };
  const before = statuses().length;
  await probe.push(blob, (offset = 0) => zeros(offset), signal);
  const isLimited = statuses().slice(before).includes(413);
  await probe.remove(blob, signal).catch(() => false);
  return isLimited
    ? {
        note: 'a proxy refuses bodies of 48 MiB (413): load sends smaller chunks instead, slower; raise its limit (nginx: client_max_body_size 0)',
      }
    : '48 MiB in one body';
}

async function* zeros(offset: number): Bytes {
  for (let left = bodyBytes - offset; left > 0; ) {
    const chunk = Buffer.alloc(Math.min(1024 * 1024, left));
    left -= chunk.byteLength;
    yield chunk;
  }
}

async function checkReferrers(check: RegistryCheck, probe: RepositoryClient): Promise<string> {
  await pushSample(check, probe, 'referrer');
  return 'listed';
}

async function checkDelete(
  check: RegistryCheck,
  probe: RepositoryClient,
): Promise<string | { readonly note: string }> {
  const { signal } = check;
  const manifest = await pushSample(check, probe, 'artifact');
  try {
    if (await probe.remove(manifest, signal)) return 'allowed';
  } catch (error) {
    if (!isCoded(error, 'DENIED', 'UPSTREAM')) throw error;
  }
  return { note: 'not allowed; load needs none, only what is old stays until the registry cleans up itself' };
}

/** @param records of load: none before the first load, when nothing can be expected yet @throws NOT_FOUND */
async function kubernetesVersions(
  kubelet: RepositoryClient,
  records: RepositoryClient,
  signal?: AbortSignal,
): Promise<string | { readonly note: string }> {
  const tags = (await tagsOf(kubelet, signal)).filter((tag) => /^v?[0-9]/.test(tag));
  if (tags.length > 0) return `${tags.length} Kubernetes version(s), ${tags.at(-1)} among them`;
  const what = `${kubelet.registry}/${kubelet.path} has no versions`;
  if ((await tagsOf(records, signal)).length === 0)
    return { note: `${what}, and nothing was loaded here yet; check again after load` };
  throw new CodedError(
    'NOT_FOUND',
    `${what}: Omni would offer no Kubernetes and no Talos either; carry kubernetes.versions in mirror.yaml`,
  );
}

export async function tagsOf(repository: RepositoryClient, signal?: AbortSignal): Promise<readonly string[]> {
  const tags: string[] = [];
  try {
    for await (const tag of repository.tags(signal)) tags.push(tag);
  } catch (error) {
    if (!isCoded(error, 'NOT_FOUND')) throw error;
  }
  return tags;
}

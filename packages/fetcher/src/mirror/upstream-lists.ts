/**
 * Where upstream lists versions: the Image Factory those of Talos, repositories of images theirs as tags. Omni offers the
 * Kubernetes versions of the kubelet's repository, so that list decides on Kubernetes.
 */
import { CodedError } from '@omni-airgap/oci/base';
import type { Digest } from '@omni-airgap/oci/model';
import { type Network, type NetworkSettings, openNetwork } from '@omni-airgap/oci/registry';
import { type EgressHost, egressHosts, hostPattern, isVersion, publicFactoryHost } from '@omni-airgap/talos';
import pLimit from 'p-limit';
import { FactoryClient, type FactoryOptions } from '../factory/client.ts';
import { allVersions } from '../factory/lists.ts';
import { hostOfList, talosList } from './version-range.ts';

/** ghcr.io lists some thousand tags of the kubelet, most of them signatures. */
const maxTags = 200_000;
const listsAtOnce = 8;

/** What may be reached to read the lists. */
function hostsOfLists(lists: readonly string[]): readonly EgressHost[] {
  const registries = lists.map(hostOfList);
  return egressHosts({ ghcr: false, factory: false, registries });
}

/** Where requests are recorded, who is told of retries and of what registries do wrong, and what ends it. */
type Scope = Pick<Parameters<typeof openNetwork>[1], 'egressLog' | 'onRetry' | 'onNote'> & {
  readonly signal?: AbortSignal | undefined;
};

/** Reads each list once. */
export class UpstreamLists {
  readonly #network: Network;
  readonly #scope: Scope;
  readonly #limit = pLimit(listsAtOnce);
  readonly #read = new Map<string, Promise<readonly string[]>>();

  private constructor(network: Network, scope: Scope) {
    this.#network = network;
    this.#scope = scope;
  }

  /** Opens the way to these lists and repositories and to nothing else, for one piece of work. */
  static async use<T>(
    lists: readonly string[],
    settings: NetworkSettings,
    scope: Scope,
    work: (upstream: UpstreamLists) => Promise<T>,
  ): Promise<T> {
    const { signal: _, ...rest } = scope;
    const network = await openNetwork(settings, {
      ...rest,
      hosts: hostsOfLists(lists).map(hostPattern),
      allowPrivate: false,
      connections: listsAtOnce,
    });
    try {
      return await work(new UpstreamLists(network, scope));
    } finally {
      await network.close();
    }
  }

  /**
   * The versions of a list, with pre-releases, in upstream's order; of tags, those that are versions.
   * @throws NOT_FOUND, UPSTREAM, NETWORK, DENIED, EGRESS_DENIED
   */
  versions(list: string): Promise<readonly string[]> {
    const reading = this.#read.get(list) ?? this.#limit(() => this.#versions(list));
    this.#read.set(list, reading);
    return reading;
  }

  /**
   * What a tag stands for now, of a repository among the lists.
   * @returns undefined when upstream does not have it any more
   * @throws UPSTREAM, NETWORK, DENIED, EGRESS_DENIED
   */
  digest(registry: string, repository: string, tag: string): Promise<Digest | undefined> {
    return this.#limit(async () => {
      const source = this.#network.registry(registry).repository(repository);
      return (await source.resolve(tag, this.#scope.signal))?.digest;
    });
  }

  async #versions(list: string): Promise<readonly string[]> {
    const { signal, onRetry } = this.#scope;
    if (list === talosList) {
      const { gate } = this.#network;
      const host = publicFactoryHost;
      const retry: FactoryOptions['retry'] = {
        onRetry: (error, attempt, waitMs) => onRetry?.(error, attempt, waitMs, host),
      };
      const factory = new FactoryClient({ gate, host, signal, retry });
      return (await allVersions(factory)).filter(isVersion);
    }
    const host = hostOfList(list);
    const repository = this.#network.registry(host).repository(list.slice(host.length + 1));
    const found: string[] = [];
    let seen = 0;
    for await (const tag of repository.tags(signal)) {
      if (++seen > maxTags) throw new CodedError('UPSTREAM', `${list}: more than ${maxTags} tags`);
      if (isVersion(tag)) found.push(tag);
    }
    return found;
  }
}

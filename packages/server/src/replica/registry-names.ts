/**
 * Names of clients and repositories of the registry behind. Clients name images as at a server with a bundle: with or without
 * the host that an image came from. `load` put them below the prefix, without the host or with `--keep-host`.
 */
import { isRepository } from '@omni-airgap/oci/model';
import { otherInstallerName } from '../registry/installers.ts';

/** Where machines and Kubernetes pull from: asked in turn for a name without a host, where hosts were kept. */
const commonHosts = ['ghcr.io', 'registry.k8s.io', 'factory.talos.dev', 'docker.io', 'gcr.io', 'quay.io'];
/** Repositories of this program's own, which no client pulls from. */
const ownFolder = 'omni-airgap/';

export interface RegistryPlace {
  /** Host with port, if any. */
  readonly host: string;
  /** Path in front of every repository, or empty. */
  readonly prefix: string;
  /** Whether `load --keep-host` kept hosts in the paths. */
  readonly keepHost: boolean;
}

export class RegistryNames {
  readonly #place: RegistryPlace;

  constructor(place: RegistryPlace) {
    this.#place = place;
  }

  /** Repository that `load` gives a name with its host, or that this server keeps something in. */
  below(path: string): string {
    const { prefix } = this.#place;
    return prefix === '' ? path : `${prefix}/${path}`;
  }

  /** @param host the registry that content came from @param path below it */
  loaded(host: string, path: string): string {
    // A port has no place in a repository name.
    return this.below(this.#place.keepHost ? `${host.replaceAll(':', '-')}/${path}` : path);
  }

  /**
   * Repositories that a client may mean, the likeliest first; none for a name that is never served.
   * @param ns the registry that a mirror is asked in place of
   */
  candidates(path: string, ns: string | null): readonly string[] {
    const { prefix } = this.#place;
    const paths = [path];
    // The registry's own name for it, as the hand-off's mirrors have it for the registry itself.
    if (prefix !== '' && path.startsWith(`${prefix}/`)) paths.push(path.slice(prefix.length + 1));
    const all = paths.flatMap((one) => {
      const other = otherInstallerName(one);
      return [...this.#placesOf(one, ns), ...(other === undefined ? [] : this.#placesOf(other, ns))];
    });
    return [...new Set(all)].filter(isRepository);
  }

  /** What clients call a repository; undefined for one that is not theirs to pull from. */
  shown(repository: string): string | undefined {
    const { prefix } = this.#place;
    if (prefix !== '' && !repository.startsWith(`${prefix}/`)) return undefined;
    const path = prefix === '' ? repository : repository.slice(prefix.length + 1);
    return path.startsWith(ownFolder) ? undefined : path;
  }

  #placesOf(path: string, ns: string | null): readonly string[] {
    if (path.startsWith(ownFolder)) return [];
    const [first = '', ...rest] = path.split('/');
    const hasHost = first.includes('.') && rest.length > 0;
    if (!this.#place.keepHost) {
      return [...(hasHost ? [this.below(rest.join('/'))] : []), this.below(path)];
    }
    if (hasHost) return [this.below(path)];
    const hosts = ns === null ? commonHosts : [ns];
    return [...hosts.map((host) => this.loaded(host, path)), this.below(path)];
  }
}

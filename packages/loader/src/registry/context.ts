/** One load into one registry: what all its steps share. */
import type { Progress } from '@omni-airgap/oci';
import type { RegistryClient, RepositoryClient } from '@omni-airgap/oci/registry';
import type { LoadSource } from '../source.ts';
import type { RegistryTarget } from '../target-names.ts';
import { SiteSource } from './site-source.ts';

export interface RegistryContext {
  readonly bundles: LoadSource;
  /** The bundles, and what they rely on that lies in this registry. */
  readonly source: SiteSource;
  readonly client: RegistryClient;
  readonly target: RegistryTarget;
  readonly progress: Progress;
  readonly signal?: AbortSignal;
  /** The same client for the same path: it remembers manifests for the tags that follow. */
  repository(path: string): RepositoryClient;
}

export function registryContext(
  parts: Omit<RegistryContext, 'repository' | 'source'> & { readonly keepHost: boolean },
): RegistryContext {
  const { keepHost, ...rest } = parts;
  const repositories = new Map<string, RepositoryClient>();
  const repository = (path: string): RepositoryClient => {
    const known = repositories.get(path) ?? parts.client.repository(path);
    repositories.set(path, known);
    return known;
  };
  const source = new SiteSource(parts.bundles, parts.target.prefix, keepHost, repository);
  return { ...rest, source, repository };
}

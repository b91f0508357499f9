/**
 * The repositories, in byte order, in pages. A carried one is listed without its host, unless it is only found with it.
 * No part of the distribution specification, but what clients list a registry by.
 * Source: distribution/distribution v2.8 docs/spec/api.md, "Listing Repositories".
 */
import { byText } from '@omni-airgap/oci/base';
import type { Answer, Request } from '../http/message.ts';
import type { Catalog } from './catalog.ts';
import { pageOf } from './page.ts';

export function listRepositories(catalog: Catalog, request: Request): Answer {
  const paths = [...catalog.paths()].filter((path) => !isTwin(catalog, path)).sort(byText);
  return pageOf(request, '/v2/_catalog', paths, (repositories) => ({ repositories }));
}

/** All its tags are found without its first component, a registry host, too. */
function isTwin(catalog: Catalog, path: string): boolean {
  const tags = catalog.repository(path)?.tags ?? new Map();
  const host = path.slice(0, path.indexOf('/'));
  const withoutHost = catalog.repository(path.slice(host.length + 1));
  if (!host.includes('.') || withoutHost === undefined) return false;
  return [...tags].every(([tag, { digest }]) => withoutHost.tags.get(tag)?.digest === digest);
}

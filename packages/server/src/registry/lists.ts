/**
 * The lists of the registry: repositories, tags, referrers.
 * Source: distribution-spec v1.1.1 spec.md#listing-tags, #listing-referrers.
 */

import { byText } from '@omni-airgap/oci/base';
import { isDigest, MediaType } from '@omni-airgap/oci/model';
import type { Answer, Request } from '../http/message.ts';
import type { Catalog } from './catalog.ts';
import { askedFor, type Images } from './images.ts';
import { isOtherDigest, refuse, registryHeaders } from './refusal.ts';

/**
 * One page of a sorted list of names, by the parameters `n` and `last`, with a link to the next.
 * @param path of the list, for the link
 * @param names all of them, in byte order
 * @param body what holds a page of the names
 */
function pageOf(
  { query }: Request,
  path: string,
  names: Iterable<string>,
  body: (names: readonly string[]) => object,
): Answer {
  const n = query.get('n');
  if (n !== null && !/^[0-9]{1,9}$/.test(n)) return refuse('UNSUPPORTED', 'n must be a whole number', 400);
  const last = query.get('last') ?? '';
  const after = [...names].filter((name) => name > last);
  const page = n === null ? after : after.slice(0, Number(n));
  const end = page.at(-1);
  const more = page.length < after.length && end !== undefined;
  const next = `${path}?${new URLSearchParams({ n: n ?? '', last: end ?? '' })}`;
  return {
    status: 200,
    headers: {
      ...registryHeaders,
      'Content-Type': 'application/json',
      ...(more ? { Link: `<${next}>; rel="next"` } : {}),
    },
    body: JSON.stringify(body(page)),
  };
}

/** The repositories, in byte order. A carried one is listed without its host, unless it is only found with it. */
export function listedPaths(catalog: Catalog): readonly string[] {
  return [...catalog.paths()].filter((path) => !isTwin(catalog, path)).sort(byText);
}

/**
 * The repositories in pages. No part of the distribution specification, but what clients list a registry by.
 * Source: distribution/distribution v2.8 docs/spec/api.md, "Listing Repositories".
 */
export async function listRepositories(images: Images, request: Request): Promise<Answer> {
  const paths = await images.repositories(request.signal);
  if (paths === 'not offered') {
    return refuse('UNSUPPORTED', 'the registry behind this server does not list its repositories', 404);
  }
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

/** The tags of a repository, in byte order, in pages. */
export async function listTags(images: Images, repository: string, request: Request): Promise<Answer> {
  const found = await images.tags(askedFor(repository, request));
  if (found === 'no repository') return refuse('NAME_UNKNOWN', `no repository ${repository}`);
  return pageOf(request, `/v2/${repository}/tags/list`, found, (tags) => ({
    name: repository,
    tags,
  }));
}

/**
 * What refers to a manifest: signatures, attestations, SBOMs.
 * Never 404 for a well-formed digest: clients would take that for a registry without this API.
 */
export async function listReferrers(
  images: Images,
  repository: string,
  reference: string,
  request: Request,
): Promise<Answer> {
  if (!isDigest(reference) && !isOtherDigest(reference)) {
    return refuse('DIGEST_INVALID', `not a digest: ${reference}`);
  }
  const all = isDigest(reference) ? await images.referrers(askedFor(repository, request), reference) : [];
  const artifactType = request.query.get('artifactType');
  const manifests = artifactType === null ? all : all.filter((d) => d.artifactType === artifactType);
  return {
    status: 200,
    headers: {
      ...registryHeaders,
      'Content-Type': MediaType.ociIndex,
      ...(artifactType === null ? {} : { 'OCI-Filters-Applied': 'artifactType' }),
    },
    body: JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests }),
  };
}

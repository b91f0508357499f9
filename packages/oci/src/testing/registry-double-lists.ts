/** What a registry double lists: tags and referrers, in pages. */
import { MediaType } from '../model/media-type.ts';
import type { RepositoryDouble } from './registry-double-content.ts';
import type { Answer } from './registry-double-faults.ts';

interface Listing {
  readonly path: string;
  readonly query: URLSearchParams;
  /** Entries in a page; undefined for all. */
  readonly pageSize: number | undefined;
}

export function listTags(repository: RepositoryDouble, { path, query, pageSize }: Listing): Answer {
  const last = query.get('last') ?? '';
  const all = [...repository.tags.keys()].sort().filter((tag) => tag > last);
  const page = all.slice(0, pageSize ?? all.length);
  const more = page.length < all.length;
  return {
    status: 200,
    headers: {
      'content-type': 'application/json',
      ...(more ? { link: `</v2/${path}/tags/list?last=${page.at(-1)}>; rel="next"` } : {}),
    },
    body: JSON.stringify({ name: path, tags: page }),
  };
}

export function listReferrers(
  repository: RepositoryDouble | undefined,
  digest: string,
  { path, query, pageSize }: Listing,
): Answer {
  const start = Number(query.get('start') ?? 0);
  const type = query.get('artifactType');
  const all = (repository?.referrersOf(digest) ?? [])
    .filter(({ artifactType }) => type === null || artifactType === type)
    .slice(start);
  const page = all.slice(0, pageSize ?? all.length);
  const next = `</v2/${path}/referrers/${digest}?start=${start + page.length}>; rel="next"`;
  return {
    status: 200,
    headers: {
      'content-type': MediaType.ociIndex,
      ...(type === null ? {} : { 'oci-filters-applied': 'artifactType' }),
      ...(page.length < all.length ? { link: next } : {}),
    },
    body: JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests: page }),
  };
}

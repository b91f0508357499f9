/**
 * Lists of names, page by page: the tags of a repository, the repositories of a registry.
 * Sources: distribution-spec v1.1.1 spec.md#listing-tags; distribution/distribution v2.8 docs/spec/api.md, "Listing
 * Repositories".
 */
import { CodedError } from '../base/errors.ts';
import { printable } from '../base/text.ts';
import type { GateResponse } from '../http/response.ts';
import { isRepository, isTag } from '../model/reference.ts';
import type { RegistrySession, RepositoryView } from './session.ts';

/** Pages followed; at the page size we ask for a million names. */
const maxPages = 1000;
const pageSize = 1000;
const maxPageBytes = 4 * 1024 * 1024;

/** @throws NOT_FOUND for a repository that does not exist; UPSTREAM, EGRESS_DENIED */
export async function* listTags(
  repository: RepositoryView,
  signal: AbortSignal | undefined,
): AsyncIterable<string> {
  const doing = 'list tags';
  yield* namesOf(repository.registry, {
    what: `tags of ${repository.name}`,
    start: repository.url(`tags/list?n=${pageSize}`),
    key: 'tags',
    isName: isTag,
    ask: async (at) => {
      const response = await repository.request({ method: 'GET', at, doing, signal });
      if (response.status !== 200) throw await repository.error(response, doing);
      return response;
    },
  });
}

/** Paths of the repositories that the registry shows. @throws DENIED, NOT_FOUND and UPSTREAM where it lists none */
export async function* listRepositories(
  registry: RegistrySession,
  signal: AbortSignal | undefined,
): AsyncIterable<string> {
  const what = `repositories of ${registry.host}`;
  yield* namesOf(registry, {
    what,
    start: new URL(`/v2/_catalog?n=${pageSize}`, registry.origin),
    key: 'repositories',
    isName: isRepository,
    ask: async (url) => {
      const scopes = ['registry:catalog:*'];
      const response = await registry.request({ method: 'GET', url, what, repository: '', scopes, signal });
      if (response.status !== 200) throw await registry.error(response, what, '');
      return response;
    },
  });
}

interface NameList {
  /** For messages. */
  readonly what: string;
  readonly start: URL;
  /** Member of the answer that holds the names. */
  readonly key: 'tags' | 'repositories';
  readonly isName: (text: string) => boolean;
  readonly ask: (page: URL) => Promise<GateResponse>;
}

async function* namesOf(
  registry: RegistrySession,
  { what, start, key, isName, ask }: NameList,
): AsyncIterable<string> {
  let at: URL | undefined = start;
  for (let page = 1; at !== undefined; page++) {
    if (page > maxPages) throw new CodedError('UPSTREAM', `${what}: more than ${maxPages} pages`);
    const response = await ask(at);
    // Distribution says null for a repository whose tags were all deleted.
    const names = (await response.json(what, maxPageBytes))[key] ?? [];
    if (!Array.isArray(names)) throw new CodedError('UPSTREAM', `${what}: ${key} must be a list`);
    for (const name of names) {
      if (typeof name !== 'string' || !isName(name)) {
        throw new CodedError('UPSTREAM', `${what}: not a name: ${printable(String(name))}`);
      }
      yield name;
    }
    at = registry.nextPage(response, what);
  }
}

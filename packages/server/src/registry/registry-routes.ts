/**
 * The registry's paths. A repository name has any number of components, so paths are matched from their end.
 * Source: distribution-spec v1.1.1 spec.md#endpoints.
 */

import { isRepository } from '@omni-airgap/oci/model';
import type { Access } from '../access/access.ts';
import { type Action, catalogScope } from '../access/scope.ts';
import type { Answer, Method, Methods, RouteGroup } from '../http/message.ts';
import { type Blobs, blobMethods } from './blobs.ts';
import type { Images } from './images.ts';
import { listReferrers, listRepositories, listTags } from './lists.ts';
import { manifestMethods, type OnMissing, type PushOptions } from './manifests.ts';
import { refuse, refuseError, registryHeaders } from './refusal.ts';
import { beginMethods, type Uploads, uploadMethods } from './uploads.ts';

export interface RegistryOptions {
  readonly images: Images;
  /** Where pushes go, and those under way. */
  readonly push?: (PushOptions & { readonly uploads: Uploads; readonly blobs: Blobs }) | undefined;
  /** What those who push are told where nothing takes pushes. */
  readonly readOnly: string;
  /** Left out: anyone may do everything. */
  readonly access?: Access | undefined;
  readonly onMissing?: OnMissing | undefined;
}

export function registryRoutes(options: RegistryOptions): RouteGroup {
  const { images, push, readOnly, access, onMissing } = options;
  const manifests = { images, push, onMissing };

  const endpoint = (rest: readonly string[]): Methods | undefined => {
    const [c = '', b = '', a = ''] = [rest.at(-1), rest.at(-2), rest.at(-3)];
    const named = (
      count: number,
      methods: (repository: string) => Methods,
      actionsOf: (method: Method) => readonly Action[] = usualActions,
    ): Methods => {
      const name = rest.slice(0, -count).join('/');
      if (!isRepository(name)) return badName;
      const scopeOf = (method: Method) => ({ type: 'repository', name, actions: actionsOf(method) }) as const;
      return access?.registry(methods(name), scopeOf) ?? methods(name);
    };
    if (a === 'blobs' && b === 'uploads') {
      const methods = (repository: string): Methods => {
        if (push === undefined) return {};
        return c === ''
          ? beginMethods(push.uploads, push.blobs, repository)
          : uploadMethods(push.uploads, repository, c);
      };
      return named(3, methods, () => pushing);
    }
    if (b === 'manifests') {
      return named(2, (repository) => manifestMethods(manifests, repository, c));
    }
    if (b === 'blobs') {
      // Some clients leave out the slash at the end.
      if (c === 'uploads' && push !== undefined) {
        return named(2, (repository) => beginMethods(push.uploads, push.blobs, repository));
      }
      return named(2, (repository) => blobMethods(images, repository, c));
    }
    if (b === 'tags' && c === 'list') {
      return named(2, (repository) => ({ GET: (request) => listTags(images, repository, request) }));
    }
    if (b === 'referrers') {
      return named(2, (repository) => ({
        GET: (request) => listReferrers(images, repository, c, request),
      }));
    }
    return undefined;
  };

  return {
    match(segments) {
      const [first, ...rest] = segments;
      if (first !== 'v2') return undefined;
      if (rest.length === 0 || (rest.length === 1 && rest[0] === '')) {
        return access?.registry({ GET: ping }, () => undefined) ?? { GET: ping };
      }
      if (rest.length === 1 && rest[0] === '_catalog') {
        const methods: Methods = { GET: (request) => listRepositories(images, request) };
        return access?.registry(methods, () => catalogScope) ?? methods;
      }
      return endpoint(rest) ?? unknown;
    },
    routeOf: ([, ...rest]) => routeOf(rest),
    methodNotAllowed: (method) =>
      refuse('UNSUPPORTED', `${method} is not possible here${push ? '' : `: ${readOnly}`}`),
    failed: refuseError,
  };
}

const pushing = ['pull', 'push'] as const;

/** Source: distribution v2.8 docs/spec/auth/scope.md, and what its registry asks for. */
function usualActions(method: Method): readonly Action[] {
  if (method === 'DELETE') return ['delete'];
  return method === 'GET' || method === 'HEAD' ? ['pull'] : pushing;
}

/** @param rest the path below /v2 */
function routeOf(rest: readonly string[]): string {
  const [b = '', a = ''] = [rest.at(-2), rest.at(-3)];
  if (rest.length < 2) return rest[0] === '_catalog' ? 'catalog' : 'ping';
  if (b === 'uploads' || (a === 'blobs' && b === 'uploads')) return 'upload';
  if (b === 'blobs') return rest.at(-1) === 'uploads' ? 'upload' : 'blob';
  const classes: Readonly<Record<string, string>> = {
    manifests: 'manifest',
    tags: 'tags',
    referrers: 'referrers',
  };
  return Object.hasOwn(classes, b) ? (classes[b] ?? 'none') : 'none';
}

function ping(): Answer {
  return { status: 200, headers: { ...registryHeaders, 'Content-Type': 'application/json' }, body: '{}' };
}

const always = (answer: Answer): Methods => {
  const handler = (): Answer => answer;
  return { GET: handler, POST: handler, PUT: handler, PATCH: handler, DELETE: handler };
};
const badName = always(refuse('NAME_INVALID', 'a repository name is lower-case components between slashes'));
const unknown = always(refuse('UNSUPPORTED', 'no endpoint of the distribution specification', 404));

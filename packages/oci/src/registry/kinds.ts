/**
 * Kinds of registries, as data: how each is recognized by what it answers, and what each refuses, with the remedy. Where
 * the kind is not known, an entry applies by the registry's words alone: a remedy is given for its own cause or not at all.
 * The table in docs/loading.md is compared with this one.
 */
import type { GateResponse } from '../http/response.ts';

/** What a registry may refuse: rights, tags, reading back, and kinds of content. */
export type Refused =
  /** Any request: what its status says alone. */
  | 'request'
  /** To begin an upload, or to store something. */
  | 'push'
  /** To let a tag stand for a manifest that it has. */
  | 'tag'
  /** To give what it has. */
  | 'pull'
  /** To delete a manifest by its digest. */
  | 'delete'
  | 'image'
  | 'docker'
  | 'artifact'
  | 'index'
  | 'mixed'
  | 'sparse'
  | 'referrer';

/** One thing that a kind of registry refuses. */
export interface RegistryRefusal {
  readonly what: Refused;
  /** For people: `Docker schema 2 manifests`. */
  readonly refuses: string;
  /** Statuses of the answer; any when left out. */
  readonly statuses?: readonly number[];
  /** Found in what the registry says. Needed where the kind cannot be recognized. */
  readonly says?: RegExp;
  readonly remedy: string;
  /** Where this is known from: repository or page, with version or date. */
  readonly source: string;
}

/** A kind of registry. */
export interface RegistryKind {
  /** As configuration files name it. */
  readonly id: string;
  readonly name: string;
  /** By which it is recognized, each enough by itself; none where it answers like others. */
  readonly signs: readonly Sign[];
  readonly refuses: readonly RegistryRefusal[];
  /** How space is reclaimed after manifests were deleted; undefined where nothing is known. */
  readonly reclaims?: Reclaiming;
}

/** How a kind of registry frees the space of content that no manifest needs any more. */
export interface Reclaiming {
  /** For people, a sentence without its end: what it does, or what an operator runs. */
  readonly how: string;
  /** As of a refusal. */
  readonly source: string;
}

/** A host, or a header of an answer, and what is found in it. */
type Sign = readonly [
  where: 'host' | 'server' | 'www-authenticate' | `x-${string}` | `gitlab-${string}`,
  says: RegExp,
];

const belowProject = (name: string): string => `load below it with --registry HOST/${name}`;

/** The kinds that are known. */
export const registryKinds: readonly RegistryKind[] = [
  {
    id: 'distribution',
    name: 'Distribution',
    signs: [],
    reclaims: {
      how: 'run registry garbage-collect CONFIG while nothing is pushed (storage.maintenance.readonly, or stopped), without --delete-untagged, then restart it: its cache still lists what is gone',
      source: 'distribution/distribution v2.8.3 and v3.0.0 docs: about/garbage-collection',
    },
    refuses: [
      {
        what: 'delete',
        refuses: 'deletions, unless they are switched on',
        statuses: [405],
        says: /UNSUPPORTED/,
        remedy:
          'on Distribution set storage.delete.enabled: true (REGISTRY_STORAGE_DELETE_ENABLED=true) and restart it; olareg needs --api-delete',
        source:
          'distribution/distribution v2.8.3 and v3.0.0 docs: about/configuration; run with 2.8.2 and olareg 0.2.2',
      },
      {
        what: 'push',
        refuses: 'pushes, when it is read-only or a cache',
        statuses: [405],
        says: /UNSUPPORTED/,
        remedy:
          'it is read-only (storage.maintenance.readonly) or a cache of another registry (proxy.remoteurl): change that in its configuration, or use another registry',
        source: 'distribution/distribution v2.8.3 and v3.0.0 docs: about/configuration',
      },
      {
        what: 'push',
        refuses: 'pushes, when its disk is full',
        statuses: [500],
        says: /UNKNOWN/,
        remedy: 'the log of the registry has the reason; its disk may be full',
        source: 'seen on v3.0.0 with a full tmpfs, 2026-11',
      },
      {
        what: 'sparse',
        refuses: 'an index of which only some platforms are carried',
        says: /MANIFEST_(?:BLOB_)?UNKNOWN|MANIFEST_INVALID/,
        remedy: 'on Distribution 3 set validation.manifests.indexes.platforms: none; 2.8 has no such setting',
        source: 'distribution/distribution v3.0.0 docs: about/configuration; run with 2.8.2 and 3.0.0',
      },
    ],
  },
  {
    id: 'zot',
    name: 'zot',
    signs: [],
    reclaims: {
      how: 'it frees space by itself, an hour after a deletion at the earliest (storage.gc, gcDelay, gcInterval)',
      source: 'project-zot/zot v2.1.20 pkg/storage/constants',
    },
    refuses: [
      {
        what: 'delete',
        refuses: 'deletions without the right to delete',
        statuses: [403],
        says: /DENIED/,
        remedy: 'on zot give this user the action delete in http.accessControl',
        source: 'project-zot/zot v2.1.20 examples/README.md, "Access Control"',
      },
      {
        what: 'docker',
        refuses: 'Docker schema 2 manifests',
        says: /MANIFEST_INVALID/,
        remedy: 'on zot set "http": {"compat": ["docker2s2"]} in its configuration',
        source: 'project-zot/zot v2.1.2 and newer, examples/README.md; issues 724, 2714, 4290',
      },
    ],
  },
  {
    id: 'olareg',
    name: 'olareg',
    signs: [],
    reclaims: {
      how: 'it frees space by itself, an hour after a deletion at the earliest (--gc-frequency, --gc-grace-period)',
      source: 'olareg/olareg v0.2.2 cmd/olareg/serve.go',
    },
    refuses: [],
  },
  {
    id: 'harbor',
    name: 'Harbor',
    signs: [['www-authenticate', /service="?harbor-registry"?/]],
    reclaims: {
      how: 'run Administration, Clean Up, Garbage Collection, GC Now; what was uploaded within 2 hours stays until the next run',
      source: 'goharbor.io docs 2.8: administration/garbage-collection',
    },
    refuses: [
      {
        what: 'delete',
        refuses: 'deletions without the right to delete, and of tags that a rule keeps',
        statuses: [401, 403, 412],
        remedy:
          'use an account with the role maintainer in the project, and let its tag immutability rules except these tags',
        source:
          'goharbor/harbor v2.11 docs: administration/managing-users/user-permissions-by-role; src/server/middleware/immutable',
      },
      {
        what: 'push',
        refuses: 'projects that do not exist, and names outside of a project',
        statuses: [401, 403, 404],
        remedy: `create the project; or use an existing one: ${belowProject('PROJECT')}`,
        source: 'goharbor/harbor v2.11 src/server/middleware; issue 20544',
      },
      {
        what: 'push',
        refuses: 'content above the quota of a project',
        statuses: [403, 412],
        says: /quota/i,
        remedy: 'raise the storage quota of the project',
        source: 'goharbor/harbor v2.11 src/server/middleware/quota',
      },
      {
        what: 'tag',
        refuses: 'to change a tag that a rule of the project keeps',
        statuses: [412],
        says: /immutable/i,
        remedy: 'let the tag immutability rules of the project except this tag',
        source: 'goharbor/harbor v2.11 src/server/middleware/immutable',
      },
      {
        what: 'pull',
        refuses: 'to give content that its project does not allow',
        statuses: [412],
        says: /PROJECTPOLICYVIOLATION/,
        remedy:
          'the project gives out signed or scanned images only: switch that off in its configuration, or sign with --resign-key and a key that the project knows',
        source: 'goharbor/harbor v2.11 src/server/middleware/{cosign,vulnerable}; kaniko issue 2838',
      },
      {
        what: 'artifact',
        refuses: 'OCI artifacts, before 2.8',
        remedy: 'use Harbor 2.8 or newer',
        source: 'goharbor/harbor v2.8.0 release notes',
      },
    ],
  },
  {
    id: 'quay',
    name: 'Quay',
    signs: [['www-authenticate', /realm="[^"]*\/v2\/auth"/]],
    reclaims: {
      how: 'it frees space by itself, once the time machine of the organization has expired',
      source: 'docs.redhat.com, "Red Hat Quay garbage collection", 3.11',
    },
    refuses: [
      {
        what: 'push',
        refuses: 'organizations that do not exist',
        statuses: [401, 403, 404],
        remedy: `create the organization; or use an existing one: ${belowProject('ORGANIZATION')}`,
        source: 'quay/quay v3.12 endpoints/v2',
      },
      {
        what: 'artifact',
        refuses: 'OCI artifacts, unless they are switched on',
        says: /MANIFEST_INVALID/,
        remedy: 'on Quay set FEATURE_GENERAL_OCI_SUPPORT: true',
        source: 'quay/quay v3.12 config-tool/docs',
      },
      {
        what: 'mixed',
        refuses: 'an OCI index with Docker images in it',
        says: /MANIFEST_INVALID/,
        remedy: 'Quay has no setting for this: use another registry for these images',
        source: 'quay/quay v3.12 image/oci/index.py; openshift/oc-mirror issue 253',
      },
    ],
  },
  {
    id: 'gitlab',
    name: 'GitLab',
    signs: [
      ['gitlab-container-registry-version', /./],
      ['www-authenticate', /realm="[^"]*\/jwt\/auth"/],
    ],
    reclaims: {
      how: 'with the metadata database it frees space by itself, after 24 hours; without, run gitlab-ctl registry-garbage-collect',
      source: 'docs.gitlab.com, "Reduce container registry storage", 17.5',
    },
    refuses: [
      {
        what: 'push',
        refuses: 'paths outside of a project, or too deep below it',
        statuses: [401, 403, 404],
        remedy: `names lie at most two levels below an existing project: ${belowProject('GROUP/PROJECT')}`,
        source: 'docs.gitlab.com, "Naming convention for your container images", 17.5',
      },
      {
        what: 'referrer',
        refuses: 'to list referrers: it takes the tag sha256-… for the image itself',
        remedy: 'use another registry for images that have referrers; .sig tags and --resign-key work',
        source: 'oras-project/oras-go issue 1396',
      },
    ],
  },
  {
    id: 'artifactory',
    name: 'Artifactory',
    signs: [
      ['x-jfrog-version', /./],
      ['x-artifactory-id', /./],
      ['www-authenticate', /realm="[^"]*\/artifactory\//],
    ],
    refuses: [
      {
        what: 'push',
        refuses: 'pushes outside of a local Docker repository',
        statuses: [400, 401, 403, 404, 405],
        remedy: `create a local Docker repository: ${belowProject('REPOSITORY-KEY')}`,
        source: 'jfrog.com/help, "Docker Registry", 7.98; jfrog/charts issue 908',
      },
    ],
  },
  {
    id: 'nexus',
    name: 'Nexus',
    signs: [
      ['server', /^Nexus\//],
      ['www-authenticate', /Sonatype Nexus Repository/],
    ],
    reclaims: {
      how: 'run the tasks "Docker - Delete unused manifests and images" and "Admin - Compact blob store"',
      source: 'help.sonatype.com, "Cleanup policies", 3.76',
    },
    refuses: [
      {
        what: 'push',
        refuses: 'pushes to proxy and group repositories',
        statuses: [401, 403, 404, 405],
        remedy: 'load to the connector (port) of a hosted Docker repository',
        source: 'help.sonatype.com, "Docker Registry", 3.76',
      },
      {
        what: 'tag',
        refuses: 'to change a tag, where redeploy is disabled',
        statuses: [400],
        says: /redeploy|allow updating/i,
        remedy: 'set the deployment policy of the repository to "Allow redeploy"',
        source: 'help.sonatype.com, "Hosted repositories", 3.76',
      },
    ],
  },
  {
    id: 'ecr',
    name: 'Amazon ECR',
    signs: [
      ['host', /\.dkr\.ecr[a-z-]*\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?$/],
      ['www-authenticate', /service="ecr\.amazonaws\.com"/],
    ],
    refuses: [
      {
        what: 'push',
        refuses: 'repositories that do not exist',
        statuses: [404],
        remedy: 'create each repository, or a repository creation template for pushes',
        source: 'docs.aws.amazon.com AmazonECR userguide, repository-create, 2025',
      },
      {
        what: 'tag',
        refuses: 'to change a tag, where tags are immutable',
        statuses: [400],
        says: /immutable/i,
        remedy: 'set the tag mutability of the repository to MUTABLE',
        source: 'docs.aws.amazon.com AmazonECR userguide, image-tag-mutability, 2025',
      },
    ],
  },
  {
    id: 'ghcr',
    name: 'GHCR',
    signs: [
      ['host', /^ghcr\.io$/],
      ['www-authenticate', /service="ghcr\.io"/],
    ],
    refuses: [
      {
        what: 'delete',
        refuses: 'deletions by the registry API',
        statuses: [405],
        remedy: 'delete package versions on github.com or by its API',
        source: 'fluxcd/pkg pull request 328',
      },
      {
        what: 'push',
        refuses: 'pushes with a token that may only read',
        statuses: [401, 403],
        remedy: 'log in with a token that has write:packages',
        source: 'docs.github.com, "Working with the Container registry", 2025',
      },
    ],
  },
  {
    id: 'gitea',
    name: 'Gitea',
    signs: [['www-authenticate', /realm="[^"]*\/v2\/token",service="container_registry"/]],
    refuses: [
      {
        what: 'push',
        refuses: 'names that do not begin with a user or an organization',
        statuses: [401, 403, 404],
        remedy: `create the organization; or use an existing one: ${belowProject('OWNER')}`,
        source: 'docs.gitea.com usage/packages/container, 1.22',
      },
    ],
  },
  {
    id: 'serve',
    name: 'omni-airgap serve',
    signs: [],
    reclaims: {
      how: 'it frees space by itself after its grace period, by default 24 hours (serve --writable --grace-period); while it is stopped, gc --store DIR --grace-period 0s does so at once',
      source: 'docs/serving.md',
    },
    refuses: [],
  },
];

/** What any registry or proxy means by a status, where no entry of a kind fits better. */
const byStatus: ReadonlyMap<number, string> = new Map([
  ...[301, 302, 303, 307, 308].map(
    (status) => [status, 'load to the address that it redirects to, with --registry'] as const,
  ),
  [405, 'it takes no pushes: it is read-only, or a cache of another registry'],
  [413, 'a proxy in front of it limits the size of bodies: raise that (nginx: client_max_body_size 0)'],
]);

/** The kind of registry that an answer is of; undefined when it could be any. */
export function kindOf(host: string, headers: GateResponse['headers']): RegistryKind | undefined {
  const isSeen = ([where, says]: Sign): boolean =>
    says.test((where === 'host' ? host : headers[where]) ?? '');
  return registryKinds.find(({ signs }) => signs.some(isSeen));
}

/** What an answer says, as an error has it. */
interface RefusalAnswer {
  readonly status?: number | undefined;
  readonly message: string;
}

/**
 * What to do about a refusal.
 * @param kind of the registry, when it is known
 * @returns undefined where nothing is known that fits the answer: then its words must do
 */
export function remedyFor(
  kind: RegistryKind | undefined,
  what: Refused,
  { status, message }: RefusalAnswer,
): string | undefined {
  const fits = ({ what: one, statuses, says }: RegistryRefusal): boolean =>
    one === what &&
    (statuses === undefined || (status !== undefined && statuses.includes(status))) &&
    (says === undefined ? kind !== undefined : says.test(message));
  const kinds = kind === undefined ? registryKinds : [kind];
  const found = kinds.flatMap(({ refuses }) => refuses.filter(fits)).map(({ remedy }) => remedy);
  if (found.length > 0) return found.join('; ');
  return what === 'push' || what === 'request' ? byStatus.get(status ?? 0) : undefined;
}

/**
 * How space is freed after deletions, by name of the kind.
 * @param kind of the registry; where it is not known, all kinds that do not show themselves
 */
export function reclaimingOf(kind: RegistryKind | undefined): ReadonlyMap<string, Reclaiming> {
  const kinds = kind === undefined ? registryKinds.filter(({ signs }) => signs.length === 0) : [kind];
  return new Map(kinds.flatMap(({ name, reclaims }) => (reclaims === undefined ? [] : [[name, reclaims]])));
}

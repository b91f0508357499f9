/**
 * What registries of the field do not take, as options of a registry double. Each knows what its people have set up.
 * Sources: goharbor/harbor src/server/middleware; project-zot/zot docs on http.compat; quay/quay data/registry_model;
 * oras-project/oras-go issue 1396 (GitLab); docker/buildx issue 196 and jfrog/charts issue 908 (Artifactory).
 */
import { MediaType } from '../../model/media-type.ts';
import type { DoubleWrite, Refusal, RegistryDoubleOptions } from './double.ts';

const dockerTypes: readonly string[] = [MediaType.dockerManifest, MediaType.dockerList];
const signatureTag = /^sha256-([a-f0-9]{64})\.(?:sig|att|sbom)$/;
const unknownName: Refusal = { status: 404, code: 'NAME_UNKNOWN' };
const invalid: Refusal = { status: 415, code: 'MANIFEST_INVALID' };

interface LooseIndex {
  readonly artifactType?: string;
  readonly config?: { readonly mediaType: string };
  readonly manifests?: readonly { readonly mediaType: string }[];
  readonly subject?: { readonly digest: string };
}

const documentOf = ({ body }: DoubleWrite): LooseIndex => JSON.parse(body.toString()) as LooseIndex;

/** Wants a project for each first part of a path, and what a signature speaks about before the signature. */
export function harbor(projects: readonly string[]): RegistryDoubleOptions {
  return {
    refuses(write) {
      const [project = '', ...rest] = write.path.split('/');
      if (rest.length === 0 || !projects.includes(project)) return unknownName;
      if (write.kind !== 'manifest') return undefined;
      const hex = signatureTag.exec(write.name)?.[1];
      const subject = documentOf(write).subject?.digest;
      const held = [...write.repository.manifests.keys()];
      const isThere = (digest: string): boolean => held.includes(digest);
      const speaksOfNothing =
        (hex !== undefined && !isThere(`sha256:${hex}`)) || (subject !== undefined && !isThere(subject));
      return speaksOfNothing ? { status: 404, code: 'NOT_FOUND' } : undefined;
    },
  };
}

/** @param compatible its http.compat holds docker2s2 */
export function zot(compatible: boolean): RegistryDoubleOptions {
  return {
    refuses: ({ kind, mediaType }) =>
      kind === 'manifest' && !compatible && dockerTypes.includes(mediaType) ? invalid : undefined,
  };
}

/** @param artifacts FEATURE_GENERAL_OCI_SUPPORT is true */
export function quay(artifacts: boolean): RegistryDoubleOptions {
  return {
    referrersApi: false,
    refuses(write) {
      if (write.kind !== 'manifest') return undefined;
      const { manifests = [], artifactType, config } = documentOf(write);
      const isMixed =
        write.mediaType === MediaType.ociIndex &&
        manifests.some(({ mediaType }) => dockerTypes.includes(mediaType));
      const isArtifact = artifactType !== undefined || config?.mediaType === MediaType.empty;
      return isMixed || (isArtifact && !artifacts) ? invalid : undefined;
    },
  };
}

/**
 * Paths begin with a project and have at most two parts more. Reads the tag `sha256-<hex>` as the digest.
 * @param projects such as `infra/mirror`
 */
export function gitlab(projects: readonly string[]): RegistryDoubleOptions {
  return {
    referrersApi: false,
    digestTags: true,
    headers: { 'gitlab-container-registry-version': '4.9.0-gitlab' },
    refuses({ path }) {
      const project = projects.find((one) => path === one || path.startsWith(`${one}/`));
      const deeper = project === undefined ? 0 : path.split('/').length - project.split('/').length;
      return project === undefined || deeper > 2 ? { status: 403, code: 'DENIED' } : undefined;
    },
  };
}

/** Paths begin with the key of a repository; blobs are taken by PATCH alone. */
export function artifactory(keys: readonly string[]): RegistryDoubleOptions {
  return {
    headers: { 'x-jfrog-version': 'Artifactory/7.98.9 79809900' },
    refuses({ kind, path, body }) {
      if (!keys.includes(path.split('/')[0] ?? '')) return unknownName;
      return kind === 'blob' && body.byteLength > 0 ? { status: 404, code: 'BLOB_UNKNOWN' } : undefined;
    },
  };
}

/** Says of every manifest that it was stored under another digest than its own. */
export function lying(): RegistryDoubleOptions {
  const digest = `sha256:${'0'.repeat(64)}`;
  return {
    script: [
      { match: { method: 'PUT', path: /manifests/ }, do: { headers: { 'docker-content-digest': digest } } },
    ],
  };
}

/**
 * What would fail after gigabytes have moved, found before: rights and projects that are missing, and kinds of
 * content that the registry refuses. Rights are shown by an upload that is started and canceled in one repository of
 * each project; kinds of content by some hundred bytes in the repository `omni-airgap/probe`. Fault F41.
 */

import { CodedError, type ErrorCode, isCoded, messageOf, settleAll } from '@omni-airgap/oci/base';
import { isManifestType, openerOf } from '@omni-airgap/oci/model';
import type { RegistryClient, RepositoryClient } from '@omni-airgap/oci/registry';
import pLimit from 'p-limit';
import { belowPrefix } from '../names.ts';
import { type Sample, type Shape, sampleOf, shapes } from './capability-probe.ts';

export interface Preflight {
  readonly registry: RegistryClient;
  /** In front of every repository, or empty. */
  readonly prefix: string;
  /** Repositories that are to be pushed to. */
  readonly repositories: readonly string[];
  /** Kinds of content that are to be pushed. */
  readonly shapes: ReadonlySet<Shape>;
  readonly signal?: AbortSignal | undefined;
}

/** What a registry refuses, with what to do about it. */
interface PreflightRefusals {
  /** By repositories. */
  readonly repositories: ReadonlyMap<string, CodedError>;
  /** By kinds of content, as the registry answered: shapeRefusal adds the remedy. */
  readonly shapes: ReadonlyMap<Shape, CodedError>;
}

/**
 * @throws DENIED, NOT_FOUND, UPSTREAM when nothing can be pushed to, or not the place that load needs for itself; USAGE when
 * plain images or artifacts are refused; NETWORK, EGRESS_DENIED
 */
export async function preflight(check: Preflight): Promise<PreflightRefusals> {
  const { registry, prefix, signal } = check;
  const probe = registry.repository(belowPrefix(prefix, 'omni-airgap/probe'));
  const closed = await closedRepositories(registry, [...check.repositories, probe.path], signal);
  if (closed.has(probe.path) || check.repositories.every((path) => closed.has(path))) {
    throwClosed(registry, closed, onePerProject([...closed.keys()]));
  }
  const refused = new Map<Shape, CodedError>();
  for (const shape of shapes) {
    const error = check.shapes.has(shape) ? await refusalOf(probe, shape, signal) : undefined;
    if (error === undefined) continue;
    // Load's own record is an artifact.
    if (shape === 'image' || shape === 'artifact') throw shapeRefusal(registry, shape, error);
    refused.set(shape, error);
  }
  const repositories = [...closed].map(
    ([path, error]) => [path, cannotPush(registry, [path], error)] as const,
  );
  return { repositories: new Map(repositories), shapes: refused };
}

/** The deepest repository below each first path segment: names that are too deep are refused there. */
function onePerProject(repositories: readonly string[]): readonly string[] {
  const deepest = new Map<string, string>();
  for (const path of repositories) {
    const [project = ''] = path.split('/');
    const known = deepest.get(project);
    if (known === undefined || path.split('/').length > known.split('/').length) deepest.set(project, path);
  }
  return [...deepest.values()];
}

/** One of each project is asked first; where that is refused, each of its repositories. */
async function closedRepositories(
  registry: RegistryClient,
  paths: readonly string[],
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, CodedError>> {
  const first = await probePushes(registry, onePerProject(paths), signal);
  const projects = new Set([...first.keys()].map((path) => path.split('/')[0]));
  const others = [...new Set(paths)].filter((path) => projects.has(path.split('/')[0]) && !first.has(path));
  return new Map([...first, ...(await probePushes(registry, others, signal))]);
}

const probesAtOnce = 8;

async function probePushes(
  registry: RegistryClient,
  paths: readonly string[],
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, CodedError>> {
  const limit = pLimit(probesAtOnce);
  // A registry that is gone is not asked about each of its repositories.
  let isGone = false;
  const refusals = await settleAll(
    paths.map((path) =>
      limit(async (): Promise<readonly (readonly [string, CodedError])[]> => {
        if (isGone) return [];
        try {
          await registry.repository(path).probePush(signal);
          return [];
        } catch (error) {
          if (isLasting(error) && error.status !== undefined) return [[path, error]];
          isGone = true;
          throw error;
        }
      }),
    ),
  );
  return new Map(refusals.flat());
}

/** All are asked, so that a person can make all projects at once. @throws with the remedy: DENIED, NOT_FOUND, UPSTREAM */
export async function requirePush(
  registry: RegistryClient,
  paths: readonly string[],
  signal?: AbortSignal,
): Promise<void> {
  const closed = await probePushes(registry, paths, signal);
  throwClosed(registry, closed, [...closed.keys()]);
}

/** @param named of the closed ones, those that the message names */
function throwClosed(
  registry: RegistryClient,
  closed: ReadonlyMap<string, CodedError>,
  named: readonly string[],
): void {
  const [error] = closed.values();
  if (error !== undefined) throw cannotPush(registry, named, error);
}

function cannotPush(registry: RegistryClient, paths: readonly string[], error: CodedError): CodedError {
  const where = paths.map((path) => `${registry.host}/${path}`).join(', ');
  return refused(error, error.code, `${where} cannot be pushed to`, pushRemedy(registry, paths, error));
}

/** True for an answer that will be the same next time. */
function isLasting(error: unknown): error is CodedError {
  return isCoded(error, 'UPSTREAM', 'DENIED', 'NOT_FOUND') && (error.status ?? 0) < 500;
}

/** By the kind of registry where it is known; else what a status may mean, and nothing for others. */
function pushRemedy(registry: RegistryClient, paths: readonly string[], error: CodedError): string {
  const known = registry.remedyFor('push', error);
  if (known !== undefined) return known;
  const below =
    'where all names must lie below a project (GitLab: GROUP/PROJECT, Artifactory: the key of a repository), load with --registry HOST/PROJECT';
  const projects = [...new Set(paths.map((path) => path.split('/')[0]))].join(', ');
  if (error.status === 404) {
    return `create first: ${projects} (projects of Harbor, organizations of Quay); ${below}`;
  }
  return error.status === 401 || error.status === 403 ? below : '';
}

/** What the registry refuses, and the way out that load itself has where there is one. */
const shapeTexts: Readonly<Record<Shape, readonly [what: string, wayOut?: string]>> = {
  image: ['a plain OCI image'],
  docker: ['a Docker schema 2 manifest (Image Factory schematics and some images are that)'],
  artifact: [
    'an OCI artifact (Talos media and signatures are that)',
    'media can go to an object store instead (--object-store)',
  ],
  index: ['an OCI index', 'use a registry that stores images for several platforms'],
  mixed: ['an OCI index with Docker images in it', 'use another registry for these images'],
  sparse: [
    'an index of which only some platforms are carried',
    'leave `platforms` out of mirror.yaml and fetch again',
  ],
  referrer: [
    'to list what refers to an image (signatures of cosign 3, SBOMs), under its API or the tag sha256-…',
    'use another registry for these images',
  ],
};

/** Runs what pushes content of one shape; a refusal of the registry comes with its remedy. @throws DENIED, USAGE */
export async function explainingShape<T>(
  registry: RegistryClient,
  shape: Shape,
  run: () => Promise<T>,
): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (!isLasting(error)) throw error;
    throw shapeRefusal(registry, shape, error);
  }
}

/** @param wayOut what load itself can do; default: what holds for all content of the shape. @returns DENIED, USAGE */
export function shapeRefusal(
  registry: RegistryClient,
  shape: Shape,
  error: CodedError,
  wayOut = shapeTexts[shape][1],
): CodedError {
  const [what] = shapeTexts[shape];
  const remedies = [registry.remedyFor(shape, error), wayOut].filter((one) => one !== undefined);
  // A right that is missing, or a proxy, is not about the content.
  const general = registry.remedyFor('request', error);
  const isAboutContent = error.code !== 'DENIED' && general === undefined;
  // The same command would fail the same way: something must be said differently, here or there.
  const code = error.code === 'DENIED' ? 'DENIED' : 'USAGE';
  const remedy = isAboutContent ? remedies.join('; ') : (general ?? '');
  return refused(error, code, `${registry.host} refuses ${what}`, remedy);
}

/** What the registry answers to content of the shape; undefined when it takes that. @throws NETWORK; UPSTREAM for a registry that fails */
async function refusalOf(
  repository: RepositoryClient,
  shape: Shape,
  signal?: AbortSignal,
): Promise<CodedError | undefined> {
  try {
    const sample = sampleOf(shape);
    for (const one of sample) await push(repository, one, signal);
    if (shape === 'referrer') await requireListed(repository, sample, signal);
    return undefined;
  } catch (error) {
    if (isLasting(error)) return error;
    throw error;
  }
}

/** That the last manifest of a sample is listed as a referrer of its subject. @throws UPSTREAM */
export async function requireListed(
  repository: RepositoryClient,
  sample: readonly Sample[],
  signal?: AbortSignal,
): Promise<void> {
  const [subject, referrer] = sample.filter(({ descriptor }) => isManifestType(descriptor.mediaType));
  if (subject === undefined || referrer === undefined) return;
  // A web site that takes the path of the API leaves the fallback tag, which the push has written.
  const found = await repository.referrers(subject.descriptor.digest, signal, () => {});
  if (found.some(({ digest }) => digest === referrer.descriptor.digest)) return;
  throw new CodedError('UPSTREAM', 'a signature that refers to an image is stored, but not listed for it');
}

async function push(repository: RepositoryClient, { descriptor, bytes }: Sample, signal?: AbortSignal) {
  await repository.push(descriptor, openerOf(bytes), signal);
  if (isManifestType(descriptor.mediaType)) await repository.resolve(descriptor.digest, signal);
}

function refused(cause: CodedError, code: ErrorCode, what: string, remedy: string): CodedError {
  const parts = [what, remedy].filter((part) => part !== '');
  return new CodedError(code, `${parts.join('; ')} (${messageOf(cause)})`, {
    cause,
    status: cause.status,
  });
}

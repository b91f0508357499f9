/**
 * What of one repository goes. A manifest goes when a load of ours brought it, no kept bundle names it, nothing that stays
 * refers to it, and each of its tags is one that we set: a tag that somebody else set, or moved, keeps what it stands for.
 * Lists of referrers are containers: what they list decides, and entries of others stay.
 */
import type { PlannedManifest, PrunePlan } from '@omni-airgap/format';
import { byText, parseStrictObject } from '@omni-airgap/oci/base';
import {
  companionTag,
  type Descriptor,
  type Digest,
  descriptorOf,
  fetchManifest,
  isIndexType,
  MediaType,
  subjectOfTag,
} from '@omni-airgap/oci/model';
import type { BroughtImage } from './inventory.ts';
import type { RepositorySurvey, Surveyed } from './survey.ts';

/** What is known of a repository before it is looked at. */
export interface RepositoryQuestion {
  /** Brought, named by no kept bundle, and kept by nothing else that is known outside of the registry. */
  readonly old: readonly BroughtImage[];
  /** Brought, and kept whatever the registry says. */
  readonly kept: readonly BroughtImage[];
  /** Content that kept increments took from here. */
  readonly relied: ReadonlySet<Digest>;
  /** What runs, by digest. */
  readonly inUse: ReadonlySet<Digest>;
  /** Manifests that went below others in a prune that was interrupted: their parents are gone. */
  readonly orphans: readonly Digest[];
}

/** What a tag is to stand for: a list without entries that go. */
export interface TagRewrite {
  readonly plan: PrunePlan['rewrites'][number];
  readonly manifest: { readonly descriptor: Descriptor; readonly bytes: Uint8Array };
  /** A blob that it needs, to be pushed before. */
  readonly blob?: { readonly descriptor: Descriptor; readonly bytes: Uint8Array };
}

export interface RepositoryAnswer {
  /** Parents before children, what speaks about others last. */
  readonly manifests: readonly PlannedManifest[];
  readonly rewrites: readonly TagRewrite[];
  readonly kept: PrunePlan['kept'];
  /** Bytes of what goes, by digest; nothing else in this repository needs it. */
  readonly freed: ReadonlyMap<Digest, number>;
  /** What stays in this repository. */
  readonly needed: ReadonlySet<Digest>;
}

/** @throws BAD_DOCUMENT, DIGEST_MISMATCH, DENIED, UPSTREAM, NETWORK */
export async function pruneRepository(
  survey: RepositorySurvey,
  question: RepositoryQuestion,
  signal?: AbortSignal,
): Promise<RepositoryAnswer> {
  const { old, kept, relied, inUse, orphans } = question;
  const lists = new Set([...survey.tags.keys()].filter(isListTag));
  const claims = new Claims(question);
  const candidates = await survey.below([...old.map(({ digest }) => digest), ...orphans]);
  const all = new Set<Digest>([...candidates.keys(), ...old.map(({ digest }) => digest), ...orphans]);

  const reasons = new Map<Digest, string>();
  const named: ReadonlySet<Digest> = new Set(kept.map(({ digest }) => digest));
  const roots = new Set(named);
  for (const [tag, { digest }] of survey.tags) {
    if (lists.has(tag) || claims.isOurs(tag, digest)) continue;
    roots.add(digest);
    if (all.has(digest) && !named.has(digest)) reasons.set(digest, claims.whyTag(tag));
  }
  const contents = new Map<Digest, readonly Digest[]>();
  for (const digest of new Set([...old.map((image) => image.digest), ...orphans])) {
    const below = await survey.below([digest]);
    contents.set(
      digest,
      [...below].flatMap(([one, { blobs }]) => [one, ...blobs.map((blob) => blob.digest)]),
    );
  }
  /** Manifests with any of these below them stay. */
  const keepThoseWith = (wanted: ReadonlySet<Digest>, why: string): void => {
    for (const [digest, below] of contents) {
      if (!below.some((one) => wanted.has(one))) continue;
      roots.add(digest);
      reasons.set(digest, why);
    }
  };
  keepThoseWith(inUse, 'it runs');
  let staying = await closure(survey, roots, candidates, claims, reasons);
  // The increment needs nothing more than the content that it already has in this repository.
  const own = neededBy([...staying.values()], new Set());
  const lacking = new Set([...relied].filter((digest) => !own.has(digest)));
  if (lacking.size > 0) {
    keepThoseWith(lacking, 'an increment that stays relies on its content');
    staying = await closure(survey, roots, candidates, claims, reasons);
  }

  const rewrites: TagRewrite[] = [];
  const goingLists = new Set<Digest>();
  for (const tag of lists) {
    const list = survey.tags.get(tag);
    if (list === undefined || staying.has(list.digest)) continue;
    const rewrite = await withoutPruned(
      survey,
      tag,
      list,
      (digest) => all.has(digest) && !staying.has(digest),
      signal,
    );
    if (rewrite === 'empty') goingLists.add(list.digest);
    else if (rewrite !== undefined) rewrites.push(rewrite);
  }
  const listed = new Set([...lists].flatMap((tag) => survey.tags.get(tag)?.digest ?? []));
  const going = [...candidates.values()].filter(
    ({ descriptor: { digest } }) => !staying.has(digest) && !listed.has(digest),
  );
  for (const manifest of (await survey.below(goingLists)).values()) {
    if (goingLists.has(manifest.descriptor.digest)) going.push(manifest);
  }
  const gone = new Set(going.map(({ descriptor }) => descriptor.digest));
  const needed = neededBy([...staying.values(), ...(await survey.below(listed)).values()], gone);
  return {
    manifests: inOrder(going, goingLists, claims).map((manifest) =>
      planned(survey, manifest, claims, needed),
    ),
    rewrites,
    kept: keptFor(survey, old, claims, gone, reasons),
    freed: freedBy(going, needed),
    needed,
  };
}

/** Tags of ours, and of whom else. */
class Claims {
  readonly #old = new Map<string, Set<Digest>>();
  readonly #kept = new Set<string>();
  readonly #names = new Map<Digest, Set<string>>();

  constructor({ old, kept }: RepositoryQuestion) {
    for (const { tag } of kept) if (tag !== undefined) this.#kept.add(tag);
    for (const { tag, digest, name } of old) {
      this.#names.set(digest, (this.#names.get(digest) ?? new Set()).add(name));
      if (tag !== undefined) this.#old.set(tag, (this.#old.get(tag) ?? new Set()).add(digest));
    }
  }

  /** True for a tag that we set, that stands for what we brought, and that may go. */
  isOurs(tag: string, digest: Digest): boolean {
    return !this.#kept.has(tag) && this.#old.get(tag)?.has(digest) === true;
  }

  /** True for a tag that a bundle has which keeps it. */
  isKept(tag: string): boolean {
    return this.#kept.has(tag);
  }

  whyTag(tag: string): string {
    return this.#kept.has(tag) || this.#old.has(tag)
      ? `the tag ${tag} was moved to it here`
      : `the tag ${tag}, which no load set, stands for it`;
  }

  namesOf(digest: Digest): readonly string[] {
    return [...(this.#names.get(digest) ?? [])].sort();
  }
}

/** True for the fallback tag of the referrers API. */
function isListTag(tag: string): boolean {
  const subject = subjectOfTag(tag);
  return subject !== undefined && tag === companionTag(subject);
}

/** What stays: what is below the roots, what that speaks about, and what of the candidates speaks about any of it. */
async function closure(
  survey: RepositorySurvey,
  roots: ReadonlySet<Digest>,
  candidates: ReadonlyMap<Digest, Surveyed>,
  claims: Claims,
  reasons: Map<Digest, string>,
): Promise<ReadonlyMap<Digest, Surveyed>> {
  let staying = await survey.below(roots);
  for (;;) {
    const more = new Set<Digest>();
    for (const { subject } of staying.values()) {
      if (subject === undefined || staying.has(subject) || (await survey.read(subject)) === undefined)
        continue;
      more.add(subject);
      reasons.set(subject, 'something that stays refers to it');
    }
    for (const [digest, { subject }] of candidates) {
      if (subject === undefined || !staying.has(subject) || staying.has(digest)) continue;
      more.add(digest);
      reasons.set(digest, 'it is about an image that stays');
    }
    for (const [tag, { digest }] of survey.tags) {
      const subject = subjectOfTag(tag);
      if (subject === undefined || !staying.has(subject) || staying.has(digest)) continue;
      if (isListTag(tag) || !claims.isOurs(tag, digest)) continue;
      more.add(digest);
      reasons.set(digest, 'it is about an image that stays');
    }
    if (more.size === 0) return staying;
    staying = await survey.below([...staying.keys(), ...more]);
  }
}

/**
 * A list of referrers without the entries that go.
 * @returns 'empty' when none is left; undefined when all stay
 */
async function withoutPruned(
  survey: RepositorySurvey,
  tag: string,
  list: Descriptor,
  isGoing: (digest: Digest) => boolean,
  signal: AbortSignal | undefined,
): Promise<TagRewrite | 'empty' | undefined> {
  // Some registries take the tag for the digest, and give the image itself.
  if (!isIndexType(list.mediaType) || list.digest === subjectOfTag(tag)) return undefined;
  const { bytes, manifest } = await fetchManifest(survey.client, list, signal);
  if (manifest.kind !== 'index') return undefined;
  const stays = manifest.manifests.map(({ digest }) => !isGoing(digest));
  if (stays.every((one) => one)) return undefined;
  if (!stays.includes(true)) return 'empty';
  const document = parseStrictObject(bytes, { what: `list ${tag}` });
  const entries = (document['manifests'] as readonly unknown[]).filter((_, i) => stays[i]);
  const rewritten = Buffer.from(JSON.stringify({ ...document, manifests: entries }));
  const descriptor = descriptorOf(MediaType.ociIndex, rewritten);
  const removed = manifest.manifests.filter((_, i) => !stays[i]).map(({ digest }) => digest);
  const plan = {
    repository: survey.client.path,
    tag,
    from: list.digest,
    to: descriptor.digest,
    removed,
    kept: entries.length,
  };
  return { plan, manifest: { descriptor, bytes: rewritten } };
}

/** Parents before children, since some registries keep children of an index; what speaks about others last. */
function inOrder(
  going: readonly Surveyed[],
  lists: ReadonlySet<Digest>,
  claims: Claims,
): readonly Surveyed[] {
  const depths = new Map<Digest, number>();
  const byDigest = new Map(going.map((one) => [one.descriptor.digest, one] as const));
  const sink = (manifest: Surveyed, depth: number): void => {
    const { digest } = manifest.descriptor;
    if ((depths.get(digest) ?? -1) >= depth) return;
    depths.set(digest, depth);
    for (const child of manifest.manifests) {
      const below = byDigest.get(child.digest);
      if (below !== undefined) sink(below, depth + 1);
    }
  };
  for (const manifest of going) sink(manifest, 0);
  const isAbout = ({ descriptor: { digest }, subject }: Surveyed): boolean =>
    subject !== undefined ||
    lists.has(digest) ||
    claims.namesOf(digest).some((name) => subjectOfTag(name.slice(name.lastIndexOf(':') + 1)) !== undefined);
  const rank = (manifest: Surveyed): number =>
    (isAbout(manifest) ? maxDepth : 0) + (depths.get(manifest.descriptor.digest) ?? 0);
  return going.toSorted((a, b) => rank(a) - rank(b) || byText(a.descriptor.digest, b.descriptor.digest));
}

/** More levels than an index can have. */
const maxDepth = 1000;

function planned(
  survey: RepositorySurvey,
  { descriptor, manifests, blobs }: Surveyed,
  claims: Claims,
  needed: ReadonlySet<Digest>,
): PlannedManifest {
  const { digest, mediaType } = descriptor;
  return {
    repository: survey.client.path,
    digest,
    mediaType,
    tags: [...survey.tagsOf(digest)],
    names: [...claims.namesOf(digest)],
    content: [...manifests, ...blobs].map((child) => child.digest).filter((one) => !needed.has(one)),
  };
}

/** What was brought and stays for a reason that only the registry shows. */
function keptFor(
  survey: RepositorySurvey,
  old: readonly BroughtImage[],
  claims: Claims,
  gone: ReadonlySet<Digest>,
  reasons: ReadonlyMap<Digest, string>,
): PrunePlan['kept'] {
  const kept = new Map<string, string>();
  for (const { tag, digest, repository } of old) {
    const why = gone.has(digest) ? undefined : reasons.get(digest);
    if (tag === undefined) {
      if (why !== undefined) kept.set(`${repository}@${digest}`, why);
      continue;
    }
    const there = survey.tags.get(tag)?.digest;
    if (there === undefined || isListTag(tag)) continue;
    if (claims.isOurs(tag, there)) {
      if (there === digest && why !== undefined) kept.set(`${repository}:${tag}`, why);
    } else if (!claims.isKept(tag)) kept.set(`${repository}:${tag}`, 'it stands for something else here');
  }
  return [...kept].map(([target, why]) => ({ target, why }));
}

/** All that these need, and they themselves, but for those that go. */
function neededBy(manifests: readonly Surveyed[], gone: ReadonlySet<Digest>): ReadonlySet<Digest> {
  const needed = new Set<Digest>();
  for (const { descriptor, manifests: children, blobs } of manifests) {
    if (gone.has(descriptor.digest)) continue;
    needed.add(descriptor.digest);
    for (const { digest } of [...children, ...blobs]) if (!gone.has(digest)) needed.add(digest);
  }
  return needed;
}

function freedBy(going: readonly Surveyed[], needed: ReadonlySet<Digest>): ReadonlyMap<Digest, number> {
  const freed = new Map<Digest, number>();
  for (const { descriptor, blobs } of going) {
    freed.set(descriptor.digest, descriptor.size);
    for (const { digest, size } of blobs) if (!needed.has(digest)) freed.set(digest, size);
  }
  return freed;
}

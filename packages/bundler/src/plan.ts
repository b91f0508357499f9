/**
 * The plan of a bundle, before a byte of it is written: what it carries, where that lies in the volumes, and what it relies
 * on from its bases. Of a new bundle, or of one that was issued before, whatever lock.json says now.
 */
import type { KeyObject } from 'node:crypto';
import {
  type BlobSize,
  type BundleDocument,
  type BundleRelies,
  isProgramFile,
  mapOf,
  planHash,
  planHashOf,
  planVolumes,
  smallBlobLimit,
  VolumeMap,
  type WrittenVolume,
} from '@omni-airgap/format';
import { graphOf, walk } from '@omni-airgap/oci';
import { byText, CodedError } from '@omni-airgap/oci/base';
import type { Layout } from '@omni-airgap/oci/layout';
import {
  Annotation,
  collectVerified,
  type Descriptor,
  type Digest,
  fetchManifest,
  isManifestType,
} from '@omni-airgap/oci/model';
import { registryKinds } from '@omni-airgap/oci/registry';
import { type Issue, lockedName, type Store } from '@omni-airgap/store';
import {
  findSecretsInText,
  type InsideFinding,
  insideFindings,
  insideRefusal,
  maxSchematicBytes,
  type Site,
} from '@omni-airgap/talos';
import { readSiteInventory, repositoryOf, type SiteInventory } from './base.ts';
import { issue, type SecretsRecord } from './bundle-record.ts';
import { type LockedContent, readLockedContent } from './locked-content.ts';
import { executablesFor, type Program, programBytes, readProgram } from './program.ts';
import { type DroppedNames, droppedNames } from './report/versions.ts';
import { type ManifestReader, withdrawals } from './withdrawals.ts';

export interface BundlePlan {
  readonly store: Store;
  /** Where its content is. */
  readonly layout: Layout;
  readonly map: VolumeMap;
  /** Hex hash of all that decides the bytes of the volumes, but the content. */
  readonly hash: string;
  /** What --consume leaves in the store, because it says what there is. */
  readonly stays: ReadonlySet<Digest>;
  /** What goes onto this medium beside the bundle; undefined for none. */
  readonly program: Program | undefined;
  /** What its bases name and it does not; undefined for a full bundle. */
  readonly dropped: DroppedNames | undefined;
  /** What is known against the set inside; nothing is judged again for a bundle that was issued before. */
  readonly inside: readonly InsideFinding[];
  /** Its volumes, where it was issued before. */
  readonly volumes?: readonly WrittenVolume[];
  /** The signed bundle.json, kept in the store. @param volumes all, in order @throws BAD_DOCUMENT, DISK */
  issue(volumes: readonly WrittenVolume[]): Promise<Issue>;
}

export interface NewBundle {
  readonly store: string;
  /** Most bytes a volume may have. */
  readonly volumeSize: number;
  /** What is inside already: see readSiteInventory. */
  readonly since?: readonly string[];
  readonly signKey?: KeyObject | undefined;
  /** Patterns for names of earlier bundles that are no longer to be used; see withdrawals. */
  readonly withdraw?: readonly string[];
  /** Folder of a release of this program, which goes along. */
  readonly withProgram?: string | undefined;
  /** Carry schematics with secrets in them. */
  readonly allowSecrets?: boolean;
  /** The site file. */
  readonly site?: Site | undefined;
  /** Refuse what does not work inside without a change there; default: name it. */
  readonly strict?: boolean;
  /** Name and version of this program, for the record. */
  readonly tool: string;
  /** Account and machine, for the record. */
  readonly by?: string;
  /** When the bundle is made, in ms since 1970; SOURCE_DATE_EPOCH for reproducible ones. */
  readonly now: number;
  readonly signal?: AbortSignal | undefined;
}

/** @throws NO_INPUT, INCOMPLETE, MISSING_CONTENT for the store; CONFIG for what cannot work inside; SECRET; USAGE */
export async function planNew(store: Store, options: NewBundle): Promise<BundlePlan> {
  const { since = [], volumeSize, signal } = options;
  const contents = await readLockedContent(store, signal);
  const { layout, items, descriptors, kinds } = contents;
  const findings = findingsOf(contents, options.site);
  const refusal = insideRefusal(findings, options.strict === true);
  if (refusal !== undefined) throw new CodedError('CONFIG', refusal);
  const inside = since.length === 0 ? undefined : await readSiteInventory(store, layout, since);
  const { carried, relies } = select(contents, inside);
  const secrets = await checkSecrets(contents, options.allowSecrets === true);
  const names = new Map(items.map((item) => [item.name, item.descriptor]));
  const withdraws = await withdrawals(store, options.withdraw ?? [], names, manifestReader(layout, signal));
  const bases = [...(inside?.bases.values() ?? [])].sort((a, b) => byText(a.id, b.id));
  const ids = bases.map(({ id }) => id);
  const { withProgram } = options;
  const program =
    withProgram === undefined ? undefined : await readProgram(withProgram, executablesFor(items), signal);
  const plan = planVolumes(names, carried, volumeSize, ids, programBytes(program));
  const map = new VolumeMap(names, plan, ids);
  const changes = inside === undefined ? undefined : changesOf(contents, inside);
  const schematics = [...kinds].flatMap(([digest, kind]) => (kind === 'schematic' ? [digest] : []));
  return {
    store,
    layout,
    map,
    program,
    hash: planHash(names, map, ids),
    stays: new Set([...schematics, ...manifestsOf(descriptors.values())]),
    dropped: droppedNames(changes, names.keys()),
    inside: findings,
    issue: (volumes) =>
      issue(store, {
        contents,
        blobs: plan.blobs,
        volumes,
        bases,
        relies,
        changes,
        withdraws,
        secrets,
        inside: findings,
        program,
        signKey: options.signKey,
        tool: options.tool,
        by: options.by,
        now: options.now,
      }),
  };
}

/**
 * @param text its id, or how that begins
 * @throws NO_INPUT, USAGE, BAD_DOCUMENT, DISK
 */
export async function planIssued(
  store: Store,
  text: string,
  { signKey, withProgram, signal }: Pick<NewBundle, 'signKey' | 'withProgram' | 'signal'>,
): Promise<BundlePlan> {
  const id = await store.bundles.find(text, '--issued');
  const issued = await store.bundles.read(id);
  if (issued === undefined) {
    throw new CodedError('NO_INPUT', `--issued ${id}: its documents in ${store.root} are not all there`);
  }
  const layout = await store.openLayout();
  const { document } = issued;
  const map = mapOf(document);
  const roots = document.roots.map(({ descriptor }) => descriptor);
  const graph = await graphOf(walk(layout, roots, { missing: 'skip', blobs: false }));
  const schematics = document.blobs.flatMap(({ digest, kind }) => (kind === 'schematic' ? [digest] : []));
  return {
    store,
    layout,
    map,
    hash: planHashOf(document, map),
    stays: new Set([...schematics, ...manifestsOf(graph.values())]),
    program: withProgram === undefined ? undefined : await programOf(document, withProgram, signal),
    dropped: droppedNames(
      document.changes,
      document.roots.map(({ name }) => name),
    ),
    inside: [],
    volumes: document.volumes,
    issue: async () => (signKey === undefined ? issued : store.bundles.sign(issued, signKey)),
  };
}

/** @throws USAGE when the bundle was issued without it, CONFLICT when with another one; and as readProgram */
async function programOf(
  { id, files }: BundleDocument,
  folder: string,
  signal: AbortSignal | undefined,
): Promise<Program> {
  const listed = new Map(
    files.flatMap(({ name, sha256 }) => (isProgramFile(name) ? [[name, sha256] as const] : [])),
  );
  if (listed.size === 0) {
    throw new CodedError(
      'USAGE',
      `--with-program: bundle ${id.slice(0, 12)} was issued without the program; make a new bundle with it`,
    );
  }
  const program = await readProgram(folder, [...listed.keys()], signal);
  const other = program.executables.find(({ name, sha256 }) => listed.get(name) !== sha256);
  if (other === undefined) return program;
  throw new CodedError(
    'CONFLICT',
    `${other.path}: bundle ${id.slice(0, 12)} was issued with another version of it; specify the release that it was issued with`,
  );
}

function findingsOf(
  { items, graphs, inside }: LockedContent,
  site: Site | undefined,
): readonly InsideFinding[] {
  const names = items.map((item) => lockedName(item, graphs.get(item.name)?.values() ?? []));
  return insideFindings(names, { inside, site }, registryKinds);
}

/** Its answers: @throws BAD_DOCUMENT, DIGEST_MISMATCH, DISK */
function manifestReader(layout: Layout, signal: AbortSignal | undefined): ManifestReader {
  return {
    subjectOf: async (descriptor) =>
      (await layout.has(descriptor))
        ? (await fetchManifest(layout, descriptor, signal)).manifest.subject?.digest
        : undefined,
    below: async (descriptor) => {
      const graph = await graphOf(walk(layout, [descriptor], { missing: 'skip', blobs: false, signal }));
      return [descriptor.digest, ...manifestsOf(graph.values())];
    },
  };
}

function manifestsOf(descriptors: Iterable<Descriptor>): Digest[] {
  return [...descriptors].flatMap(({ digest, mediaType }) => (isManifestType(mediaType) ? [digest] : []));
}

function changesOf(
  { items }: LockedContent,
  { names }: SiteInventory,
): NonNullable<BundleDocument['changes']> {
  const now = new Set(items.map((item) => item.name));
  return {
    added: items.map((item) => item.name).filter((name) => !names.has(name)),
    moved: items.flatMap(({ name, descriptor }) => {
      const from = names.get(name);
      return from === undefined || from === descriptor.digest ? [] : [{ name, from }];
    }),
    removed: [...names.keys()].filter((name) => !now.has(name)).sort(byText),
  };
}

interface Selection {
  readonly carried: readonly BlobSize[];
  /** Undefined for a full bundle. */
  readonly relies: BundleRelies | undefined;
}

/** The set difference by digest. Content that lies inside at an unknown place is carried again. */
function select(contents: LockedContent, inside: SiteInventory | undefined): Selection {
  const all = [...contents.descriptors.values()].map(({ digest, size }) => ({ digest, size }));
  if (inside === undefined) return { carried: all, relies: undefined };
  const objects = objectContent(contents);
  const isInside = (blob: BlobSize): boolean => inside.holds(blob, objects.has(blob.digest));
  const again = readAtLoad(contents, isInside);
  const isRelied = (blob: BlobSize): boolean => isInside(blob) && !again.has(blob.digest);
  const relied = new Map(all.filter(isRelied).map((blob) => [blob.digest, blob.size]));
  return { carried: all.filter((blob) => !isRelied(blob)), relies: placesOf(contents, inside, relied) };
}

const artifactKinds: readonly string[] = ['media', 'schematic', 'catalog'];

/** What becomes an object: files of artifacts, which have a title, and schematics, which a tag names. */
function objectContent({ items, graphs }: LockedContent): ReadonlySet<Digest> {
  const found = new Set<Digest>();
  for (const { name, kind } of items) {
    if (!artifactKinds.includes(kind)) continue;
    for (const [digest, { annotations }] of graphs.get(name) ?? []) {
      const isSchematic = kind === 'schematic' && name.endsWith(`:${digest.slice(7)}`);
      if (isSchematic || annotations?.[Annotation.title] !== undefined) found.add(digest);
    }
  }
  return found;
}

/**
 * Small files of artifacts that are new: a load without a registry reads some of them, such as kernel command lines,
 * and would have to look for them in other places.
 */
function readAtLoad(
  { items, graphs }: LockedContent,
  isInside: (blob: BlobSize) => boolean,
): ReadonlySet<Digest> {
  const found = new Set<Digest>();
  for (const { name, kind, descriptor } of items) {
    if (!artifactKinds.includes(kind) || isInside(descriptor)) continue;
    for (const [digest, { size, mediaType }] of graphs.get(name) ?? []) {
      if (size <= smallBlobLimit && !isManifestType(mediaType)) found.add(digest);
    }
  }
  return found;
}

/** Each relied blob in the repositories that need it, or, if it is in none of those, in one that it can come from. */
function placesOf(
  contents: LockedContent,
  inside: SiteInventory,
  relied: ReadonlyMap<Digest, number>,
): BundleRelies {
  const chosen = new Map<string, Set<Digest>>();
  const found = new Set<Digest>();
  const choose = (repository: string, digest: Digest): void => {
    chosen.set(repository, (chosen.get(repository) ?? new Set()).add(digest));
    found.add(digest);
  };
  for (const [name, graph] of contents.graphs) {
    const repository = repositoryOf(name);
    const there = inside.repositories.get(repository);
    for (const digest of graph.keys())
      if (relied.has(digest) && there?.has(digest)) choose(repository, digest);
  }
  const byName = [...inside.repositories].sort(([a], [b]) => byText(a, b));
  for (const [repository, digests] of byName) {
    for (const digest of digests) if (relied.has(digest) && !found.has(digest)) choose(repository, digest);
  }
  const blobsOf = (digests: Iterable<Digest>): BlobSize[] =>
    [...digests].sort(byText).map((digest) => ({ digest, size: relied.get(digest) ?? 0 }));
  return {
    repositories: [...chosen]
      .sort(([a], [b]) => byText(a, b))
      .map(([repository, digests]) => ({ repository, blobs: blobsOf(digests) })),
    objects: [...inside.objects]
      .filter(([, { digest, size }]) => relied.get(digest) === size)
      .sort(([a], [b]) => byText(a, b))
      .map(([key, { digest, size }]) => ({ key, digest, size })),
  };
}

/** @throws SECRET naming the schematic and where in it, unless that is allowed */
async function checkSecrets(contents: LockedContent, isAllowed: boolean): Promise<SecretsRecord> {
  const schematics = contents.items.filter((item) => item.kind === 'schematic');
  const found: string[] = [];
  for (const { name } of schematics) {
    for (const descriptor of contents.graphs.get(name)?.values() ?? []) {
      if (!name.endsWith(`:${descriptor.digest.slice(7)}`)) continue;
      const source = contents.layout.fetch(descriptor);
      const bytes = await collectVerified(source, descriptor, maxSchematicBytes, name);
      const [secret] = findSecretsInText(bytes);
      if (secret === undefined) continue;
      if (!isAllowed) {
        throw new CodedError(
          'SECRET',
          `${name}: ${secret.where} holds ${secret.what}; it would leave with the bundle; take the schematic out of mirror.yaml, or pass --allow-secrets`,
        );
      }
      found.push(name);
    }
  }
  return { policy: isAllowed ? 'allowed' : 'refused', schematics: schematics.length, found };
}

/**
 * A bundle as it will be, before a byte of it is written: a new one, of what a store is locked to or of what is not
 * inside yet; or one that was issued before, whatever the store is locked to by now.
 */
import type { KeyObject } from 'node:crypto';
import {
  type BundleDocument,
  mapOf,
  planHash,
  planHashOf,
  planVolumes,
  VolumeMap,
  type WrittenVolume,
} from '@omni-airgap/format';
import { graphOf, walk } from '@omni-airgap/oci';
import { byText, CodedError } from '@omni-airgap/oci/base';
import type { Layout } from '@omni-airgap/oci/layout';
import { type Descriptor, type Digest, isManifestType } from '@omni-airgap/oci/model';
import type { IssuedBundle, Store } from '@omni-airgap/store';
import { type Contents, readContents } from './contents.ts';
import type { Inside } from './inside.ts';
import { issue } from './issue.ts';
import { checkSecrets } from './secrets.ts';
import { select } from './selection.ts';
import { readInside } from './since.ts';

export interface Draft {
  readonly store: Store;
  /** Where its content is. */
  readonly layout: Layout;
  readonly map: VolumeMap;
  /** Hex hash of all that decides the bytes of the volumes, but the content. */
  readonly hash: string;
  /** What --consume leaves in the store, because it says what there is. */
  readonly stays: ReadonlySet<Digest>;
  /** Its volumes, where it was issued before. */
  readonly volumes?: readonly WrittenVolume[];
  /** The signed bundle.json, kept in the store. @param volumes all, in order @throws BAD_DOCUMENT, DISK */
  issue(volumes: readonly WrittenVolume[]): Promise<IssuedBundle>;
}

export interface NewBundle {
  readonly store: string;
  /** Most bytes a volume may have. */
  readonly volumeSize: number;
  /** What is inside already: see readInside. */
  readonly since?: readonly string[];
  readonly signKey?: KeyObject | undefined;
  /** Carry schematics with secrets in them. */
  readonly allowSecrets?: boolean;
  /** Name and version of this program, for the record. */
  readonly tool: string;
  /** Account and machine, for the record. */
  readonly by?: string;
  /** When the bundle is made, in ms since 1970; SOURCE_DATE_EPOCH for reproducible ones. */
  readonly now: number;
  readonly signal?: AbortSignal;
}

/** @throws NO_INPUT, INCOMPLETE, MISSING_CONTENT for the store; SECRET; USAGE */
export async function newDraft(store: Store, options: NewBundle): Promise<Draft> {
  const { since = [], volumeSize, signal } = options;
  const contents = await readContents(store, signal);
  const { layout, items, descriptors, kinds } = contents;
  const inside = since.length === 0 ? undefined : await readInside(store, layout, since);
  const { carried, relies } = select(contents, inside);
  const secrets = await checkSecrets(contents, options.allowSecrets === true);
  const names = new Map(items.map((item) => [item.name, item.descriptor]));
  const bases = [...(inside?.bases.values() ?? [])].sort((a, b) => byText(a.id, b.id));
  const ids = bases.map(({ id }) => id);
  const plan = planVolumes(names, carried, volumeSize, ids);
  const map = new VolumeMap(names, plan, ids);
  const schematics = [...kinds].flatMap(([digest, kind]) => (kind === 'schematic' ? [digest] : []));
  return {
    store,
    layout,
    map,
    hash: planHash(names, map, ids),
    stays: new Set([...schematics, ...manifestsOf(descriptors.values())]),
    issue: (volumes) =>
      issue(store, {
        contents,
        blobs: plan.blobs,
        volumes,
        bases,
        relies,
        changes: inside === undefined ? undefined : changesOf(contents, inside),
        secrets,
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
export async function issuedDraft(
  store: Store,
  text: string,
  signKey: KeyObject | undefined,
): Promise<Draft> {
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
    volumes: document.volumes,
    issue: async () => (signKey === undefined ? issued : store.bundles.sign(issued, signKey)),
  };
}

function manifestsOf(descriptors: Iterable<Descriptor>): Digest[] {
  return [...descriptors].flatMap(({ digest, mediaType }) => (isManifestType(mediaType) ? [digest] : []));
}

function changesOf({ items }: Contents, { names }: Inside): NonNullable<BundleDocument['changes']> {
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

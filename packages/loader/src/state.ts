/**
 * What a site has accepted before, so that an older bundle, or another one under the same number, is refused. It is
 * kept twice: with the target, as one tag for each bundle in the repository `omni-airgap/state`, and in a folder of
 * the host that loads. Both only ever grow; a record is on the disk before any name is published. Fault F32.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type BundleDocument, type BundleSigner, serializeDocument } from '@omni-airgap/format';
import { CodedError, isCoded, systemCodeOf } from '@omni-airgap/oci/base';
import { diskError, ensureFolder, writeFileAtomic } from '@omni-airgap/oci/fs';
import { descriptorOf, MediaType, openerOf } from '@omni-airgap/oci/model';
import type { RepositoryClient } from '@omni-airgap/oci/registry';

/** A bundle that was accepted. Its text is the tag, and the name of the file. */
export interface Accepted {
  readonly origin: string;
  readonly sequence: number;
  readonly id: string;
  /** Nobody vouched for it: it says nothing about signed bundles. */
  readonly unsigned: boolean;
}

export interface StateRecord {
  list(signal?: AbortSignal): Promise<readonly Accepted[]>;
  add(accepted: Accepted, signal?: AbortSignal): Promise<void>;
}

const pattern = /^([a-f0-9]{32})\.([1-9][0-9]{0,15})\.([a-f0-9]{64})(\.unsigned)?$/;
const artifactType = 'application/vnd.omni-airgap.state.v1';

function formatAccepted({ origin, sequence, id, unsigned }: Accepted): string {
  return `${origin}.${sequence}.${id}${unsigned ? '.unsigned' : ''}`;
}

/** Undefined for a text that is no record. */
function parseAccepted(text: string): Accepted | undefined {
  const [, origin, sequence, id, unsigned] = pattern.exec(text) ?? [];
  if (origin === undefined || id === undefined) return undefined;
  return { origin, sequence: Number(sequence), id, unsigned: unsigned !== undefined };
}

export function acceptedOf({ origin, sequence, id }: BundleDocument, signer: BundleSigner): Accepted {
  return { origin, sequence, id, unsigned: signer.mode === 'unsigned' };
}

/** More bundles than a store issues in a lifetime. One that claims to be further ahead would shut out all honest ones. */
const maxJump = 10_000;

/** What was accepted says something about this bundle. */
function speaksAbout(before: Accepted, bundle: Accepted): boolean {
  return before.origin === bundle.origin && (bundle.unsigned || !before.unsigned);
}

/**
 * Refuses another bundle of the same number as one that was accepted, or is given beside it: one of the two is not
 * what the store says that it issued, and nobody can want both (T43).
 * @throws ROLLBACK
 */
export function checkEquivocation(bundle: Accepted, others: readonly Accepted[]): void {
  const other = others.find(
    (one) => speaksAbout(one, bundle) && one.sequence === bundle.sequence && one.id !== bundle.id,
  );
  if (other === undefined) return;
  throw new CodedError(
    'ROLLBACK',
    `bundles ${bundle.id.slice(0, 12)} and ${other.id.slice(0, 12)} both say that they are number ${bundle.sequence} of one store, and one was accepted here or is given too; find out which is the right one, and let the store issue it again, with a smaller --volume-size: that gets the next number`,
  );
}

/**
 * Refuses a bundle that is older than one that was accepted, or far ahead of all of them (T43, T45).
 * @param isAllowed the operator wants it all the same
 * @returns what is to be said of one that is taken all the same
 * @throws ROLLBACK
 */
export function checkRollback(
  bundle: Accepted,
  accepted: readonly Accepted[],
  isAllowed: boolean,
): string | undefined {
  const name = `bundle ${bundle.id.slice(0, 12)}`;
  let newest: Accepted | undefined;
  for (const one of accepted)
    if (speaksAbout(one, bundle) && one.sequence > (newest?.sequence ?? 0)) newest = one;
  let refusal: readonly [what: string, advice: string] | undefined;
  if (newest !== undefined && newest.sequence > bundle.sequence) {
    refusal = [
      `${name} is number ${bundle.sequence} of its store, and number ${newest.sequence} (${newest.id.slice(0, 12)}) was accepted here already`,
      'use the newer one, or --allow-rollback to go back on purpose',
    ];
  } else if (bundle.sequence > (newest?.sequence ?? 0) + maxJump) {
    refusal = [
      `${name} claims number ${bundle.sequence}, ${newest === undefined ? 'and none was accepted here before' : `far ahead of ${newest.sequence}, the last one accepted here`}; accepting it would lock out every bundle in between`,
      'find out where it comes from, or use --allow-rollback',
    ];
  }
  if (refusal === undefined) return undefined;
  const [what, advice] = refusal;
  if (!isAllowed) throw new CodedError('ROLLBACK', `${what}; ${advice}`);
  return `${what}; taken all the same (--allow-rollback)`;
}

/** Records in a registry. Where it does not list tags, there are none to be seen. */
export function registryState(repository: RepositoryClient, note: (text: string) => void): StateRecord {
  return {
    async list(signal) {
      const found: Accepted[] = [];
      try {
        for await (const tag of repository.tags(signal)) {
          const accepted = parseAccepted(tag);
          if (accepted !== undefined) found.push(accepted);
        }
      } catch (error) {
        if (isCoded(error, 'NOT_FOUND')) return [];
        if (!isCoded(error) || ![401, 403, 405].includes(error.status ?? 0)) throw error;
        note(`${repository.registry} does not list tags: only this host's own record shows older bundles`);
      }
      return found;
    },
    async add(accepted, signal) {
      const tag = formatAccepted(accepted);
      const config = Buffer.from('{}');
      const empty = descriptorOf(MediaType.empty, config);
      const bytes = Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: MediaType.ociManifest,
          artifactType,
          config: empty,
          layers: [empty],
          annotations: { 'omni-airgap.bundle': accepted.id },
        }),
      );
      const manifest = descriptorOf(MediaType.ociManifest, bytes);
      if ((await repository.resolve(tag, signal))?.digest === manifest.digest) return;
      await repository.push(empty, openerOf(config), signal);
      await repository.push(manifest, openerOf(bytes), signal);
      await repository.tag(manifest, tag, signal);
    },
  };
}

/** Records as files of a folder, one for each target and bundle. */
export function folderState(root: string, target: string): StateRecord {
  const folder = join(root, 'accepted', encodeURIComponent(target).slice(0, 200));
  return {
    async list() {
      try {
        return (await readdir(folder)).flatMap((name) => parseAccepted(name.replace(/\.json$/, '')) ?? []);
      } catch (error) {
        if (systemCodeOf(error) === 'ENOENT') return [];
        throw diskError(error, folder);
      }
    },
    async add(accepted) {
      await ensureFolder(root);
      await ensureFolder(join(root, 'accepted'));
      await ensureFolder(folder);
      const path = join(folder, `${formatAccepted(accepted)}.json`);
      await writeFileAtomic(path, serializeDocument({ target, ...accepted, at: new Date().toISOString() }));
    },
  };
}

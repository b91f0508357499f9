/**
 * What a site has accepted before, so that an older bundle, or another one under the same number, is refused. It is
 * kept twice: with the target, as one tag for each bundle in the repository `omni-airgap/state`, and in a folder of
 * the host that loads. Both only ever grow; a record is on the disk before any name is published. Fault F32.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Accepted, serializeDocument } from '@omni-airgap/format';
import { isCoded, systemCodeOf } from '@omni-airgap/oci/base';
import { diskError, ensureFolder, writeFileAtomic } from '@omni-airgap/oci/fs';
import { descriptorOf, MediaType, openerOf } from '@omni-airgap/oci/model';
import type { RepositoryClient } from '@omni-airgap/oci/registry';

/** Where registryState keeps its records, below the prefix; the first repository that a load asks for. */
export const stateRepository = 'omni-airgap/state';

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

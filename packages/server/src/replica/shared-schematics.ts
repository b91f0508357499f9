/**
 * Schematics that clients make at a replica, where every replica finds them. One without a secret lies where the Image Factory
 * and `load` put schematics: in the bucket under `schematics/<ID>`, in the registry as the layer with the ID as digest, where an
 * Image Factory of the site finds it too. One with a secret is encrypted, in a place that only replicas read.
 */
import { type CodedError, isCoded } from '@omni-airgap/oci/base';
import { type Descriptor, type Digest, descriptorOf, MediaType } from '@omni-airgap/oci/model';
import { isSchematicId, schematicMediaType } from '@omni-airgap/talos';
import type { MadeSchematic, MadeSchematics } from '../factory/made-schematics.ts';
import type { Documents, Shape } from './documents.ts';
import { type Sealing, StateKeyNeeded } from './sealing.ts';

/** As the Image Factory stores one. Source: siderolabs/image-factory internal/schematic/storage/registry/registry.go. */
export const schematicShape: Shape = {
  layer: schematicMediaType,
  wrap: (layer: Descriptor) => {
    const diffIds: readonly Digest[] = [layer.digest];
    const configBytes = Buffer.from(
      JSON.stringify({ architecture: '', config: {}, os: '', rootfs: { type: 'layers', diff_ids: diffIds } }),
    );
    const config = descriptorOf(MediaType.dockerConfig, configBytes);
    const manifest = {
      schemaVersion: 2,
      mediaType: MediaType.dockerManifest,
      config: { mediaType: config.mediaType, digest: config.digest, size: config.size },
      layers: [layer],
    };
    return { manifest, config, configBytes };
  },
};

export interface SchematicPlaces {
  /** Without a secret; the first must take each, the others are tried. */
  readonly plain: readonly [Documents, ...Documents[]];
  readonly sealed: Documents;
  /** Left out: schematics with a secret are refused. */
  readonly sealing: Sealing | undefined;
  /** Told what an operator should know and no request fails for. */
  readonly onProblem: (message: string) => void;
}

export class SharedSchematics implements MadeSchematics {
  readonly #places: SchematicPlaces;
  #isToldOf = new Set<string>();

  constructor(places: SchematicPlaces) {
    this.#places = places;
  }

  /** Those with a secret: the others are found where loaded ones are. */
  async has(id: string, signal?: AbortSignal): Promise<boolean> {
    return isSchematicId(id) && (await this.#places.sealed.get(id, signal)) !== undefined;
  }

  /** @throws StateKeyNeeded; DIGEST_MISMATCH for one that was changed since */
  async text(id: string, signal?: AbortSignal): Promise<string | undefined> {
    const { sealed, sealing } = this.#places;
    const bytes = isSchematicId(id) ? await sealed.get(id, signal) : undefined;
    if (bytes === undefined) return undefined;
    if (sealing !== undefined) return sealing.open(nameOf(id), bytes);
    throw new StateKeyNeeded(
      'CONFIG',
      `${nameOf(id)} holds a secret: this server needs --state-key FILE to read it`,
    );
  }

  /** @throws StateKeyNeeded */
  async keep({ id, canonical, secrets }: MadeSchematic, signal?: AbortSignal): Promise<void> {
    if (secrets.length > 0) return this.#seal(id, canonical, secrets, signal);
    const [first, ...others] = this.#places.plain;
    const bytes = Buffer.from(canonical);
    await first.put(id, bytes, signal);
    for (const place of others) {
      try {
        await place.put(id, bytes, signal);
      } catch (error) {
        // Every replica has it already; an Image Factory that looks here has not.
        if (!isCoded(error) || isCoded(error, 'ABORTED')) throw error;
        this.#tell(place.place, error);
      }
    }
  }

  async #seal(
    id: string,
    canonical: string,
    secrets: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { sealed, sealing } = this.#places;
    if (sealing === undefined) {
      throw new StateKeyNeeded(
        'CONFIG',
        `the schematic holds a secret (${secrets.join('; ')}), which this server keeps only encrypted: start serve with --state-key FILE`,
      );
    }
    const before = await sealed.get(id, signal);
    if (before !== undefined && isOpenedBy(sealing, id, before)) return;
    await sealed.put(id, sealing.seal(nameOf(id), canonical), signal);
  }

  /** Once for each place: what is wrong with it is wrong for every schematic. */
  #tell(place: string, error: CodedError): void {
    if (this.#isToldOf.has(place)) return;
    this.#isToldOf.add(place);
    this.#places.onProblem(
      `schematics are not stored in ${place}, where an Image Factory looks: ${error.message}`,
    );
  }
}

function nameOf(id: string): string {
  return `schematic ${id}`;
}

function isOpenedBy(sealing: Sealing, id: string, bytes: Uint8Array): boolean {
  try {
    sealing.open(nameOf(id), bytes);
    return true;
  } catch {
    return false;
  }
}

/** The manifest at a signature tag: one layer for each signature, and a config that names them all. */
import { claimMediaType } from '@omni-airgap/format';
import { type Descriptor, descriptorOf, MediaType } from '@omni-airgap/oci';

interface Built {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/** True when all layers are signatures: then the config is derived from them. */
export function areSignatures(layers: readonly Descriptor[]): boolean {
  return layers.length > 0 && layers.every(({ mediaType }) => mediaType === claimMediaType);
}

/** @param annotations of the manifest that is there, kept */
export function signatureManifest(
  layers: readonly Descriptor[],
  annotations?: Readonly<Record<string, string>>,
): { readonly manifest: Built; readonly config: Built } {
  const config = built(MediaType.ociConfig, {
    architecture: '',
    created: '0001-01-01T00:00:00Z',
    history: layers.map(() => ({ created: '0001-01-01T00:00:00Z' })),
    os: '',
    rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
    config: {},
  });
  const manifest = built(MediaType.ociManifest, {
    schemaVersion: 2,
    mediaType: MediaType.ociManifest,
    config: config.descriptor,
    layers,
    ...(annotations === undefined ? {} : { annotations }),
  });
  return { manifest, config };
}

function built(mediaType: string, document: object): Built {
  const bytes = Buffer.from(JSON.stringify(document));
  return { descriptor: descriptorOf(mediaType, bytes), bytes };
}

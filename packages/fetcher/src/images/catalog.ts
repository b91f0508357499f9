/**
 * The images that a catalog image names: `siderolabs/extensions` holds a file `image-digests`, `siderolabs/overlays`
 * an `overlays.yaml`. Both are read out of the image's layers in memory, bounded, without unpacking anything.
 * Source: siderolabs/image-factory internal/artifacts/fetch.go (it reads the amd64 image).
 */
import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import type { Fetcher } from '@omni-airgap/oci';
import { normalizePlatform } from '@omni-airgap/oci';
import { CodedError, messageOf, recoded } from '@omni-airgap/oci/base';
import { collectVerified, type Descriptor, fetchManifest, isIndexType } from '@omni-airgap/oci/model';
import {
  type CatalogEntry,
  nearestName,
  parseImageDigests,
  parseOverlays,
  TalosError,
} from '@omni-airgap/talos';
import { Parser } from 'tar';
import type { WantedCatalog, WantedImage } from '../mirror/resolved-mirror.ts';

/** Real catalogs have some hundred kilobytes. */
const maxLayerBytes = 32 * 1024 * 1024;
const maxFileBytes = 4 * 1024 * 1024;
const maxUnpackedBytes = 64 * 1024 * 1024;
const catalogFiles = { extensions: 'image-digests', overlays: 'overlays.yaml' } as const;

/**
 * The images to fetch for a catalog.
 * @param source has the catalog's image
 * @throws CONFIG for a name that the catalog does not have, with the nearest that it has; BAD_DOCUMENT
 */
export async function readCatalog(
  source: Fetcher,
  root: Descriptor,
  wanted: WantedImage,
): Promise<readonly WantedImage[]> {
  const { catalog, reference } = wanted;
  if (catalog === undefined || catalog.names.length === 0) return [];
  const text = await readCatalogFile(source, root, catalogFiles[catalog.kind], reference);
  const offered = parseCatalog(catalog.kind, text, reference);
  return choose(catalog, offered, reference).map((found) => ({
    reference: `${found.reference}@${found.digest}`,
    platforms: undefined,
  }));
}

function parseCatalog(kind: WantedCatalog['kind'], text: string, reference: string): readonly CatalogEntry[] {
  try {
    return kind === 'extensions' ? parseImageDigests(text) : parseOverlays(text);
  } catch (error) {
    throw recoded(error, TalosError, 'BAD_DOCUMENT', `${reference}: `);
  }
}

function choose(
  catalog: WantedCatalog,
  offered: readonly CatalogEntry[],
  reference: string,
): readonly CatalogEntry[] {
  if (catalog.names === 'all') return offered;
  return catalog.names.map((name) => {
    const found = offered.find((one) => one.name === name);
    if (found !== undefined) return found;
    const nearest = nearestName(
      name,
      offered.map((one) => one.name),
    );
    const hint = nearest === undefined ? '' : `; did you mean ${nearest}?`;
    throw new CodedError('CONFIG', `talos.imageFactory.${catalog.kind}: ${reference} has no ${name}${hint}`);
  });
}

async function readCatalogFile(
  source: Fetcher,
  root: Descriptor,
  file: string,
  what: string,
): Promise<string> {
  let image = root;
  if (isIndexType(root.mediaType)) {
    const { manifest } = await fetchManifest(source, root);
    const children = manifest.kind === 'index' ? manifest.manifests : [];
    const amd64 = children.find(
      ({ platform }) => platform !== undefined && normalizePlatform(platform).architecture === 'amd64',
    );
    if (amd64 === undefined) throw new CodedError('BAD_DOCUMENT', `${what}: has no image for amd64`);
    image = amd64;
  }
  const { manifest } = await fetchManifest(source, image);
  const layers = manifest.kind === 'image' ? manifest.layers : [];
  // Upper layers hide lower ones.
  for (const layer of layers.toReversed()) {
    const bytes = await collectVerified(
      source.fetch(layer),
      layer,
      maxLayerBytes,
      `${what} layer ${layer.digest}`,
    );
    const content = await readTarFile(bytes, file, what);
    if (content !== undefined) return content;
  }
  throw new CodedError('BAD_DOCUMENT', `${what}: holds no file ${file}`);
}

/** One file out of a layer (tar, or gzip of it), without touching the disk. */
async function readTarFile(layer: Uint8Array, file: string, what: string): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let found = false;
  let size = 0;
  const parser = new Parser({
    strict: true,
    filter: (path) => path.replace(/^\.?\//, '') === file,
    onReadEntry(entry) {
      if (entry.type !== 'File') return void entry.resume();
      found = true;
      entry.on('data', (chunk: Buffer) => {
        size += chunk.byteLength;
        if (size <= maxFileBytes) chunks.push(chunk);
      });
    },
  });
  const isGzip = layer[0] === 0x1f && layer[1] === 0x8b;
  const source = Readable.from([layer]);
  const stream = isGzip ? source.pipe(createGunzip()) : source;
  let unpacked = 0;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      unpacked += chunk.byteLength;
      if (unpacked > maxUnpackedBytes)
        throw new CodedError('BAD_DOCUMENT', `${what}: its layer unpacks to too much`);
      parser.write(chunk);
    }
    parser.end();
  } catch (cause) {
    if (cause instanceof CodedError) throw cause;
    throw new CodedError('BAD_DOCUMENT', `${what}: its layer cannot be read: ${messageOf(cause)}`, { cause });
  }
  if (size > maxFileBytes)
    throw new CodedError('BAD_DOCUMENT', `${what}: ${file} has more than ${maxFileBytes} bytes`);
  return found ? Buffer.concat(chunks).toString('utf8') : undefined;
}

/** The registry double with a client connected to it; both end with the test. */
import { onTestFinished } from 'vitest';
import { bytesOf } from '../src/model/bytes.ts';
import { type Descriptor, descriptorOf } from '../src/model/descriptor.ts';
import { MediaType } from '../src/model/media-type.ts';
import type { OpenBytes } from '../src/storage.ts';
import { connectToDouble } from '../src/testing/registry/client.ts';
import { type RegistryDoubleOptions, startRegistryDouble } from '../src/testing/registry/double.ts';

/** @returns with `repository`, the one at a/b, and `steps`, the requests as `HEAD blobs` */
export async function startRegistry(
  options: RegistryDoubleOptions = {},
  connect: Parameters<typeof connectToDouble>[1] = {},
) {
  const registry = await startRegistryDouble(options);
  const connected = connectToDouble(registry, connect);
  onTestFinished(async () => {
    await connected.gate.close();
    await registry.close();
  });
  const steps = (): string[] =>
    registry.requests.map(({ method, path }) => `${method} ${path.split('/')[4] ?? path}`);
  return { registry, repository: connected.client.repository('a/b'), steps, ...connected };
}

export const opener =
  (bytes: Uint8Array): OpenBytes =>
  (offset = 0) =>
    bytesOf(bytes.subarray(offset));

export const blob: Buffer = Buffer.alloc(300_000, 'omni');
export const layer: Descriptor = descriptorOf(MediaType.octetStream, blob);
const config = Buffer.from('{}');

/** A manifest as JSON, with its descriptor. */
export function manifestOf(
  extra: object,
  mediaType: string = MediaType.ociManifest,
): { bytes: Buffer; descriptor: Descriptor } {
  const body =
    mediaType === MediaType.ociIndex ? {} : { config: descriptorOf(MediaType.ociConfig, config), layers: [] };
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...body, ...extra }));
  return { bytes, descriptor: descriptorOf(mediaType, bytes) };
}
export const image = manifestOf({});
/** A registry that takes `image`. */
export const withConfig: RegistryDoubleOptions = { repositories: { 'a/b': { blobs: [config] } } };

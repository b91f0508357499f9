/** What the server tests share: layouts with small images in them, servers that end with their test, raw sockets. */
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Layout } from '@omni-airgap/oci/layout';
import {
  Annotation,
  type Descriptor,
  type Digest,
  descriptorOf,
  MediaType,
  openerOf,
} from '@omni-airgap/oci/model';
import { catalogArtifactType, mediaArtifactType } from '@omni-airgap/talos';
import { onTestFinished } from 'vitest';
import { type AccessEntry, createServer, type Server, type ServerOptions } from '../src/index.ts';

export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'server-test-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

export async function newLayout(): Promise<Layout> {
  return Layout.open(await temporaryFolder(), { create: true });
}

export interface Running extends Server {
  readonly log: readonly AccessEntry[];
}

export async function start(options: ServerOptions, host = '127.0.0.1'): Promise<Running> {
  const log: AccessEntry[] = [];
  const server = await createServer({ ...options, onAccess: (entry) => log.push(entry) });
  await server.listen(host, 0);
  onTestFinished(() => server.close());
  return Object.assign(server, { log });
}

async function put(layout: Layout, mediaType: string, bytes: Uint8Array): Promise<Descriptor> {
  const descriptor = descriptorOf(mediaType, bytes);
  await layout.push(descriptor, openerOf(bytes));
  return descriptor;
}

export interface Image {
  readonly manifest: Descriptor;
  readonly config: Descriptor;
  readonly layer: Descriptor;
  readonly bytes: Buffer;
}

/** An image of one layer, stored and, when `name` is given, named. */
export async function putImage(
  layout: Layout,
  name: string | undefined,
  layerBytes: Uint8Array,
  extra: { readonly subject?: Descriptor; readonly artifactType?: string } = {},
): Promise<Image> {
  const config = await put(layout, MediaType.ociConfig, Buffer.from(`{"os":"linux","name":"${name ?? ''}"}`));
  const layer = await put(layout, 'application/vnd.oci.image.layer.v1.tar', layerBytes);
  const bytes = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociManifest, config, layers: [layer], ...extra }),
  );
  const manifest = await put(layout, MediaType.ociManifest, bytes);
  if (name !== undefined) await layout.tag(manifest, name);
  return { manifest, config, layer, bytes };
}

/** Files as ORAS makes an artifact of them. */
export async function putFiles(
  layout: Layout,
  name: string,
  files: Readonly<Record<string, Uint8Array | string>>,
): Promise<ReadonlyMap<string, Descriptor>> {
  const config = await put(layout, MediaType.empty, Buffer.from('{}'));
  const layers: Descriptor[] = [];
  for (const [title, content] of Object.entries(files)) {
    const layer = await put(layout, MediaType.octetStream, Buffer.from(content));
    layers.push({ ...layer, annotations: { [Annotation.title]: title } });
  }
  const artifactType = name.includes('/talos-catalog/') ? catalogArtifactType : mediaArtifactType;
  const manifest = { schemaVersion: 2, mediaType: MediaType.ociManifest, artifactType, config, layers };
  const stored = await put(layout, MediaType.ociManifest, Buffer.from(JSON.stringify(manifest)));
  await layout.tag(stored, name);
  return new Map(layers.map((layer) => [layer.annotations?.[Annotation.title] ?? '', layer]));
}

/** A schematic in the Image Factory's own storage shape. @returns its ID */
export async function putSchematic(layout: Layout, canonical: string): Promise<string> {
  const config = await put(layout, MediaType.dockerConfig, Buffer.from('{"os":"","architecture":""}'));
  const layer = await put(layout, 'application/vnd.sidero.dev-image.schematic', Buffer.from(canonical));
  const manifest = { schemaVersion: 2, mediaType: MediaType.dockerManifest, config, layers: [layer] };
  const stored = await put(layout, MediaType.dockerManifest, Buffer.from(JSON.stringify(manifest)));
  const id = layer.digest.slice(7);
  await layout.tag(stored, `factory.talos.dev/siderolabs/image-factory/schematics:${id}`);
  return id;
}

export async function putIndex(
  layout: Layout,
  name: string,
  manifests: readonly Descriptor[],
): Promise<Descriptor> {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests }));
  const descriptor = await put(layout, MediaType.ociIndex, bytes);
  await layout.tag(descriptor, name);
  return descriptor;
}

/** A digest that nothing has. */
export const nowhere: Digest = `sha256:${'0'.repeat(64)}` as Digest;

/** Sends bytes as they are and gives what comes back until the server ends or `until` is seen. */
export function raw(url: string, text: string, until?: string): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => socket.write(text));
    let got = '';
    socket.setTimeout(5_000, () => socket.destroy(new Error(`no end after: ${got}`)));
    socket.on('data', (chunk) => {
      got += chunk.toString('latin1');
      if (until !== undefined && got.includes(until)) socket.destroy();
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(got));
  });
}

/** The code in an error body of the distribution specification. */
export async function codeOf(response: Response): Promise<string | undefined> {
  const body = (await response.json()) as { errors?: { code: string; message: string }[] };
  return body.errors?.[0]?.code;
}

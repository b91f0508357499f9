/** A registry on loopback with one image, whose one layer is generated while it is sent: any size, no memory. */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Descriptor, descriptorOf, MediaType } from '../../packages/oci/src/model/index.ts';
import { buildManifest, generatedBlob, startHttpServer } from '../../packages/oci/src/testing/index.ts';

export interface LargeUpstream {
  readonly url: string;
  readonly layer: Descriptor;
  stop(): Promise<void>;
}

/** @param size bytes of the layer; the image is `REPOSITORY:v1`, whatever the repository */
export async function startLargeUpstream(size: number): Promise<LargeUpstream> {
  const layer = await generatedBlob(7, size, 'application/vnd.oci.image.layer.v1.tar+gzip');
  const configBytes = Buffer.from('{"os":"linux","architecture":"amd64"}');
  const config = descriptorOf(MediaType.ociConfig, configBytes);
  const manifest = buildManifest(MediaType.ociManifest, { config, layers: [layer.descriptor] });
  const small = new Map([
    ['v1', { type: MediaType.ociManifest, bytes: manifest.bytes }],
    [manifest.descriptor.digest, { type: MediaType.ociManifest, bytes: manifest.bytes }],
    [config.digest, { type: MediaType.octetStream, bytes: configBytes }],
  ]);
  const server = await startHttpServer((request, response) => {
    const name = (request.url ?? '').split('/').at(-1) ?? '';
    const found = small.get(name);
    if (found !== undefined) {
      response.setHeader('Content-Type', found.type).setHeader('Content-Length', found.bytes.byteLength);
      response.end(request.method === 'HEAD' ? undefined : found.bytes);
    } else if (name === layer.descriptor.digest) {
      const from = Number(/^bytes=([0-9]+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
      response.writeHead(from === 0 ? 200 : 206, {
        'Content-Length': size - from,
        ...(from === 0 ? {} : { 'Content-Range': `bytes ${from}-${size - 1}/${size}` }),
      });
      void pipeline(Readable.from(layer.open(from)), response).catch(() => undefined);
    } else response.writeHead(name === '' ? 200 : 404).end();
  });
  return { url: server.url, layer: layer.descriptor, stop: () => server.close() };
}

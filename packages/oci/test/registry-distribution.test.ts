/** The client against Distribution 2.8 itself, on loopback, when it is installed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { HttpGate } from '../src/http/gate.ts';
import { bytesOf, collectVerified } from '../src/model/bytes.ts';
import { descriptorOf } from '../src/model/descriptor.ts';
import { MediaType } from '../src/model/media-type.ts';
import { RegistryClient } from '../src/registry/client.ts';
import type { OpenBytes } from '../src/storage.ts';
import { opener } from './registry.ts';

const binary = '/usr/bin/docker-registry';
const installed = ((): boolean => {
  try {
    accessSync(binary, constants.X_OK);
    return true;
  } catch {
    return false;
  }
})();
if (!installed && process.env['CI'] === 'true') throw new Error(`${binary} is not installed`);
if (!installed) console.log(`skipped: ${binary} is not installed (Debian package docker-registry)`);

describe.skipIf(!installed)('Distribution 2.8', () => {
  let folder: string;
  let registry: ChildProcess;
  let gate: HttpGate;
  let client: RegistryClient;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'distribution-'));
    const port = await freePort();
    const host = `127.0.0.1:${port}`;
    const config = join(folder, 'config.yml');
    await writeFile(
      config,
      [
        'version: 0.1',
        'log: {level: error, accesslog: {disabled: true}}',
        `storage: {filesystem: {rootdirectory: ${join(folder, 'data')}}, delete: {enabled: true}}`,
        `http: {addr: '${host}', secret: test}`,
      ].join('\n'),
    );
    registry = spawn(binary, ['serve', config], { stdio: 'ignore' });
    gate = new HttpGate({
      policy: { hosts: [host], plainHttp: [host], allowPrivate: true, upstreams: [] },
    });
    client = new RegistryClient({ gate, host, plainHttp: true, tries: 1 });
    for (let attempt = 0; ; attempt++) {
      try {
        await client.ping();
        break;
      } catch (error) {
        if (attempt === 100) throw error;
        await delay(100);
      }
    }
  });
  afterAll(async () => {
    await gate?.close();
    if (registry?.exitCode === null) {
      registry.kill('SIGKILL');
      await once(registry, 'exit');
    }
    if (folder !== undefined) await rm(folder, { recursive: true });
  });

  test('push, tag, resolve, pull, mount, tags', async () => {
    const repository = client.repository('siderolabs/omni');
    const layer = Buffer.alloc(5_000_000, 'layer');
    const layerDescriptor = descriptorOf('application/vnd.oci.image.layer.v1.tar+gzip', layer);
    const config = Buffer.from('{"architecture":"amd64","os":"linux"}');
    const configDescriptor = descriptorOf(MediaType.ociConfig, config);
    const image = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MediaType.ociManifest,
        config: configDescriptor,
        layers: [layerDescriptor],
      }),
    );
    const imageDescriptor = descriptorOf(MediaType.ociManifest, image);

    expect(await repository.push(layerDescriptor, opener(layer))).toBe('stored');
    expect(await repository.push(layerDescriptor, opener(layer))).toBe('present');
    expect(await repository.push(configDescriptor, opener(config))).toBe('stored');
    expect(await repository.push(imageDescriptor, opener(image))).toBe('stored');
    await repository.tag(imageDescriptor, 'v1.10.4');

    expect(await repository.resolve('v1.10.4')).toEqual(imageDescriptor);
    expect(await repository.resolve('v0')).toBeUndefined();
    const pulled = await collectVerified(repository.fetch(layerDescriptor), layerDescriptor, 1e7, 'layer');
    expect(layer.equals(pulled)).toBe(true);
    const tail: Uint8Array[] = [];
    for await (const chunk of repository.fetchFrom(layerDescriptor, 4_999_990)) tail.push(chunk);
    expect(Buffer.concat(tail)).toEqual(layer.subarray(4_999_990));

    const sibling = client.repository('mirror/omni');
    expect(await sibling.mount(layerDescriptor, 'siderolabs/omni')).toBe(true);
    expect(await sibling.has(layerDescriptor)).toBe(true);
    expect(
      await sibling.mount(descriptorOf(MediaType.octetStream, Buffer.from('none')), 'siderolabs/omni'),
    ).toBe(false);
    const tags: string[] = [];
    for await (const tag of repository.tags()) tags.push(tag);
    expect(tags).toEqual(['v1.10.4']);

    // No referrers API there: the fallback tag is kept and read.
    const signature = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MediaType.ociManifest,
        config: configDescriptor,
        layers: [],
        subject: imageDescriptor,
      }),
    );
    expect(await repository.referrers(imageDescriptor.digest)).toEqual([]);
    const signatureDescriptor = descriptorOf(MediaType.ociManifest, signature);
    await repository.push(signatureDescriptor, opener(signature));
    expect(await repository.referrers(imageDescriptor.digest)).toMatchObject([
      { digest: signatureDescriptor.digest },
    ]);
  });

  test('a large blob in chunks', async () => {
    const large = Buffer.alloc(70 * 1024 * 1024, 'talos');
    const descriptor = descriptorOf(MediaType.octetStream, large);
    const repository = client.repository('talos-media/x');
    // Refuses what is sent in one piece, by a source that breaks twice, as a proxy that cuts the line would.
    let opened = 0;
    const open: OpenBytes = (offset = 0) => {
      opened++;
      return opened > 2 ? bytesOf(large.subarray(offset)) : broken(large);
    };
    const patient = new RegistryClient({
      gate,
      host: client.host,
      plainHttp: true,
      retry: { sleep: async () => undefined },
    });
    expect(await patient.repository('talos-media/x').push(descriptor, open)).toBe('stored');
    expect(opened).toBe(5);
    expect(await repository.has(descriptor)).toBe(true);
  });
});

async function* broken(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes.subarray(0, 1024);
  throw Object.assign(new Error('line cut'), { code: 'ECONNRESET' });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

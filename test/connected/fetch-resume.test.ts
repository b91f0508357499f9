/** A large blob over a line that breaks: how much of it comes twice, counted where it is sent. */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { descriptorOf, MediaType } from '../../packages/oci/src/model/index.ts';
import { buildManifest, generatedBlob, startHttpServer } from '../../packages/oci/src/testing/index.ts';
import { cliJson, startCli } from '../support/cli.ts';
import { workspace } from '../support/workspace.ts';

const mebibyte = 1024 * 1024;
const reference = 'ghcr.io/acme/large:v1';

interface Line {
  readonly url: string;
  /** Body bytes of the layer sent so far, in all answers. */
  sent(): number;
  /** Tear the next answer after so many bytes. */
  cut(bytes: number): void;
  /** Send nothing beyond so many bytes, in all answers, until it is called again. */
  holdAt(bytes: number): void;
}

/** Until more can be written, or there is nobody to write to. */
async function writable(response: ServerResponse): Promise<void> {
  const ended = new AbortController();
  const { signal } = ended;
  await Promise.race(['drain', 'close'].map((event) => once(response, event, { signal }).catch(() => [])));
  ended.abort();
}

/** A registry whose one layer has `size` bytes. */
async function startLine(size: number): Promise<Line> {
  const layer = await generatedBlob(11, size, 'application/vnd.oci.image.layer.v1.tar+gzip');
  const configBytes = Buffer.from('{"os":"linux","architecture":"amd64"}');
  const config = descriptorOf(MediaType.ociConfig, configBytes);
  const manifest = buildManifest(MediaType.ociManifest, { config, layers: [layer.descriptor] });
  let sent = 0;
  let hold = Number.POSITIVE_INFINITY;
  const cuts: number[] = [];
  const sendLayer = async (response: ServerResponse, from: number): Promise<void> => {
    const end = from + (cuts.shift() ?? Number.POSITIVE_INFINITY);
    let at = from;
    for await (const chunk of layer.open(from)) {
      if (response.destroyed) return;
      if (!response.write(chunk)) await writable(response);
      at += chunk.byteLength;
      sent += chunk.byteLength;
      if (at >= end) {
        // What was written must be on its way before the line breaks.
        await sleep(50);
        response.destroy();
        return;
      }
      while (sent >= hold && !response.destroyed) await sleep(5);
    }
    response.end();
  };
  const server = await startHttpServer((request, response) => {
    const name = (request.url ?? '').split('/').at(-1) ?? '';
    if (name === layer.descriptor.digest) {
      const from = Number(/^bytes=([0-9]+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
      response.writeHead(from === 0 ? 200 : 206, {
        'content-length': size - from,
        ...(from === 0 ? {} : { 'content-range': `bytes ${from}-${size - 1}/${size}` }),
      });
      void sendLayer(response, from).catch(() => response.destroy());
      return;
    }
    const isManifest = name === 'v1' || name === manifest.descriptor.digest;
    const bytes = isManifest ? manifest.bytes : name === config.digest ? configBytes : undefined;
    if (bytes === undefined) return void response.writeHead(404, { 'content-length': 0 }).end();
    response.writeHead(200, {
      'content-type': isManifest ? MediaType.ociManifest : MediaType.octetStream,
      'content-length': bytes.byteLength,
    });
    response.end(request.method === 'HEAD' ? undefined : bytes);
  });
  onTestFinished(() => server.close());
  return {
    url: server.url,
    sent: () => sent,
    cut: (bytes) => void cuts.push(bytes),
    holdAt: (bytes) => {
      hold = bytes;
    },
  };
}

test('SIGKILL in the middle of 1 GiB, and again: under 2 MiB come twice (F01, F06)', async () => {
  const size = 1024 * mebibyte;
  const line = await startLine(size);
  const site = await workspace(`images: [${reference}]\n`);
  const fetch = ['fetch', ...site.store, '--upstream', `ghcr.io=${line.url}`];
  const kills = [300.3, 699.7];
  for (const at of kills) {
    line.holdAt(at * mebibyte);
    const running = startCli(fetch);
    await running.until(() => line.sent() >= at * mebibyte);
    // All that was sent has arrived: what comes again is what the killed process had not put away.
    await sleep(300);
    running.kill('SIGKILL');
    await running.ended;
  }
  line.holdAt(Number.POSITIVE_INFINITY);
  expect(await cliJson(fetch)).toMatchObject({ changed: [reference] });
  const twice = line.sent() - size;
  expect(twice).toBeGreaterThanOrEqual(0);
  expect(twice).toBeLessThan(kills.length * 2 * mebibyte);
  await cliJson(['verify', '--store', site.at('store')]);
});

test('lines that break are taken up within one run, at the byte', async () => {
  const size = 64 * mebibyte;
  const line = await startLine(size);
  for (const bytes of [10, 20, 5]) line.cut(bytes * mebibyte);
  const site = await workspace(`images: [${reference}]\n`);
  await cliJson(['fetch', ...site.store, '--upstream', `ghcr.io=${line.url}`]);
  expect(line.sent()).toBeLessThan(size + 2 * mebibyte);
});

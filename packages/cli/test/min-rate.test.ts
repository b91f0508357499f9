/** F7: --min-rate from the command line to the transfers, and values that are none. */
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { temporaryFolder } from '@omni-airgap/oci/testing';
import { expect, onTestFinished, test, vi } from 'vitest';
import { run } from '../src/run.ts';

async function ended(args: readonly string[]): Promise<{ readonly code: number; readonly said: string }> {
  let said = '';
  const take = (text: string): void => {
    said += text;
  };
  const output = { stdout: take, notice: take, stderr: take, isTerminal: false };
  return { code: await run(args, { ...output, lost: async () => undefined }), said };
}

/** A registry whose manifest comes byte by byte. @returns its URL */
async function drippingRegistry(): Promise<string> {
  const server = createServer(async (request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    for (let i = 0; i < 100 && request.method === 'GET' && !response.destroyed; i++) {
      response.write(' ');
      await sleep(5);
    }
    response.end();
  });
  onTestFinished(() => void server.close());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test.each([
  ['', /less than the 1024 of --min-rate/],
  ['5000', /less than the 5000 of --min-rate/],
  ['0', /application\/json, which is not a manifest/],
])('fetch with --min-rate %j, of a manifest that drips', async (value, message) => {
  const folder = await temporaryFolder();
  const config = join(folder, 'mirror.yaml');
  await writeFile(config, 'apiVersion: omni-airgap/v1\nimages: [ghcr.io/acme/app:v1]\n');
  // The minute over which a rate is taken passes in 20 ms.
  const now = performance.now.bind(performance);
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => now() * 3000);
  onTestFinished(() => clock.mockRestore());
  const upstream = `ghcr.io=${await drippingRegistry()}`;
  const { code, said } = await ended([
    ...['fetch', '--config', config, '--store', join(folder, 'store'), '--upstream', upstream],
    ...(value === '' ? [] : ['--min-rate', value]),
  ]);
  expect(said).toMatch(message);
  expect(code).toBe(5);
});

const commands = [
  ['fetch'],
  ['mirror', '--out', 'usb'],
  ['load', '--bundle', 'usb', '--registry', 'registry.lab'],
] as const;
const values = ['-1', '1.5', '1k', '1KiB', '1e3', '0x10', 'NaN', '', ' 5', '1234567890123'];
const rows = commands.flatMap((command) => values.map((value) => ({ command, value })));
test.each(rows)('$command.0 --min-rate $value is no rate: exit code 2', async ({ command, value }) => {
  const { code, said } = await ended([...command, '--min-rate', value]);
  expect(said).toMatch(/'--min-rate <bytes>' argument .* Must be a number of bytes per second\./);
  expect(code).toBe(2);
});

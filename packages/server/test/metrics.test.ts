/** Metrics: what is counted, and that nothing of a client ever becomes a label. */
import bcrypt from 'bcryptjs';
import { describe, expect, test } from 'vitest';
import { newLayout, nowhere, putImage, type Running, raw, start } from './support.ts';

const line = /^([a-zA-Z_][a-zA-Z0-9_]*)(?:\{([^{}]*)\})? (-?[0-9.e+-]+|Na[Nn]|[+-]Inf)$/;

/** Value by name and labels, as the lines have them; each line must follow the text format. */
async function scrape(url: string): Promise<ReadonlyMap<string, number>> {
  const response = await fetch(url);
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
  const samples = new Map<string, number>();
  for (const text of (await response.text()).split('\n')) {
    if (text === '' || /^# (?:HELP|TYPE) [a-zA-Z_][a-zA-Z0-9_]* ./.test(text)) continue;
    const [, name, labels = '', value] = line.exec(text) ?? [];
    expect(name, text).toBeDefined();
    samples.set(labels === '' ? `${name}` : `${name}{${labels}}`, Number(value));
  }
  return samples;
}

async function counted(options: Parameters<typeof start>[0]): Promise<{ server: Running; at: string }> {
  const server = await start({ metrics: {}, ...options });
  return { server, at: `${await server.listenForMetrics('127.0.0.1', 0)}/metrics` };
}

test('requests, bytes, verification, wishes, uploads and disk are counted', async () => {
  const layout = await newLayout();
  const image = await putImage(layout, 'ghcr.io/a/b:v1', Buffer.alloc(100_000, 'layer'));
  const { server, at } = await counted({
    source: layout,
    writable: layout,
    metrics: { folder: layout.root },
  });
  const before = await scrape(at);
  expect(before.get('omni_airgap_uploads_open')).toBe(0);
  const blob = `${server.url}/v2/a/b/blobs/${image.layer.digest}`;
  for (const path of ['manifests/v1', 'tags/list', `manifests/${nowhere}`])
    await fetch(`${server.url}/v2/a/b/${path}`);
  for (let i = 0; i < 3; i++) await (await fetch(blob)).bytes();
  await fetch(`${server.url}/v2/c/d/manifests/v1?ns=ghcr.io`);
  await fetch(`${server.url}/v2/c/d/blobs/uploads/`, { method: 'POST' });
  const upload = await fetch(`${server.url}/v2/c/d/blobs/uploads/`, { method: 'POST' });
  const location = `${server.url}${upload.headers.get('location')}`;
  await fetch(location, { method: 'PATCH', body: Buffer.alloc(50_000) });
  await expect.poll(() => server.log.length).toBe(10);
  const after = await scrape(at);
  expect(Object.fromEntries(after)).toMatchObject({
    'omni_airgap_requests_total{route="manifest",status="200"}': 1,
    'omni_airgap_requests_total{route="manifest",status="404"}': 2,
    'omni_airgap_requests_total{route="tags",status="200"}': 1,
    'omni_airgap_requests_total{route="blob",status="200"}': 3,
    'omni_airgap_requests_total{route="upload",status="202"}': 3,
    'omni_airgap_request_duration_seconds_count{route="blob"}': 3,
    'omni_airgap_content_reads_total{verification="hashed"}': 1,
    'omni_airgap_content_reads_total{verification="cached"}': 2,
    'omni_airgap_verifications_total{result="passed"}': 1,
    omni_airgap_damaged_contents: 0,
    omni_airgap_wishes: 1,
    omni_airgap_uploads_open: 2,
  });
  expect(after.get('omni_airgap_sent_bytes_total{route="blob"}')).toBeGreaterThan(3 * image.layer.size);
  expect(after.get('omni_airgap_received_bytes_total{route="upload"}')).toBeGreaterThan(50_000);
  expect(after.get('omni_airgap_disk_available_bytes')).toBeGreaterThan(0);
  expect(after.get('omni_airgap_disk_size_bytes')).toBeGreaterThan(
    after.get('omni_airgap_disk_available_bytes') ?? 0,
  );
  expect(after.get('process_resident_memory_bytes')).toBeGreaterThan(1e6);
});

describe('labels', () => {
  const allowed: Readonly<Record<string, RegExp>> = {
    route:
      /^(?:ping|catalog|manifest|blob|upload|tags|referrers|token|image|pxe|schematics|factory|health|page|wishes|none)$/,
    status: /^[1-5][0-9]{2}$/,
    verification: /^(?:cached|hashed|awaited|unverified)$/,
    result: /^(?:passed|failed|right|wrong|later)$/,
  };

  test('are words of this program, whatever clients send, and no scrape has more of them for it', async () => {
    const access = { logIns: new Map([['site', bcrypt.hashSync('password', 4)]]), attempts: { burst: 3 } };
    const { server, at } = await counted({ writable: await newLayout(), access });
    const evil = 'x"} 1\nevil_total{a="b';
    const ask = async (round: number) => {
      for (const path of [
        ...[
          '/',
          '/wants.json',
          '/versions',
          '/healthz',
          '/nothing/here',
          '/__proto__',
          '/v2/',
          '/v2/_catalog',
          '/token',
        ],
        ...[`/v2/a/${round}/manifests/constructor`, `/v2/a/${round}/constructor/x`, `/v2/a/${round}/blobs/x`],
        ...[
          `/image/${round}/v1.2.3/${encodeURIComponent(evil)}`,
          `/pxe/${round}/v1/x`,
          `/schematics/${round}`,
        ],
        ...[`/${encodeURIComponent(evil)}`, `/v2/${encodeURIComponent(evil)}/tags/list`, '/metrics'],
      ])
        await fetch(`${server.url}${path}`, {
          headers: { 'x-request-id': `id-${round}`, 'user-agent': evil.replace('\n', ' ') },
        });
      const authorization = `Basic ${Buffer.from(`user${round}:wrong`).toString('base64')}`;
      for (let i = 0; i < 5; i++)
        await fetch(`${server.url}/token`, { headers: { authorization: `${authorization}` } });
      await raw(server.url, `BREW /pot-${round} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`).catch(
        () => '',
      );
      await raw(
        server.url,
        `GET http://evil/${round} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
      ).catch(() => '');
      return scrape(at);
    };
    const first = await ask(1);
    const second = await ask(2);
    const own = (samples: ReadonlyMap<string, number>) =>
      [...samples.keys()].filter((key) => key.startsWith('omni_airgap_'));
    expect(own(second)).toEqual(own(first));
    for (const key of own(second)) {
      for (const [, name = '', value = ''] of key.matchAll(/([a-z_]+)="([^"]*)"/g)) {
        if (name !== 'le') expect(value, key).toMatch(allowed[name] ?? /^$/);
      }
    }
    expect(second.get('omni_airgap_log_ins_total{result="wrong"}')).toBeGreaterThan(0);
    expect((await fetch(`${server.url}/metrics`)).status).toBe(404);
  });
});

test('what is damaged is counted', async () => {
  const layout = await newLayout();
  const { layer } = await putImage(layout, 'ghcr.io/a/b:v1', Buffer.alloc(10_000, 'x'));
  const [piece] = (await layout.locate(layer)) ?? [];
  const { chmod, writeFile } = await import('node:fs/promises');
  await chmod(piece?.path ?? '', 0o600);
  await writeFile(piece?.path ?? '', Buffer.alloc(10_000, 'y'));
  const { server, at } = await counted({ source: layout });
  await expect(
    fetch(`${server.url}/v2/a/b/blobs/${layer.digest}`).then((answer) => answer.bytes()),
  ).rejects.toThrow();
  const samples = await scrape(at);
  expect(samples.get('omni_airgap_damaged_contents')).toBe(1);
  expect(samples.get('omni_airgap_verifications_total{result="failed"}')).toBe(1);
});

test('only /metrics is there, and it is closed with the server', async () => {
  const { server, at } = await counted({ source: await newLayout() });
  expect((await fetch(new URL('/v2/', at))).status).toBe(404);
  expect((await fetch(at, { method: 'POST' })).status).toBe(405);
  await server.close();
  await expect(fetch(at)).rejects.toThrow();
  const without = await start({ source: await newLayout() });
  await expect(without.listenForMetrics('127.0.0.1', 0)).rejects.toMatchObject({ code: 'INTERNAL' });
});

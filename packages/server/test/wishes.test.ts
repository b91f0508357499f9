/** What was asked for and is not here: recorded without secrets, bounded, kept over a restart, carried out. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findSecrets, schematicFrom } from '@omni-airgap/talos';
import { describe, expect, test } from 'vitest';
import { parseWants, publicText, schematicsWithoutText, wantsFile, wantsFragment } from '../src/index.ts';
import { WishList } from '../src/wishes/wish-list.ts';
import { newLayout, start, temporaryFolder } from './support.ts';

const v = 'v1.13.9';
const canary = 'w7Kq9ZsecretTokenCanary';
const plain = 'customization:\n    extraKernelArgs:\n        - vga=791\n';
const secret = `customization:\n    extraKernelArgs:\n        - siderolink.api=https://omni.example?jointoken=${canary}\n`;

async function post(url: string, body: string): Promise<string> {
  const response = await fetch(`${url}/schematics`, { method: 'POST', body });
  expect(response.status).toBe(201);
  return ((await response.json()) as { id: string }).id;
}

describe('secrets (T52)', () => {
  test('a schematic with a join token is answered as always; no list, page, file or log has the token', async () => {
    const writable = await newLayout();
    const file = join(writable.root, wantsFile);
    const server = await start({ writable, wishesFile: file });
    const { url } = server;
    expect(findSecrets(schematicFrom(secret).schematic)).not.toEqual([]);
    const id = await post(url, secret);
    expect(await (await fetch(`${url}/schematics/${id}`)).text()).toBe(secret);
    await fetch(`${url}/image/${id}/${v}/metal-amd64.iso`);
    const texts = await Promise.all(
      ['/', `/${wantsFile}`, '/wants.yaml'].map(async (path) => (await fetch(url + path)).text()),
    );
    await server.close();
    texts.push(
      await readFile(file, 'utf8'),
      JSON.stringify(server.log),
      JSON.stringify(await server.wishes()),
    );
    for (const text of texts) expect(text).not.toContain(canary);
    expect(texts[0]).toContain('Holds a secret');
    expect(texts[2]).toContain('customization.extraKernelArgs[0]: a join token');
    expect(texts[2]).toContain('--allow-secrets');
    // H9: where its text is meanwhile.
    expect(texts[2]).toContain(`Until serve is restarted, its text is at ${url}/schematics/${id};`);
    expect((await server.wishes()).wishes[0]).not.toHaveProperty('text');
  });
});

describe('the list', () => {
  test('counts what is asked again, and outlives a restart', async () => {
    const writable = await newLayout();
    const wishesFile = join(writable.root, wantsFile);
    const first = await start({ writable, wishesFile });
    const id = await post(first.url, plain);
    for (let i = 0; i < 3; i++) await fetch(`${first.url}/image/${id}/1.13.9/metal-amd64.iso`);
    const before = await first.wishes();
    expect(before.wishes).toMatchObject([
      { kind: 'schematic', id, count: 1 },
      { kind: 'media', file: 'metal-amd64.iso', version: v, count: 3 },
    ]);
    await first.close();
    const second = await start({ writable, wishesFile });
    expect(await second.wishes()).toEqual(before);
    // The text was kept, so the schematic is still known.
    expect(await (await fetch(`${second.url}/schematics/${id}`)).text()).toBe(plain);
  });

  test('is read back even when a requested schematic has a text that cannot be parsed', async () => {
    const wishesFile = join(await temporaryFolder(), wantsFile);
    const first = await start({ writable: await newLayout(), wishesFile });
    for (const argument of [' a\\nb', 'a\\u2028b'])
      await post(first.url, `{"customization": {"extraKernelArgs": ["${argument}"]}}`);
    await first.close();
    const second = await start({ writable: await newLayout(), wishesFile });
    const { wishes } = await second.wishes();
    expect(wishes).toHaveLength(2);
    for (const wish of wishes) expect(wish).not.toHaveProperty('text');
  });

  test('is written while the server runs', async () => {
    const wishesFile = join(await temporaryFolder(), wantsFile);
    const server = await start({ writable: await newLayout(), wishesFile });
    await post(server.url, plain);
    await expect
      .poll(async () => readFile(wishesFile, 'utf8').catch(() => ''), { timeout: 5_000 })
      .toContain('vga=791');
  });

  test('is bounded: what finds no room is counted, and pushes nothing out', async () => {
    const list = await WishList.open(undefined);
    for (let i = 0; i < 1500; i++) await list.add({ kind: 'version', version: `v1.${i}.0` });
    const { wishes, dropped } = await list.document();
    expect([wishes.length, dropped]).toEqual([1000, 500]);
    expect(wishes[0]).toMatchObject({ version: 'v1.0.0' });
    expect(await list.add({ kind: 'version', version: 'v1.0.0' })).toBe('recorded');
    expect((await list.document()).wishes[0]).toMatchObject({ count: 2 });
  });

  test('keeps no text of a schematic that is long, and at most four mebibytes of all', async () => {
    const list = await WishList.open(undefined);
    const text = 'x'.repeat(60_000);
    await list.add({ kind: 'schematic', id: 'a'.repeat(64), text: 'x'.repeat(70_000), secrets: [] });
    for (let i = 0; i < 100; i++) {
      await list.add({ kind: 'schematic', id: i.toString().padStart(64, '0'), text, secrets: [] });
    }
    const bytes = JSON.stringify(await list.document()).length;
    expect(bytes).toBeGreaterThan(3_000_000);
    expect(bytes).toBeLessThan(4_500_000);
    expect((await list.document()).wishes).toHaveLength(101);
    expect((await list.document()).wishes[0]).not.toHaveProperty('text');
  });

  test('a file that is none stops the start and names it', async () => {
    const wishesFile = join(await temporaryFolder(), wantsFile);
    await writeFile(wishesFile, '{"kind":"other"}');
    await expect(start({ writable: await newLayout(), wishesFile })).rejects.toMatchObject({
      code: 'BAD_DOCUMENT',
    });
  });
});

describe('images', () => {
  test.each([
    ['siderolabs/omni/manifests/v1?ns=ghcr.io', 'ghcr.io/siderolabs/omni:v1'],
    ['ghcr.io/siderolabs/omni/manifests/v1', 'ghcr.io/siderolabs/omni:v1'],
    [`a/b/manifests/sha256:${'0'.repeat(64)}?ns=quay.io`, `quay.io/a/b@sha256:${'0'.repeat(64)}`],
  ])('%s', async (path, reference) => {
    const server = await start({ writable: await newLayout() });
    expect((await fetch(`${server.url}/v2/${path}`)).status).toBe(404);
    expect((await server.wishes()).wishes).toMatchObject([{ kind: 'image', reference }]);
  });

  test.each([
    'siderolabs/omni/manifests/v1',
    'siderolabs/omni/manifests/v1?ns=%0aevil',
    'siderolabs/omni/manifests/v1?ns=ghcr.io/x',
    `a/b/manifests/sha256-${'0'.repeat(64)}.sig?ns=ghcr.io`,
  ])('%s is no wish: nobody could carry it out', async (path) => {
    const server = await start({ writable: await newLayout() });
    expect((await fetch(`${server.url}/v2/${path}`)).status).toBe(404);
    expect((await server.wishes()).wishes).toEqual([]);
  });
});

describe('parseWants', () => {
  const seen = { first: '2026-08-20T10:00:00.000Z', last: '2026-08-21T10:00:00.000Z', count: 2 };
  const id = schematicFrom(plain).id;
  const media = { kind: 'media', schematic: id, version: v, file: 'metal-amd64.iso', ...seen };
  const wrap = (...wishes: readonly unknown[]): Uint8Array =>
    Buffer.from(JSON.stringify({ kind: 'omni-airgap/wants', schema: 1, dropped: 0, wishes }));

  test('takes what a server gives', () => {
    const wishes = [
      media,
      { kind: 'schematic', id, text: plain, secrets: [], ...seen },
      { kind: 'installer', schematic: id, version: v, repository: 'metal-installer-secureboot', ...seen },
      { kind: 'version', version: v, ...seen },
      { kind: 'talosctl', version: v, file: 'talosctl-linux-amd64', ...seen },
      { kind: 'image', reference: 'ghcr.io/siderolabs/omni:v1', ...seen },
    ];
    expect(parseWants(wrap(...wishes), 'x').wishes).toEqual(wishes);
  });

  test.each([
    ['a file name with a line break', { ...media, file: 'metal-amd64.iso\nimages: [evil]' }],
    ['a path', { ...media, file: '../metal-amd64.iso' }],
    ['a short ID', { ...media, schematic: 'abc' }],
    ['no version', { ...media, version: 'latest' }],
    ['a text with another ID', { kind: 'schematic', id: '0'.repeat(64), text: plain, secrets: [], ...seen }],
    ['a secret with a line break', { kind: 'schematic', id, secrets: ['a: b\nc'], ...seen }],
    ['a release with a line break', { kind: 'schematic', id, secrets: [], factories: ['1\n2'], ...seen }],
    ['an image that is none', { kind: 'image', reference: 'x\ny', ...seen }],
    ['a time that is none', { ...media, last: 'now\n' }],
    ['a count that is none', { ...media, count: 0 }],
    ['an unknown kind', { kind: 'rpm', ...seen }],
    ['no object', null],
  ])('refuses %s', (_what, wish) => {
    expect(() => parseWants(wrap(wish), 'x')).toThrow(expect.objectContaining({ code: 'BAD_DOCUMENT' }));
  });
});

test('H9 a list from a folder does not know the URL, and says where to look', async () => {
  const list = await WishList.open(undefined);
  const id = 'a'.repeat(64);
  await list.add({ kind: 'schematic', id, secrets: ['customization.extraKernelArgs[0]: a join token'] });
  expect(wantsFragment(await list.document())).toContain(
    `# Until serve is restarted, its text is at the URL of serve, followed by /schematics/${id};`,
  );
});

test('the text of a carried schematic that something new is asked of is in the fragment, unless it holds a secret', async () => {
  const [open, closed] = [schematicFrom(plain), schematicFrom(secret)];
  const unknown = 'f'.repeat(64);
  const list = await WishList.open(undefined);
  for (const schematic of [open.id, closed.id, unknown])
    await list.add({ kind: 'media', schematic, version: v, file: 'metal-amd64.iso' });
  const document = await list.document();
  expect(schematicsWithoutText(document)).toEqual([open.id, closed.id, unknown]);
  expect(publicText(open.id, plain)).toBe(plain);
  expect(publicText(closed.id, secret)).toBeUndefined();
  expect(publicText(unknown, plain)).toBeUndefined();
  const fragment = wantsFragment(document, { texts: new Map([[open.id, plain]]) });
  expect(fragment).toContain(`  # ${open.id}\n  - schematic:\n      customization:\n`);
  expect(fragment).toContain(`the public factory must know it too.\n  - schematic: ${unknown}`);
});

test('an empty list is a fragment of comments that says so', async () => {
  const list = await WishList.open(undefined);
  expect(wantsFragment(await list.document())).toContain('# Clients requested nothing that is missing here.');
});

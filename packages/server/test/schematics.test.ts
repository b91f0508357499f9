/** Schematics as the Image Factory takes and gives them. */
import { readFileSync } from 'node:fs';
import type { Layout } from '@omni-airgap/oci/layout';
import { schematicFrom, schematicId } from '@omni-airgap/talos';
import { beforeEach, describe, expect, test } from 'vitest';
import { parseWants } from '../src/index.ts';
import { answer, carried, cmdline, other, plain, post, v } from './carried.ts';
import { putFiles, putImage, putSchematic, type Running, start } from './support.ts';

const vectors = readFileSync(
  new URL('../../talos/test/vectors/schematic-vectors.jsonl', import.meta.url),
  'utf8',
)
  .trimEnd()
  .split('\n')
  .map(
    (line) =>
      JSON.parse(line) as { input: string; canonical?: string; id?: string; error?: true; refused?: true },
  );

let layout: Layout;
let id: string;

beforeEach(async () => {
  ({ layout, id } = await carried());
});

const serve = (): Promise<Running> => start({ source: layout });

describe('POST /schematics', () => {
  test('all 511 vectors: the canonical text and ID, or 400', async () => {
    const { url } = await serve();
    expect(vectors).toHaveLength(511);
    for (const { input, canonical, id: expected, error, refused } of vectors) {
      const response = await post(url, input);
      if (error === true || refused === true) {
        expect([response.status, input]).toEqual([400, input]);
        expect(await response.text()).toMatch(/\n$/);
        continue;
      }
      const isOwned = schematicFrom(input).schematic.owner !== undefined;
      expect([response.status, input]).toEqual([isOwned ? 400 : 201, input]);
      if (!isOwned) expect(await response.json()).toEqual({ id: expected, schematic: canonical });
      else await response.text();
    }
  });

  test.each([
    [
      'an unknown field',
      'customisation: {}\n',
      /line 1: field customisation not found in type schematic.Schematic/,
    ],
    ['an owner', 'owner: me\ncustomization: {}\n', /Enterprise edition/],
    ['a wrong type', 'customization: {extraKernelArgs: 3}\n', /line 1/],
    ['no YAML', 'a: [\n', /line 2/],
    ['nothing', '', /no document/],
  ])('%s: 400 in plain text', async (_what, body, message) => {
    const response = await post((await serve()).url, body);
    expect(response.status).toBe(400);
    expect(response.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    expect(await response.text()).toMatch(message);
  });

  test('more than a mebibyte: 413', async () => {
    expect((await post((await serve()).url, `# ${'x'.repeat(1024 * 1024)}`)).status).toBe(413);
  });

  test('one that is carried is no wish; JSON is YAML', async () => {
    const server = await serve();
    const response = await post(server.url, '{"customization": {"extraKernelArgs": []}}');
    expect([response.status, await response.json()]).toEqual([201, { id, schematic: plain }]);
    expect((await server.wishes()).wishes).toEqual([]);
  });

  test('one that is not carried is 201 too, is known from then on, and is a wish', async () => {
    const server = await serve();
    const made = schematicFrom(other).id;
    expect((await fetch(`${server.url}/schematics/${made}`)).status).toBe(404);
    expect((await post(server.url, other)).status).toBe(201);
    const got = await fetch(`${server.url}/schematics/${made}`);
    expect([got.headers.get('content-type'), await got.text()]).toEqual(['application/yaml', other]);
    expect((await server.wishes()).wishes).toMatchObject([
      { kind: 'schematic', id: made, text: other, count: 1 },
    ]);
  });

  test('one that is carried under another spelling is found under it', async () => {
    const text = 'customization:\n    secureboot:\n        enrollKeys: "off"\n';
    const carried = await putSchematic(layout, text);
    const own = schematicFrom(text);
    expect(own.id).not.toBe(carried);
    const server = await serve();
    for (const input of [text, own.canonical, '{"customization": {"secureboot": {"enrollKeys": "off"}}}'])
      expect(await (await post(server.url, input)).json()).toEqual({ id: carried, schematic: text });
    expect((await server.wishes()).wishes).toEqual([]);
    const other = 'customization:\n    secureboot:\n        enrollKeys: force\n';
    expect(await (await post(server.url, other)).json()).toEqual({
      id: schematicFrom(other).id,
      schematic: other,
    });
    expect((await server.wishes()).wishes).toHaveLength(1);
  });
});

describe('one schematic, an ID for each release of the Image Factory (H8)', () => {
  const enrollKeys = (text: string): string =>
    `customization:\n    secureboot:\n        enrollKeys: ${text}\n`;
  const [single, double] = [enrollKeys("'off'"), enrollKeys('"off"')];
  const [singleId, doubleId] = [schematicId(single), schematicId(double)];

  test.each([
    ['1.5.0', single],
    ['v1.4.0', double],
    ['v1.6.0', double],
  ])('with the factory version %s, a schematic gets the ID that this one gives', async (version, text) => {
    const server = await start({ source: layout, factoryVersion: version });
    const made = await post(server.url, double);
    expect(await made.json()).toEqual({ id: schematicId(text), schematic: text });
    expect((await server.wishes()).wishes).toMatchObject([{ id: schematicId(text), text }]);
  });

  test('without one, that of the newest Image Factory that was carried', async () => {
    for (const version of ['v1.3.2', 'v1.4.0'])
      await putImage(layout, `ghcr.io/siderolabs/image-factory:${version}`, Buffer.from(version));
    const made = await post((await serve()).url, single);
    expect(await made.json()).toEqual({ id: doubleId, schematic: double });
  });

  test.each([
    ['double', double, singleId, single],
    ['single', single, doubleId, double],
  ])('carried in %s quotes, it is found by either ID', async (_, text, otherId, otherText) => {
    const carriedId = await putSchematic(layout, text);
    await putFiles(layout, `factory.talos.dev/talos-media/${carriedId}:${v}`, {
      'metal-amd64.iso': 'of the one carried',
      'kernel-amd64': 'k',
      'initramfs-amd64.xz': 'i',
      'cmdline-metal-amd64': cmdline,
    });
    const server = await serve();
    const { url } = server;
    for (const [one, expected] of [
      [carriedId, text],
      [otherId, otherText],
    ] as const) {
      expect(await answer(await fetch(`${url}/schematics/${one}`))).toEqual([200, expected]);
      const iso = await fetch(`${url}/image/${one}/${v}/metal-amd64.iso`);
      expect(await answer(iso)).toEqual([200, 'of the one carried']);
      const script = await (await fetch(`${url}/pxe/${one}/${v}/metal-amd64`)).text();
      expect(script).toContain(`${url}/image/${carriedId}/${v}/kernel-amd64`);
    }
    // What is missing is wanted under the ID that was carried.
    expect((await fetch(`${url}/image/${otherId}/${v}/metal-arm64.iso`)).status).toBe(404);
    expect((await server.wishes()).wishes).toMatchObject([{ kind: 'media', schematic: carriedId }]);
    const page = await fetch(`${url}/lookup`, {
      method: 'POST',
      body: new URLSearchParams({ schematic: otherId }),
    });
    const shown = await page.text();
    expect(shown).toContain(`<code>${singleId}</code> 1.5<`);
    expect(shown).toContain(`<code>${doubleId}</code> 1.6 and later, 1.1 to 1.4, 0.9 and 1.0<`);
  });

  test('a wish says for which releases its ID holds, unless it holds for all', async () => {
    const server = await serve();
    for (const text of [single, other]) await post(server.url, text);
    const list = await (await fetch(`${server.url}/wants.yaml`)).text();
    expect(list).toContain(
      '# its ID in Image Factory 1.5; other releases give the same schematic another ID',
    );
    expect(list.match(/its ID in/g)).toHaveLength(1);
    expect(parseWants(Buffer.from(JSON.stringify(await server.wishes())), 'x').wishes).toMatchObject([
      { id: singleId, factories: ['1.5'] },
      {},
    ]);
  });
});

describe('GET /schematics/:id', () => {
  test('the canonical text', async () => {
    const { url } = await serve();
    expect(await answer(await fetch(`${url}/schematics/${id}`))).toEqual([200, plain]);
    expect(await answer(await fetch(`${url}/schematics/${'0'.repeat(64)}`))).toEqual([
      404,
      'schematic not found\n',
    ]);
    expect((await fetch(`${url}/schematics/x`)).status).toBe(404);
  });

  test('of one that is named here without its text: 404 that says why, and the others are found', async () => {
    const named = 'a'.repeat(64);
    const repository = 'factory.talos.dev/siderolabs/image-factory/schematics';
    await putImage(layout, `${repository}:${named}`, Buffer.from('something else'));
    const server = await serve();
    expect(await answer(await fetch(`${server.url}/schematics/${named}`))).toEqual([
      404,
      'schematic not found: its text came with an earlier bundle\n',
    ]);
    expect((await (await post(server.url, plain)).json()) as object).toMatchObject({ id });
    expect((await post(server.url, other)).status).toBe(201);
  });
});

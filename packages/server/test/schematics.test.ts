/** Schematics as the Image Factory takes and gives them. */
import { readFileSync } from 'node:fs';
import type { Layout } from '@omni-airgap/oci/layout';
import { schematicFrom } from '@omni-airgap/talos';
import { beforeEach, describe, expect, test } from 'vitest';
import { answer, carried, other, plain, post } from './carried.ts';
import { putSchematic, type Running, start } from './support.ts';

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
    expect(server.wishes().wishes).toEqual([]);
  });

  test('one that is not carried is 201 too, is known from then on, and is a wish', async () => {
    const server = await serve();
    const made = schematicFrom(other).id;
    expect((await fetch(`${server.url}/schematics/${made}`)).status).toBe(404);
    expect((await post(server.url, other)).status).toBe(201);
    const got = await fetch(`${server.url}/schematics/${made}`);
    expect([got.headers.get('content-type'), await got.text()]).toEqual(['application/yaml', other]);
    expect(server.wishes().wishes).toMatchObject([{ kind: 'schematic', id: made, text: other, count: 1 }]);
  });

  test('one that is carried under another spelling is found under it', async () => {
    const text = 'customization:\n    secureboot:\n        enrollKeys: "off"\n';
    const carried = await putSchematic(layout, text);
    const own = schematicFrom(text);
    expect(own.id).not.toBe(carried);
    const server = await serve();
    for (const input of [text, own.canonical, '{"customization": {"secureboot": {"enrollKeys": "off"}}}'])
      expect(await (await post(server.url, input)).json()).toEqual({ id: carried, schematic: text });
    expect(server.wishes().wishes).toEqual([]);
    const other = 'customization:\n    secureboot:\n        enrollKeys: force\n';
    expect(await (await post(server.url, other)).json()).toEqual({
      id: schematicFrom(other).id,
      schematic: other,
    });
    expect(server.wishes().wishes).toHaveLength(1);
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
});

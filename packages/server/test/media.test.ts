import type { Layout } from '@omni-airgap/oci/layout';
import { schematicFrom } from '@omni-airgap/talos';
import { beforeEach, describe, expect, test } from 'vitest';
import { answer, carried, cmdline, other, post, v } from './carried.ts';
import { putFiles, putSchematic, type Running, start } from './support.ts';

let layout: Layout;
let id: string;

beforeEach(async () => {
  ({ layout, id } = await carried());
});

const serve = (): Promise<Running> => start({ source: layout });

describe('/image', () => {
  test('GET and HEAD, with and without the v, ranges, conditions', async () => {
    const { url } = await serve();
    for (const version of [v, '1.13.9']) {
      const path = `${url}/image/${id}/${version}/metal-amd64.iso`;
      const got = await fetch(path);
      expect(await answer(got)).toEqual([200, 'iso bytes']);
      expect(Object.fromEntries(got.headers)).toMatchObject({
        'content-type': 'application/x-iso9660-image',
        'content-disposition': 'attachment; filename="metal-amd64.iso"',
        'content-length': '9',
        'accept-ranges': 'bytes',
        server: 'Image Factory omni-airgap',
      });
      const head = await fetch(path, { method: 'HEAD' });
      expect([head.status, head.headers.get('content-length'), await head.text()]).toEqual([200, '9', '']);
      const part = await fetch(path, { headers: { range: 'bytes=4-' } });
      expect([part.status, part.headers.get('content-range'), await part.text()]).toEqual([
        206,
        'bytes 4-8/9',
        'bytes',
      ]);
      const etag = got.headers.get('etag') ?? '';
      expect((await fetch(path, { headers: { 'if-none-match': etag } })).status).toBe(304);
    }
  });

  test.each([
    ['talos.iso', 'attachment; filename="talos.iso"'],
    ['a "b" \\c.iso', 'attachment; filename="a \\"b\\" \\\\c.iso"'],
    ['tälos.iso', `attachment; filename="t_los.iso"; filename*=UTF-8''t%C3%A4los.iso`],
  ])('?filename=%s', async (name, header) => {
    const { url } = await serve();
    const query = new URLSearchParams({ filename: name });
    const response = await fetch(`${url}/image/${id}/${v}/metal-amd64.iso?${query}`, { method: 'HEAD' });
    expect(response.headers.get('content-disposition')).toBe(header);
  });

  test.each(['%0d%0aX-Evil:%201', 'a%00b', 'x%0a', '%ff%fe%0d', 'a'.repeat(300)])(
    'T38 serve.header.inject: ?filename=%s never makes a header',
    async (filename) => {
      const { url } = await serve();
      const response = await fetch(`${url}/image/${id}/${v}/metal-amd64.iso?filename=${filename}`);
      expect(response.status).toBe(400);
      expect(response.headers.get('x-evil')).toBe(null);
    },
  );

  test.each(['.sha256', '.sha512', '.sigstore.json'])('%s is 402, known or not', async (suffix) => {
    const { url } = await serve();
    const response = await fetch(`${url}/image/${'1'.repeat(64)}/${v}/metal-amd64.iso${suffix}`);
    expect(await answer(response)).toEqual([402, expect.stringMatching(/^enterprise .*not enabled: .*\n$/)]);
  });

  test('an unknown schematic is 404, a malformed version or name 400', async () => {
    const { url } = await serve();
    const unknown = 'f'.repeat(64);
    expect(await answer(await fetch(`${url}/image/${unknown}/${v}/metal-amd64.iso`))).toEqual([
      404,
      `schematic ID "${unknown}" not found\n`,
    ]);
    expect((await fetch(`${url}/image/${id}/latest/metal-amd64.iso`)).status).toBe(400);
    expect(await answer(await fetch(`${url}/image/${id}/${v}/passwd`))).toEqual([
      400,
      'error parsing profile from path: invalid profile path: "passwd"\n',
    ]);
  });

  test('of a known schematic the kernel is served and the command line composed, and nothing else', async () => {
    const server = await serve();
    const { url } = server;
    const made = schematicFrom(other).id;
    await post(url, other);
    const base = `${url}/image/${made}/${v}`;
    expect(await answer(await fetch(`${base}/kernel-amd64`))).toEqual([200, 'kernel bytes']);
    expect(await answer(await fetch(`${base}/cmdline-metal-amd64`))).toEqual([
      200,
      `${cmdline} siderolink.api=grpc://omni:8090 net.ifnames=0`,
    ]);
    for (const file of [
      'initramfs-amd64.xz',
      'metal-amd64.iso',
      'metal-amd64-secureboot-uki.efi',
      'metal-amd64.raw.zst',
    ]) {
      expect(await answer(await fetch(`${base}/${file}`))).toEqual([
        404,
        expect.stringContaining(
          `${file} of Talos ${v} with schematic ${made} is not carried here; the wish was recorded`,
        ),
      ]);
    }
    expect((await fetch(`${base}/kernel-arm64`)).status).toBe(404);
    const files = (await server.wishes()).wishes.flatMap((wish) =>
      wish.kind === 'media' ? [wish.file] : [],
    );
    expect(files).toEqual([
      'initramfs-amd64.xz',
      'metal-amd64.iso',
      'metal-amd64-secureboot-uki.efi',
      'metal-amd64.raw.zst',
      'kernel-arm64',
    ]);
  });

  test('a carried schematic that cannot be parsed does not break requests for others', async () => {
    const text = 'customization:\n    extraKernelArgs:\n        - |4-\n            a\n          b\n';
    const unreadable = await putSchematic(layout, text);
    await putFiles(layout, `factory.talos.dev/talos-media/${unreadable}:${v}`, {
      'cmdline-metal-amd64': cmdline,
    });
    const server = await serve();
    const { url } = server;
    await post(url, other);
    const base = `${url}/image/${schematicFrom(other).id}/${v}`;
    expect((await fetch(`${base}/cmdline-metal-amd64`)).status).toBe(200);
    expect(await answer(await fetch(`${url}/schematics/${unreadable}`))).toEqual([200, text]);
    const own = await fetch(`${url}/image/${unreadable}/${v}/cmdline-metal-amd64-secureboot`);
    expect([own.status, await own.text()]).toEqual([404, expect.stringContaining('the wish was recorded')]);
  });

  test('x86_64, as iPXE says it', async () => {
    const { url } = await serve();
    expect((await fetch(`${url}/image/${id}/${v}/kernel-x86_64`)).status).toBe(200);
  });
});

test('media that are damaged end in a cut connection, the rest is served', async () => {
  const files = await putFiles(layout, `factory.talos.dev/talos-media/${id}:v1.13.8`, {
    'metal-amd64.iso': 'x'.repeat(100),
  });
  const digest = files.get('metal-amd64.iso')?.digest;
  const { chmod, writeFile } = await import('node:fs/promises');
  const path = digest === undefined ? '' : layout.pathOf(digest);
  await chmod(path, 0o644);
  await writeFile(path, 'y'.repeat(100));
  const { url } = await serve();
  await expect(fetch(`${url}/image/${id}/v1.13.8/metal-amd64.iso`).then((r) => r.bytes())).rejects.toThrow();
  expect((await fetch(`${url}/image/${id}/${v}/metal-amd64.iso`)).status).toBe(200);
});

test('F9 artifacts of another registry that look like these are pulled, not served as boot assets', async () => {
  const mine = 'registry.example.com';
  const older = 'v1.13.1';
  await putFiles(layout, `${mine}/talos-media/${id}:${older}`, { 'kernel-amd64': 'tool' });
  await putFiles(layout, `${mine}/talos-catalog/talosctl:${older}`, { 'talosctl-linux-amd64': 'tool' });
  await putFiles(layout, `${mine}/talos-catalog/talosctl:${v}`, { 'talosctl-linux-amd64': 'tool' });
  await putFiles(layout, `${mine}/siderolabs/image-factory/schematics:${'a'.repeat(64)}`, { file: 'tool' });
  const { url } = await serve();
  const status = async (path: string): Promise<number> => (await fetch(`${url}/${path}`)).status;
  expect(await (await fetch(`${url}/versions`)).text()).not.toContain(older);
  expect(await status(`image/${id}/${older}/kernel-amd64`)).toBe(404);
  expect(await status(`talosctl/${older}/talosctl-linux-amd64`)).toBe(404);
  expect(await status(`schematics/${'a'.repeat(64)}`)).toBe(404);
  expect(await answer(await fetch(`${url}/talosctl/${v}/talosctl-linux-amd64`))).toEqual([200, 'ELF']);
  expect(await status(`v2/talos-media/${id}/manifests/${older}`)).toBe(200);
  expect(await status(`v2/${mine}/talos-catalog/talosctl/manifests/${v}`)).toBe(200);
});

/** Bundles as what is served: over several media, with increments, pulled out and put back. */
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { cp, mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeTestBundle } from '@omni-airgap/format/testing';
import type { Layout } from '@omni-airgap/oci/layout';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openBundles } from '../src/index.ts';
import { newLayout, putImage, start, temporaryFolder } from './support.ts';

const big = 256 * 1024;

async function withImage(
  name: string,
  fill: string,
): Promise<{ readonly layout: Layout; readonly layer: string }> {
  const layout = await newLayout();
  const { layer } = await putImage(layout, name, Buffer.alloc(big, fill));
  return { layout, layer: layer.digest };
}

test('media in two folders are one bundle, whoever signed it is told', async () => {
  const { layout, layer } = await withImage('ghcr.io/a/b:v1', 'x');
  const [first, second] = [await temporaryFolder(), await temporaryFolder()];
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const document = await writeTestBundle(layout, first, { key: privateKey });
  const { copyFile } = await import('node:fs/promises');
  for (const name of ['bundle.json', 'bundle.json.sig'])
    await copyFile(join(first, name), join(second, name));
  await rename(join(first, 'content.tar.001'), join(second, 'content.tar.001'));
  const opened = await openBundles([second, first], { mode: 'signed', keys: [publicKey] });
  const server = await start(opened);
  expect((await (await fetch(`${server.url}/v2/a/b/blobs/${layer}`)).bytes()).byteLength).toBe(big);
  expect(server.health().bundles).toMatchObject([{ id: document.id, sequence: 1 }]);
  const page = await (await fetch(server.url)).text();
  expect(page).toContain(document.id);
  expect(page).toContain(opened.provenance[0]?.signedBy);
});

test('F57 a bundle on a read-only medium is served, wishes are kept elsewhere', async (context) => {
  const { layout, layer } = await withImage('ghcr.io/a/b:v1', 'x');
  const [medium, writable] = [await temporaryFolder(), await newLayout()];
  await writeTestBundle(layout, medium);
  try {
    execFileSync('mount', ['--bind', '-o', 'ro', medium, medium], { stdio: 'ignore' });
  } catch {
    return context.skip('a read-only mount needs root');
  }
  onTestFinished(() => void execFileSync('umount', ['--lazy', medium]));
  await expect(writeFile(join(medium, 'x'), '')).rejects.toMatchObject({ code: 'EROFS' });
  const wishesFile = join(writable.root, 'wants.json');
  const server = await start({ ...(await openBundles([medium], { mode: 'any' })), writable, wishesFile });
  expect((await (await fetch(`${server.url}/v2/a/b/blobs/${layer}`)).bytes()).byteLength).toBe(big);
  expect((await fetch(`${server.url}/version/v1.99.0/extensions/official`)).status).toBe(404);
  await server.close();
  expect(await readFile(wishesFile, 'utf8')).toContain('v1.99.0');
});

test('two bundles are served together', async () => {
  const one = await withImage('ghcr.io/a/b:v1', 'x');
  const two = await withImage('ghcr.io/c/d:v1', 'y');
  const [first, second] = [await temporaryFolder(), await temporaryFolder()];
  await writeTestBundle(one.layout, first);
  const document = await writeTestBundle(two.layout, second);
  // A15: as load, it takes no two bundles under one number of one store.
  await expect(openBundles([first, second], { mode: 'any' })).rejects.toMatchObject({ code: 'ROLLBACK' });
  const change = (members: object): Promise<void> =>
    writeFile(join(second, 'bundle.json'), JSON.stringify({ ...document, ...members }));
  await change({ origin: 'b'.repeat(32) });
  const { warnings } = await openBundles([first, second], { mode: 'any' });
  expect(warnings.join()).toContain(`several stores (${document.origin}, ${'b'.repeat(32)})`);
  await change({ sequence: 2 });
  const { source, provenance } = await openBundles([first, second], { mode: 'any' });
  expect(provenance.map(({ signedBy }) => signedBy)).toEqual([undefined, undefined]);
  const server = await start({ source });
  // Both say they are of one origin: names and content come from both (union.test.ts).
  for (const { layer } of [one, two]) expect(await source.stat(layer as never)).toBe(big);
  const named = await Promise.all(
    ['a/b', 'c/d'].map(async (name) => (await fetch(`${server.url}/v2/${name}/tags/list`)).status),
  );
  expect(named).toEqual([200, 200]);
});

test('T44 an old bundle is warned about, and refused beyond --max-age; an old base is not', async () => {
  const { layout } = await withImage('ghcr.io/a/b:v1', 'x');
  const [old, base] = [await temporaryFolder(), await temporaryFolder()];
  const document = await writeTestBundle(layout, old);
  expect((await openBundles([old], { mode: 'any' })).warnings.join()).toMatch(/days ago/);
  const refused = openBundles([old], { mode: 'any' }, { maxAgeDays: 30 });
  await expect(refused).rejects.toMatchObject({ code: 'EXPIRED' });
  // The same content as a newer bundle, over the old one as its base.
  await cp(old, base, { recursive: true });
  const newer = { ...document, sequence: 2, createdAt: new Date().toISOString() };
  await writeFile(join(old, 'bundle.json'), JSON.stringify(newer));
  expect((await openBundles([base, old], { mode: 'any' }, { maxAgeDays: 30 })).warnings).toEqual([]);
});

describe('F50 serve.yank', () => {
  async function served() {
    const { layout, layer } = await withImage('ghcr.io/a/b:v1', 'x');
    const mount = join(await temporaryFolder(), 'usb');
    await writeTestBundle(layout, mount);
    const server = await start(await openBundles([mount], { mode: 'any' }));
    const blob = `${server.url}/v2/a/b/blobs/${layer}`;
    expect((await (await fetch(blob)).bytes()).byteLength).toBe(big);
    return { server, blob, mount };
  }

  test('pulled: 503 and not ready; put back: everything as before', async () => {
    const { server, blob, mount } = await served();
    await rename(mount, `${mount}.away`);
    expect((await fetch(blob)).status).toBe(503);
    expect((await fetch(`${server.url}/v2/a/b/manifests/v1`)).status).toBe(503);
    expect((await fetch(`${server.url}/readyz`)).status).toBe(503);
    expect((await fetch(server.url)).status).toBe(200);
    await rename(`${mount}.away`, mount);
    expect((await (await fetch(blob)).bytes()).byteLength).toBe(big);
    expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
  });

  test('another bundle in its place: nothing of it is served under the names of the first', async () => {
    const { server, blob, mount } = await served();
    await rename(mount, `${mount}.away`);
    await mkdir(mount);
    const other = await withImage('ghcr.io/a/b:v1', 'y');
    await writeTestBundle(other.layout, mount);
    expect(await readdir(mount)).toContain('content.tar.001');
    const outcome = await fetch(blob)
      .then(
        async (response) => (response.ok ? (await response.bytes()).byteLength : response.status),
        () => 'cut',
      )
      .catch(() => 'cut');
    expect(outcome).toBe('cut');
    const manifest = await fetch(`${server.url}/v2/a/b/manifests/v1`).then(
      ({ status }) => status,
      () => 0,
    );
    expect(manifest).toBeGreaterThanOrEqual(500);
    expect((await fetch(`${server.url}/healthz`)).status).toBe(503);
  });
});

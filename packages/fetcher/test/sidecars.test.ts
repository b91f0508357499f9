/** Checksums and signatures beside a file: used where the factory offers them; refusals that say no more are errors. */
import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { Layout } from '@omni-airgap/oci/layout';
import { describe, expect, test } from 'vitest';
import { factoryHost } from './factory-double.ts';
import { bundleOver, filesOf, iso, mediaSite, mirrorOf, setName, text } from './media-site.ts';
import { assetBytes, type Site } from './site.ts';

const signature = 'metal-amd64.iso.sigstore.json';

async function isoSite(): Promise<Site> {
  const site = await mediaSite();
  await site.mirror(mirrorOf(['metal-amd64.iso']));
  return site;
}

const hashOf = (site: Site, algorithm: 'sha256' | 'sha512'): Buffer =>
  createHash(algorithm)
    .update(site.factory.files.get(iso) ?? '')
    .digest();

/** From now on the factory answers so for what stands beside the ISO. */
function offer(site: Site, suffix: string, body: string, status = 200): void {
  site.factory.rules.unshift({
    path: new RegExp(`\\.iso\\.${suffix}$`),
    answer: (_, response) => text(response, status, body),
  });
}

describe('offered', () => {
  test('a checksum that fits, and a signature, which is kept beside the file byte for byte (F22)', async () => {
    const site = await isoSite();
    offer(site, 'sha256', `${hashOf(site, 'sha256').toString('hex')}  metal-amd64.iso\n`);
    const bundle = bundleOver(hashOf(site, 'sha256'));
    offer(site, 'sigstore.json', bundle);
    await site.fetch();
    const files = await filesOf(site, setName);
    expect(Object.keys(files)).toEqual(['metal-amd64.iso', signature]);
    expect(files[signature]?.toString()).toBe(bundle);
    const locked = (await site.lock()).items.find((item) => item.name === setName)?.files;
    expect(locked?.map((file) => file.name)).toEqual(['metal-amd64.iso', signature]);
    // SHA-256 says all there is to say.
    expect(site.asked(factoryHost)).not.toContain(`GET /${iso}.sha512`);
    expect(await site.fetch()).toMatchObject({ changed: [] });
  });

  test('a signature alone, without checksums (F22)', async () => {
    const site = await isoSite();
    offer(site, 'sigstore.json', bundleOver(hashOf(site, 'sha256')));
    await site.fetch();
    expect(Object.keys(await filesOf(site, setName))).toEqual(['metal-amd64.iso', signature]);
  });

  test.each(['sha256', 'sha512'] as const)('a %s that does not fit refuses the file (F22)', async (name) => {
    const site = await isoSite();
    offer(site, name, `${'0'.repeat(name === 'sha256' ? 64 : 128)}  metal-amd64.iso\n`);
    await expect(site.fetch()).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect((await site.lock()).missing).toEqual([setName]);
    offer(site, name, `${hashOf(site, name).toString('hex')}  metal-amd64.iso\n`);
    await site.fetch();
    expect((await site.lock()).missing).toEqual([]);
  });

  test.each([
    ['a page', '<html>log in</html>', 'a web page'],
    ['text', 'blocked', 'not a line'],
    ['a hash that is cut', 'abc123  metal-amd64.iso', 'not a line'],
  ])('%s in place of a checksum is no fault of the file (C13)', async (_what, answer, message) => {
    const site = await isoSite();
    offer(site, 'sha256', answer);
    await expect(site.fetch()).rejects.toMatchObject({
      code: 'UPSTREAM',
      message: expect.stringContaining(message),
    });
  });

  test.each([
    ['about other bytes', 'DIGEST_MISMATCH', () => bundleOver(Buffer.alloc(32))],
    ['of another type', 'BAD_SIGNATURE', (digest: Buffer) => bundleOver(digest, { mediaType: 'other' })],
    ['about nothing', 'BAD_SIGNATURE', (digest: Buffer) => bundleOver(digest, { messageSignature: {} })],
    ['that is a page', 'UPSTREAM', () => '<html>log in</html>'],
    [
      'with a key twice (T21)',
      'BAD_SIGNATURE',
      (digest: Buffer) => bundleOver(digest).replace('{', '{"mediaType":"x",'),
    ],
  ])('a signature %s refuses the file (F22)', async (_what, code, bundle) => {
    const site = await isoSite();
    offer(site, 'sigstore.json', bundle(hashOf(site, 'sha256')));
    await expect(site.fetch()).rejects.toMatchObject({ code });
    expect((await site.lock()).missing).toEqual([setName]);
  });

  test('a signature that the store has lost comes again, and is not dropped when it cannot', async () => {
    const site = await isoSite();
    offer(site, 'sigstore.json', bundleOver(hashOf(site, 'sha256')));
    await site.fetch();
    const lose = async (): Promise<void> => {
      const files = (await site.lock()).items.find((item) => item.name === setName)?.files;
      const digest = files?.find((file) => file.name === signature)?.digest;
      if (digest === undefined) throw new Error('not pinned');
      await rm((await Layout.open(site.store)).pathOf(digest));
    };
    await lose();
    await site.fetch();
    expect(Object.keys(await filesOf(site, setName))).toContain(signature);
    await lose();
    offer(site, 'sigstore.json', 'not enabled', 402);
    await expect(site.fetch()).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining(signature),
    });
  });
});

describe('not offered', () => {
  test('402 for all of them: the digest of the first fetch is what holds, and it is no error (F22)', async () => {
    const site = await isoSite();
    await site.fetch();
    const asked = site.asked(factoryHost).filter((line) => line.startsWith(`GET /${iso}.`));
    expect(asked.sort()).toEqual(
      ['sha256', 'sha512', 'sigstore.json'].map((suffix) => `GET /${iso}.${suffix}`),
    );
    expect(Object.keys(await filesOf(site, setName))).toEqual(['metal-amd64.iso']);
    // What came is kept: another file later is a conflict.
    site.factory.files.set(iso, await assetBytes('metal-amd64.iso', 9, 700_000));
    expect(await site.fetch()).toMatchObject({ changed: [] });
  });

  test.each([400, 404])(
    '%i from a factory that knows no such files is no error either (F22)',
    async (status) => {
      const site = await isoSite();
      for (const suffix of ['sha256', 'sha512', 'sigstore.json']) offer(site, suffix, 'invalid path', status);
      await site.fetch();
      expect(Object.keys(await filesOf(site, setName))).toEqual(['metal-amd64.iso']);
      expect((await site.lock()).missing).toEqual([]);
    },
  );

  test.each([
    ['sha256', 403],
    ['sha512', 500],
    ['sigstore.json', 401],
    ['sigstore.json', 429],
  ])(
    '%s with a %i is not "not offered": the file fails, and comes when it is answered (F22)',
    async (suffix, status) => {
      const site = await isoSite();
      site.factory.rules.unshift({
        path: new RegExp(`\\.iso\\.${suffix}$`),
        answer: (_, response) => {
          response.setHeader('retry-after', '0');
          text(response, status, 'no');
        },
      });
      await expect(site.fetch()).rejects.toMatchObject({
        code: expect.stringMatching(/NOT_FOUND|DENIED|UPSTREAM/),
      });
      expect((await site.lock()).missing).toEqual([setName]);
      site.factory.rules.shift();
      await site.fetch();
      expect((await site.lock()).missing).toEqual([]);
    },
  );
});

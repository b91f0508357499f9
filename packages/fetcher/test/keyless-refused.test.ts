/** Flags and trust roots for keyless signatures that are refused before any request. */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { FetchOptions } from '../src/fetch.ts';
import { authority } from './keyless-cases.ts';
import { fetchWith, identities, rootFile, site } from './keyless-site.ts';

describe('refused before any request', () => {
  interface Root {
    [name: string]: unknown;
    certificateAuthorities: { certChain: { certificates: { rawBytes: string }[] } }[];
    tlogs: { publicKey: { rawBytes: string }; logId?: object }[];
  }
  const changed = (change: (root: Root) => void): Root => {
    const root = authority.trustedRoot() as unknown as Root;
    change(root);
    return root;
  };
  const roots: readonly (readonly [string, () => unknown, string])[] = [
    ['that is no JSON', () => 'trust me', 'a value was expected at character 0'],
    ['that is no object', () => '[]', 'must be an object'],
    [
      'of an unknown type',
      () => changed((root) => Object.assign(root, { mediaType: 'application/json' })),
      'mediaType is application/json',
    ],
    ['that is a signing configuration', () => ({ mediaType: undefined }), 'mediaType is missing'],
    [
      'without authorities',
      () => changed((root) => Reflect.deleteProperty(root, 'certificateAuthorities')),
      'certificateAuthorities is empty',
    ],
    [
      'without a log of certificates',
      () => changed((root) => Object.assign(root, { ctlogs: [] })),
      'ctlogs is empty',
    ],
    [
      'without a log of signatures',
      () => changed((root) => Object.assign(root, { tlogs: [] })),
      'tlogs is empty',
    ],
    [
      'with something else for a certificate',
      () =>
        changed(({ certificateAuthorities: [one] }) => {
          for (const certificate of one?.certChain.certificates ?? []) certificate.rawBytes = 'AAAA';
        }),
      'certificateAuthorities[0].certChain.certificates[0].rawBytes is no certificate',
    ],
    [
      'with something else for a key',
      () =>
        changed(({ tlogs: [one] }) => {
          if (one !== undefined) one.publicKey.rawBytes = 'AAAA';
        }),
      'tlogs[0].publicKey.rawBytes is no public key',
    ],
    [
      'with junk in its base64',
      () =>
        changed(({ tlogs: [one] }) => {
          if (one !== undefined) one.publicKey.rawBytes += '!';
        }),
      'rawBytes is not base64',
    ],
    [
      'with a log that has no name',
      () => changed(({ tlogs: [one] }) => one && Reflect.deleteProperty(one, 'logId')),
      'tlogs[0].logId is missing',
    ],
  ];
  test.each(roots)('a trust root %s', async (_what, make, why) => {
    const { at } = await site(() => []);
    const sigstoreRoot = await rootFile(at, make(), 'other');
    const refused = fetchWith(at, { sigstoreRoot });
    await expect(refused).rejects.toMatchObject({ code: 'CONFIG', message: expect.stringContaining(why) });
    await expect(refused).rejects.toThrow(`--sigstore-root ${sigstoreRoot}: `);
    expect(at.asked('ghcr.io')).toEqual([]);
  });

  const options: readonly (readonly [string, Partial<FetchOptions>, string])[] = [
    [
      'an identity that is no regular expression',
      { verifyImagesIdentities: ['(somebody'] },
      'no regular expression',
    ],
    ['an identity with a bracket too many', { verifyImagesIdentities: ['a)|(?:b'] }, 'no regular expression'],
    ['an identity that names nobody', { verifyImagesIdentities: ['ghcr.io/='] }, 'names nobody'],
    [
      'an identity that has a = of its own',
      { verifyImagesIdentities: ['https://acme\\.example/release\\?ref=v.*'] },
      'write =REGEXP if all are meant',
    ],
    ['an identity that fits anybody', { verifyImagesIdentities: ['.*'] }, 'matches anyone'],
    ['an issuer that is no https URL', { verifyImagesIssuers: ['accounts.example'] }, 'must be an https URL'],
    [
      'two issuers for one identity',
      { verifyImagesIssuers: ['https://a.example', 'https://b.example'] },
      'given 2 times for 1 of --verify-images-identity',
    ],
  ];
  test.each(options)('%s', async (_what, given, why) => {
    const { at } = await site(() => []);
    await expect(fetchWith(at, given)).rejects.toMatchObject({
      code: 'CONFIG',
      message: expect.stringContaining(why),
    });
    expect(at.asked('ghcr.io')).toEqual([]);
  });

  test('a trust root that is not there, and identities without one', async () => {
    const { at } = await site(() => []);
    const sigstoreRoot = join(at.folder, 'nowhere.json');
    await expect(fetchWith(at, { sigstoreRoot })).rejects.toMatchObject({ code: 'NO_INPUT' });
    await expect(at.fetch(identities)).rejects.toMatchObject({
      code: 'CONFIG',
      message: expect.stringContaining('--sigstore-root'),
    });
    expect(at.asked('ghcr.io')).toEqual([]);
  });
});

/** Keyless signatures of cosign: who signed is verified against a pinned trust root, and everything that must not. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Digest, descriptorOf, MediaType, openerOf } from '@omni-airgap/oci/model';
import { buildManifest, MemoryStore } from '@omni-airgap/oci/testing';
import { describe, expect, test } from 'vitest';
import { readIdentities } from '../src/signatures/identity.ts';
import { verifyKeyless } from '../src/signatures/keyless.ts';
import { SigstoreRoot } from '../src/signatures/sigstore-root.ts';
import {
  authority,
  elsewhere,
  flip,
  forms,
  type Made,
  signed,
  stranger,
  wrongSignings,
} from './keyless-cases.ts';
import { dex, fetchWith, recorded, signer, site } from './keyless-site.ts';
import { claimOf, claimType, signStatement } from './sigstore-authority.ts';
import { publishImage } from './site.ts';

test("the real thing: Sidero's signature of an installer, under the public trust root and the defaults", async () => {
  const file = (name: string): string => join(import.meta.dirname, 'fixtures', 'keyless', name);
  const { payload, annotations } = JSON.parse(readFileSync(file('installer-v1.4.0.json'), 'utf8'));
  const store = new MemoryStore();
  const layer = { ...descriptorOf(claimType, Buffer.from(payload)), annotations };
  const config = descriptorOf(MediaType.ociConfig, Buffer.from('{}'));
  const manifest = buildManifest(MediaType.ociManifest, { config, layers: [layer] });
  await store.push(layer, openerOf(Buffer.from(payload)));
  await store.push(manifest.descriptor, openerOf(manifest.bytes));
  const image = {
    digest: 'sha256:f41795cc88f40eb1bc6b3c638c4a3123f6ef3c90627bfc35c04ebab82581e3ee' as Digest,
    repository: 'siderolabs/installer',
  };
  const root = await SigstoreRoot.read(file('trusted_root.json'));
  const manifests = { tagged: manifest.descriptor, referrers: [] };
  const found = await verifyKeyless(store, manifests, image, readIdentities([], []), root);
  expect(found).toEqual({
    identity: 'andrey.smirnov@siderolabs.com',
    issuer: 'https://accounts.google.com',
    signature: manifest.descriptor.digest,
  });
  await expect(
    verifyKeyless(store, manifests, { ...image, digest: elsewhere }, readIdentities([], []), root),
  ).rejects.toMatchObject({ code: 'BAD_SIGNATURE', message: expect.stringContaining('about another image') });
});

describe('verifies', () => {
  test.each(forms)(
    'a %s, and lock.json says who signed; a later fetch that does not check keeps that',
    async (form) => {
      const { at } = await site((digest) => [signed(form, digest)]);
      expect(await fetchWith(at)).toMatchObject({
        verified: 1,
        signers: [{ signer: 'somebody@example.com (https://accounts.example)', images: 1 }],
      });
      expect(await recorded(at)).toMatchObject(signer);
      await at.fetch();
      expect(await recorded(at)).toMatchObject(signer);
    },
  );

  test('a bundle that only the fallback tag names, as at ghcr.io', async () => {
    const { at } = await site((digest) => [signed('bundle', digest)], { 'ghcr.io': { referrersApi: false } });
    await fetchWith(at);
    expect(await recorded(at)).toMatchObject(signer);
  });

  test.each(forms)('a %s beside one that does not: any valid one is enough', async (form) => {
    const { at } = await site((digest) => [
      signed(form, digest, { certifiedBy: stranger }),
      signed(form, digest),
      signed(form, elsewhere),
    ]);
    expect(await fetchWith(at)).toMatchObject({ verified: 1 });
  });

  test('an identity that is a URI; each identity has its own issuer', async () => {
    const workflow = 'https://github.com/acme/prod/.github/workflows/release.yaml@refs/tags/v1';
    const actions = 'https://token.actions.example';
    const { at } = await site((digest) => [
      signed('bundle', digest, { identity: workflow, issuer: actions }),
    ]);
    const two = {
      verifyImagesIdentities: ['somebody@example\\.com', 'https://github\\.com/acme/prod/.*'],
    };
    await fetchWith(at, { ...two, verifyImagesIssuers: ['https://accounts.example', actions] });
    expect(await recorded(at)).toMatchObject({ identity: workflow, issuer: actions });
    await expect(
      fetchWith(at, { ...two, verifyImagesIssuers: [actions, 'https://accounts.example'] }),
    ).rejects.toMatchObject({ code: 'BAD_SIGNATURE' });
  });

  test('long after the certificate has ended: the log says when it was used', async () => {
    const { at } = await site((digest) => [
      signed('layer', digest, { at: new Date('2024-06-01T12:00:00Z') }),
    ]);
    expect(await fetchWith(at)).toMatchObject({ verified: 1 });
  });

  test('only what an identity is meant for, and what may not be unsigned', async () => {
    const { at } = await site((digest) => [signed('layer', digest)]);
    await publishImage(at.registry('ghcr.io'), 'unsigned/tool', 'v1', { seed: 5 });
    await at.mirror(`images: ['${dex}', 'ghcr.io/unsigned/tool:v1']`);
    const narrow = { verifyImagesIdentities: ['ghcr.io/dexidp/=somebody@example\\.com'] };
    expect(await fetchWith(at, narrow)).toMatchObject({ verified: 1 });
    await expect(fetchWith(at)).rejects.toMatchObject({
      code: 'BAD_SIGNATURE',
      message: expect.stringContaining('ghcr.io/unsigned/tool:v1: has no signature'),
    });
    expect(await fetchWith(at, { verifyImagesExcept: ['ghcr.io/unsigned/'] })).toMatchObject({ verified: 1 });
  });

  test("by default Sidero's images only", async () => {
    const { at } = await site((digest) => [signed('layer', digest)]);
    const defaults = { verifyImagesIdentities: [], verifyImagesIssuers: [] };
    expect(await fetchWith(at, defaults)).toMatchObject({ verified: 0 });
    await publishImage(at.registry('ghcr.io'), 'siderolabs/imager', 'v1.13.9', { seed: 5 });
    await at.mirror("images: ['ghcr.io/siderolabs/imager:v1.13.9']");
    await expect(fetchWith(at, defaults)).rejects.toMatchObject({ code: 'BAD_SIGNATURE' });
  });
});

describe('does not verify (exit 3), and the image gets no name', () => {
  const cases = forms.flatMap((form) =>
    wrongSignings.map(
      ({ what, signing, why }) =>
        [
          `${form}: ${what}`,
          (digest: Digest): readonly Made[] => [signed(form, digest, signing)],
          why,
        ] as const,
    ),
  );
  const edit = (digest: Digest, change: (bundle: Edited) => void): readonly Made[] => {
    const bundle = authority.bundle(signStatement(digest)) as unknown as Edited;
    change(bundle);
    return [{ bundle: JSON.stringify(bundle) }];
  };
  const annotate = (
    digest: Digest,
    change: (annotations: Record<string, string>) => void,
  ): readonly Made[] => {
    const payload = claimOf(digest, 'ghcr.io/dexidp/dex');
    const annotations = authority.annotations(Buffer.from(payload));
    change(annotations);
    return [{ payload, annotations }];
  };
  const single: readonly (readonly [string, (digest: Digest) => readonly Made[], string])[] = [
    [
      'second bundle: a time stamp on something else',
      (digest) => [signed('second bundle', digest, { stamps: flip })],
      'timestamp could not be verified',
    ],
    [
      'second bundle: an entry about the envelope, which the log no longer takes',
      (digest) => [signed('second bundle', digest, { kind: 'dsse' })],
      'its log entry is a dsse 0.0.2',
    ],
    [
      'second bundle: no time stamp',
      (digest) => {
        const bundle = authority.bundle(signStatement(digest), { log: 2 }) as unknown as Edited;
        delete bundle.verificationMaterial.timestampVerificationData;
        return [{ bundle: JSON.stringify(bundle) }];
      },
      'expected 1 timestamps, got 0',
    ],
    [
      "layer: another image's signature at this tag (F17)",
      () => [signed('layer', elsewhere)],
      'about another image',
    ],
    ["bundle: another image's statement", () => [signed('bundle', elsewhere)], 'about another image'],
    [
      'layer: a claim that was changed after it was signed',
      (digest) => [{ ...signed('layer', elsewhere), payload: claimOf(digest, 'ghcr.io/dexidp/dex') }],
      'digest mismatch',
    ],
    [
      'layer: a claim for another repository',
      (digest) => {
        const payload = claimOf(digest, 'ghcr.io/dexidp/dex-debug');
        return [{ payload, annotations: authority.annotations(Buffer.from(payload)) }];
      },
      'not for this repository',
    ],
    [
      'layer: no certificate',
      (digest) => annotate(digest, (annotations) => delete annotations['dev.sigstore.cosign/certificate']),
      'has no certificate',
    ],
    [
      'layer: no log entry',
      (digest) => annotate(digest, (annotations) => delete annotations['dev.sigstore.cosign/bundle']),
      'has no log entry (Rekor)',
    ],
    [
      "layer: another signature's log entry, whole",
      (digest) =>
        annotate(digest, (annotations) => {
          const other = authority.annotations(Buffer.from(claimOf(elsewhere, 'ghcr.io/dexidp/dex')));
          const taken = other['dev.sigstore.cosign/bundle'];
          annotations['dev.sigstore.cosign/bundle'] = taken ?? '';
        }),
      'another certificate',
    ],
    [
      'layer: a certificate that is none',
      (digest) =>
        annotate(digest, (annotations) => {
          annotations['dev.sigstore.cosign/certificate'] =
            '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
        }),
      'cannot be read',
    ],
    [
      'layer: a log entry that is cut',
      (digest) =>
        annotate(digest, (annotations) => {
          annotations['dev.sigstore.cosign/bundle'] =
            annotations['dev.sigstore.cosign/bundle']?.slice(0, -1) ?? '';
        }),
      'a comma or } was expected',
    ],
    [
      'bundle: cut',
      (digest) => {
        const [made] = edit(digest, () => {});
        return [{ bundle: made !== undefined && 'bundle' in made ? made.bundle.slice(0, -20) : '' }];
      },
      'a string is not ended',
    ],
    ['bundle: empty', () => [{ bundle: '{}' }], 'it is no'],
    [
      'bundle: no log entry',
      (digest) =>
        edit(digest, ({ verificationMaterial }) => {
          verificationMaterial.tlogEntries = [];
        }),
      'expected 1 timestamps, got 0',
    ],
    [
      'bundle: the same log entry twice',
      (digest) =>
        edit(digest, ({ verificationMaterial: { tlogEntries } }) => {
          tlogEntries.push(...tlogEntries);
        }),
      'duplicate',
    ],
    [
      'bundle: no time, since the log promises nothing',
      (digest) =>
        edit(digest, ({ verificationMaterial: { tlogEntries } }) => {
          for (const entry of tlogEntries) delete entry.inclusionPromise;
        }),
      'timestamp',
    ],
    [
      'bundle: a proof of another tree',
      (digest) =>
        edit(digest, ({ verificationMaterial: { tlogEntries } }) => {
          for (const entry of tlogEntries)
            entry.inclusionProof.hashes = [Buffer.alloc(32).toString('base64')];
        }),
      'inclusion proof',
    ],
    [
      'bundle: a checkpoint that the log did not sign',
      (digest) =>
        edit(digest, ({ verificationMaterial: { tlogEntries } }) => {
          for (const { inclusionProof } of tlogEntries) {
            inclusionProof.checkpoint.envelope = inclusionProof.checkpoint.envelope.replace('\n2\n', '\n3\n');
          }
        }),
      'checkpoint',
    ],
    [
      'bundle: junk in its base64',
      (digest) =>
        edit(digest, ({ dsseEnvelope }) => {
          for (const one of dsseEnvelope.signatures) one.sig = `${one.sig.slice(0, 4)}!!${one.sig.slice(4)}`;
        }),
      'sig is not base64',
    ],
    [
      'bundle: a statement that was changed after it was signed',
      (digest) =>
        edit(digest, ({ dsseEnvelope }) => {
          dsseEnvelope.payload = Buffer.from(`${signStatement(digest)} `).toString('base64');
        }),
      'DSSE payload hash mismatch',
    ],
    [
      'bundle: a signature over the manifest itself, which cosign does not take either',
      (digest) =>
        edit(digest, (bundle) => {
          const { payload, signatures } = bundle.dsseEnvelope;
          const messageDigest = { algorithm: 'SHA2_256', digest: payload };
          Object.assign(bundle, { messageSignature: { messageDigest, signature: signatures[0]?.sig } });
        }),
      'signs no statement',
    ],
  ];
  test.each([...cases, ...single])('%s', async (_what, make, why) => {
    const { at } = await site(make);
    const refused = fetchWith(at);
    await expect(refused).rejects.toMatchObject({ code: 'BAD_SIGNATURE' });
    await expect(refused).rejects.toThrow(why);
    const lock = await at.lock();
    expect(lock.missing).toEqual([dex]);
    expect(lock.items.some((item) => item.name === dex)).toBe(false);
  });

  const none: readonly (readonly [string, (digest: Digest) => readonly Made[]])[] = [
    ['nothing at all', () => []],
    [
      'provenance by the same identity (CVE-2026-39395)',
      (digest) => [
        { bundle: JSON.stringify(authority.bundle(signStatement(digest, 'https://slsa.dev/provenance/v1'))) },
      ],
    ],
    [
      'a bundle that refers to one platform of the image',
      (digest) => [{ ...signed('bundle', digest), ofChild: true }],
    ],
    [
      'a bundle larger than any signature',
      (digest) => [
        { bundle: `${JSON.stringify(authority.bundle(signStatement(digest)))}${' '.repeat(300_000)}` },
      ],
    ],
    [
      'a bundle of an older type',
      (digest) => [
        {
          bundle: JSON.stringify(authority.bundle(signStatement(digest))),
          mediaType: 'application/vnd.dev.sigstore.bundle.v0.2+json',
        },
      ],
    ],
  ];
  test.each(none)('%s is no signature (F16)', async (_what, make) => {
    const { at } = await site(make);
    await expect(fetchWith(at)).rejects.toMatchObject({
      code: 'BAD_SIGNATURE',
      message: expect.stringContaining('has no signature, and --verify-images-identity wants one'),
    });
  });

  test('a signature that does not verify, also where none is needed', async () => {
    const { at } = await site((digest) => [signed('layer', digest, { set: flip })]);
    await expect(fetchWith(at, { verifyImagesExcept: ['ghcr.io/'] })).rejects.toMatchObject({
      code: 'BAD_SIGNATURE',
    });
  });
});

/** As much of a bundle as tests change. */
interface Edited {
  readonly verificationMaterial: {
    timestampVerificationData?: object;
    tlogEntries: {
      inclusionPromise?: object;
      inclusionProof: { hashes: string[]; checkpoint: { envelope: string } };
    }[];
  };
  readonly dsseEnvelope: { payload: string; readonly signatures: { sig: string }[] };
}

/**
 * cosign, in versions 2 and 3, as the judge of what we sign, of what we verify and of what we refuse. Wherever our verifier
 * says yes, cosign must; where cosign says no, ours must. cosign is no Debian package: the tests of a version run where
 * COSIGN2 or COSIGN3 names it, or `cosign2`, `cosign3` or a `cosign` of that version is on PATH. To make them:
 * `go install github.com/sigstore/cosign/v2/cmd/cosign@latest`, and the same with v3. Results: docs/mirror-yaml.md.
 */
import { execFile, spawnSync } from 'node:child_process';
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
} from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ImageKey, readImageKey, verifyImage } from '../../packages/fetcher/src/signatures/cosign.ts';
import { signBytes } from '../../packages/format/src/index.ts';
import {
  type Descriptor,
  descriptorOf,
  hexOf,
  MediaType,
  openerOf,
} from '../../packages/oci/src/model/index.ts';
import { type Network, openNetwork, type RepositoryClient } from '../../packages/oci/src/registry/index.ts';
import { buildManifest } from '../../packages/oci/src/testing/index.ts';
import { type Registry, startRegistry } from '../services/docker-registry.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { cli, cliJson, expectFailure } from '../support/cli.ts';
import { type MadeBundle, makeBundle } from '../support/made-bundle.ts';
import { type Workspace, workspace } from '../support/workspace.ts';

const run = promisify(execFile);
const imager = 'siderolabs/imager';
const overlays = 'siderolabs/overlays';
const claimType = 'application/vnd.dev.cosign.simplesigning.v1+json';
const signatureAnnotation = 'dev.cosignproject.cosign/signature';

/** The program of a major version. */
function cosignOf(major: 2 | 3): string | undefined {
  const { env } = process;
  const programs = [env[`COSIGN${major}`], env['COSIGN'], `cosign${major}`, 'cosign'];
  return programs.find((program) => {
    if (program === undefined) return false;
    const { stdout } = spawnSync(program, ['version'], { encoding: 'utf8' });
    return stdout?.includes(`v${major}.`) === true;
  });
}

for (const major of [2, 3] as const) {
  const cosign = cosignOf(major);
  if (cosign === undefined) {
    const missing = `cosign ${major} is not on PATH and COSIGN${major} does not name it; it is no Debian package`;
    test(`cosign ${major} agrees`, (context) => context.skip(missing));
  } else describeCosign(major, cosign);
}

function describeCosign(major: 2 | 3, cosign: string): void {
  describe(`cosign ${major} agrees`, () => {
    let registry: Registry;
    let network: Network;
    let bundle: MadeBundle;
    let site: Workspace;
    let key: KeyObject;
    let ours: ImageKey;

    const env = { PATH: process.env['PATH'], HOME: temporaryFolder('cosign'), COSIGN_PASSWORD: '' };
    const judge = async (...args: readonly string[]): Promise<boolean> => {
      try {
        await run(cosign, args, { env, timeout: 60_000 });
        return true;
      } catch (error) {
        const { code, stderr = '' } = error as { code?: number | string; stderr?: string };
        if (typeof code !== 'number' || /unknown flag|no such file/.test(stderr)) throw error;
        return false;
      }
    };
    const verifies = (publicKey: string, reference: string): Promise<boolean> =>
      judge(
        'verify',
        '--key',
        publicKey,
        '--insecure-ignore-tlog=true',
        '--allow-http-registry=true',
        `${registry.host}/${reference}`,
      );
    const load = () =>
      cliJson<{ readonly resigned: object }>([
        ...['load', ...bundle.flags, '--registry', registry.host, '--plain-http', registry.host],
        ...[
          '--state',
          site.at('state'),
          '--handoff',
          site.at('handoff'),
          '--resign-key',
          site.at('site.key'),
        ],
      ]);
    const rootOf = (repository: string): Descriptor => {
      const root = bundle.roots.get(`ghcr.io/${repository}:v1.13.9`);
      if (root === undefined) throw new Error(`${repository} is not in the bundle`);
      return root;
    };

    beforeAll(async () => {
      registry = await startRegistry();
      site = await workspace('omni: {version: v1.10.4}');
      bundle = await makeBundle({
        [`ghcr.io/${imager}:v1.13.9`]: [1000],
        [`ghcr.io/${overlays}:v1.13.9`]: [2000],
      });
      network = await openNetwork(
        { upstreams: [], allowHosts: [], plainHttp: [registry.host], env: {} },
        { hosts: [registry.host], allowPrivate: true },
      );
      key = createPrivateKey(readFileSync(site.at('site.key')));
      ours = await readImageKey(site.at('site.pub'));
    });
    afterAll(async () => {
      await network?.close();
      await registry?.stop();
    });

    test('with what load --resign-key wrote, also after a second load', async () => {
      expect(await load()).toMatchObject({ resigned: { signed: 2, present: 0 } });
      expect(await load()).toMatchObject({ resigned: { signed: 0, present: 2 } });
      for (const repository of [imager, overlays]) {
        expect(await verifies(site.at('site.pub'), `${repository}:v1.13.9`)).toBe(true);
        expect(await ourVerdict(network.registry(registry.host).repository(repository), repository)).toBe(
          true,
        );
      }
      await cliJson(['keygen', '--out', site.at('other')]);
      expect(await verifies(site.at('other.pub'), `${imager}:v1.13.9`)).toBe(false);
    });

    test('with the signature of bundle.json', async () => {
      const document = join(bundle.folder, 'bundle.json');
      const signature = `${document}.sig`;
      writeFileSync(signature, signBytes(readFileSync(document), key));
      const check = (file: string): Promise<boolean> =>
        judge(
          'verify-blob',
          ...['--key', site.at('site.pub'), '--signature', signature, '--insecure-ignore-tlog=true', file],
        );
      expect(await check(document)).toBe(true);
      expect(await check(site.write('changed.json', `${readFileSync(document, 'utf8')} `))).toBe(false);
    });

    async function ourVerdict(repository: RepositoryClient, path: string): Promise<boolean> {
      const { digest } = rootOf(path);
      const there = await repository.resolve(`${digest.replace(':', '-')}.sig`);
      if (there === undefined) return false;
      const manifests = { tagged: there, referrers: [] };
      return verifyImage(repository, manifests, { digest, repository: path }, [ours]).then(
        (found) => found !== undefined,
        () => false,
      );
    }

    interface Case {
      readonly claim?: (claim: string) => string;
      /** Bytes that lie there instead of those that were signed. */
      readonly payload?: (claim: Buffer) => Buffer;
      readonly signature?: (signature: string) => string;
      readonly key?: KeyObject;
      readonly about?: string;
      readonly layers?: (layers: readonly Descriptor[]) => readonly Descriptor[];
      /** What both say; left out where only one is named. */
      readonly says: { readonly cosign: boolean; readonly ours: boolean };
    }
    const no = { cosign: false, ours: false };
    const { privateKey: stranger } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const cases: Readonly<Record<string, Case>> = {
      'as it should be': { says: { cosign: true, ours: true } },
      'another key': { key: stranger, says: no },
      'the claim of another image': { about: overlays, says: no },
      'a claim that was changed afterwards': {
        payload: (claim) => Buffer.from(claim.toString().replace('"optional":null', '"optional":{}')),
        says: no,
      },
      'a claim that was cut off': { payload: (claim) => claim.subarray(0, -1), says: no },
      'a signature that is no base64': { signature: () => '!!!!', says: no },
      'an empty signature': { signature: () => '', says: no },
      'a signature with a byte too many': {
        signature: (text) =>
          Buffer.concat([Buffer.from(text, 'base64'), Buffer.from([0])]).toString('base64'),
        says: no,
      },
      'no signature at all': { layers: () => [], says: no },
      'a claim that is no JSON': { claim: () => 'signed', says: no },
      'a claim without a digest': {
        claim: (claim) => claim.replace(/"docker-manifest-digest":"[^"]*"/, ''),
        says: no,
      },
      'a bad signature beside a good one': {
        layers: ([layer]) =>
          layer === undefined ? [] : [{ ...layer, annotations: { [signatureAnnotation]: 'AAAA' } }, layer],
        says: { cosign: true, ours: true },
      },
      // Stricter than cosign, which lets Go's decoder choose among names that differ in case, and takes any type.
      'a digest under a name in capitals': {
        claim: (claim) => claim.replace('docker-manifest-digest', 'Docker-manifest-digest'),
        says: { cosign: true, ours: false },
      },
      'the claim of another repository': {
        claim: (claim) => claim.replace(`/${imager}"`, '/acme/tool"'),
        says: { cosign: true, ours: false },
      },
    };

    test.each(Object.entries(cases))('%s', async (name, one) => {
      const repository = network.registry(registry.host).repository(imager);
      const { digest } = rootOf(one.about ?? imager);
      const plain = `{"critical":{"identity":{"docker-reference":"${registry.host}/${imager}"},"image":{"docker-manifest-digest":"${digest}"},"type":"cosign container image signature"},"optional":null}`;
      const claim = Buffer.from((one.claim ?? String)(plain));
      const signed = sign('sha256', claim, one.key ?? key).toString('base64');
      const signature = (one.signature ?? String)(signed);
      const payload = (one.payload ?? ((bytes) => bytes))(claim);
      const layer = {
        ...descriptorOf(claimType, payload),
        annotations: { [signatureAnnotation]: signature },
      };
      const config = Buffer.from(
        JSON.stringify({
          architecture: '',
          os: '',
          config: {},
          rootfs: { type: 'layers', diff_ids: [layer.digest] },
        }),
      );
      const layers = (one.layers ?? ((list) => list))([layer]);
      const { descriptor, bytes } = buildManifest(MediaType.ociManifest, {
        config: descriptorOf(MediaType.ociConfig, config),
        layers,
      });
      await repository.push(layer, openerOf(payload));
      await repository.push(descriptorOf(MediaType.ociConfig, config), openerOf(config));
      await repository.push(descriptor, openerOf(bytes));
      await repository.tag(descriptor, `${rootOf(imager).digest.replace(':', '-')}.sig`);
      const found = {
        cosign: await verifies(site.at('site.pub'), `${imager}:v1.13.9`),
        ours: await ourVerdict(repository, imager),
      };
      expect(found, name).toEqual(one.says);
    });

    /** An image of its own, so that no case sees the signatures of another. */
    async function image(path: string): Promise<{ repository: RepositoryClient; root: Descriptor }> {
      const repository = network.registry(registry.host).repository(path);
      const config = Buffer.from(JSON.stringify({ os: 'linux', architecture: 'amd64', config: { path } }));
      const { descriptor: root, bytes } = buildManifest(MediaType.ociManifest, {
        config: descriptorOf(MediaType.ociConfig, config),
        layers: [],
      });
      await repository.push(descriptorOf(MediaType.ociConfig, config), openerOf(config));
      await repository.push(root, openerOf(bytes));
      await repository.tag(root, 'v1');
      return { repository, root };
    }

    const forms =
      major === 2
        ? [{ form: 'tag', flags: [] }]
        : [
            { form: 'bundle', flags: ['--use-signing-config=false'] },
            { form: 'tag', flags: ['--use-signing-config=false', '--new-bundle-format=false'] },
          ];
    test.each(forms)('with fetch: what it signs with a key verifies, as a $form', async ({ form, flags }) => {
      const path = `acme/signed-${form}`;
      const { root } = await image(path);
      const keys = temporaryFolder('keys');
      for (const name of ['signer', 'other'])
        await run(cosign, ['generate-key-pair', '--output-key-prefix', join(keys, name)], { env });
      const target = `${registry.host}/${path}@${root.digest}`;
      const signing = ['sign', '--tlog-upload=false', ...flags, '--allow-http-registry=true', '--yes'];
      await run(cosign, [...signing, '--key', join(keys, 'signer.key'), target], { env });
      const tags: string[] = [];
      for await (const tag of network.registry(registry.host).repository(path).tags()) tags.push(tag);
      expect(tags).toContain(`${root.digest.replace(':', '-')}${form === 'tag' ? '.sig' : ''}`);
      const mirror = await workspace(`images: ['ghcr.io/${path}:v1']`);
      const fetching = (name: string): readonly string[] => [
        ...['fetch', ...mirror.store, '--upstream', `ghcr.io=${registry.url}`],
        ...['--verify-images-key', join(keys, `${name}.pub`)],
      ];
      expect(await cliJson(fetching('signer'))).toMatchObject({ verified: 1 });
      expectFailure(await cli(fetching('other')), 3, /by another key.* \[BAD_SIGNATURE\]$/);
    });

    if (major === 2) return;

    interface BundleCase {
      readonly says: Case['says'];
      readonly key?: KeyObject;
      readonly predicateType?: string;
      readonly about?: string;
      readonly change?: (bundle: SignedBundle) => object;
    }
    const bundles: Readonly<Record<string, BundleCase>> = {
      'as it should be': { says: { cosign: true, ours: true } },
      'another key': { key: stranger, says: no },
      'a statement about another image': { about: 'f'.repeat(64), says: no },
      // Stricter than cosign, which takes any statement about the image; a build by the same key is no release.
      'provenance by the same key': {
        predicateType: 'https://slsa.dev/provenance/v1',
        says: { cosign: true, ours: false },
      },
      'a statement that was changed afterwards': {
        change: ({ dsseEnvelope, ...rest }) => ({
          ...rest,
          dsseEnvelope: {
            ...dsseEnvelope,
            payload: Buffer.from(`${Buffer.from(dsseEnvelope.payload, 'base64')} `).toString('base64'),
          },
        }),
        says: no,
      },
      'a signature of another length': {
        change: ({ dsseEnvelope, ...rest }) => ({
          ...rest,
          dsseEnvelope: { ...dsseEnvelope, signatures: [{ sig: 'AAAA' }] },
        }),
        says: no,
      },
      'no signature': {
        change: ({ dsseEnvelope, ...rest }) => ({
          ...rest,
          dsseEnvelope: { ...dsseEnvelope, signatures: [] },
        }),
        says: no,
      },
      'another type of payload': {
        change: ({ dsseEnvelope, ...rest }) => ({
          ...rest,
          dsseEnvelope: { ...dsseEnvelope, payloadType: 'application/json' },
        }),
        says: no,
      },
    };
    test.each(Object.entries(bundles))('a bundle: %s', async (name, one) => {
      const path = `acme/bundle-${name.replaceAll(' ', '-')}`;
      const { repository, root } = await image(path);
      const made = signBundle(one.key ?? key, one.about ?? hexOf(root.digest), one.predicateType);
      const bytes = Buffer.from(JSON.stringify(one.change?.(made) ?? made));
      const layer = descriptorOf(bundleType, bytes);
      const empty = Buffer.from('{}');
      const manifest = buildManifest(MediaType.ociManifest, {
        artifactType: bundleType,
        config: descriptorOf(MediaType.empty, empty),
        layers: [layer],
        subject: root,
      });
      await repository.push(layer, openerOf(bytes));
      await repository.push(descriptorOf(MediaType.empty, empty), openerOf(empty));
      await repository.push(manifest.descriptor, openerOf(manifest.bytes));
      const manifests = { referrers: await repository.referrers(root.digest) };
      const found = {
        cosign: await verifies(site.at('site.pub'), `${path}@${root.digest}`),
        ours: await verifyImage(repository, manifests, { digest: root.digest, repository: path }, [
          ours,
        ]).then(
          (signature) => signature !== undefined,
          () => false,
        ),
      };
      expect(found).toEqual(one.says);
    });
  });
}

const bundleType = 'application/vnd.dev.sigstore.bundle.v0.3+json';
const statementType = 'application/vnd.in-toto+json';

interface SignedBundle {
  readonly mediaType: string;
  readonly verificationMaterial: object;
  readonly dsseEnvelope: {
    readonly payload: string;
    readonly payloadType: string;
    readonly signatures: readonly { readonly sig: string }[];
  };
}

/** As `cosign sign --key` of version 3 writes it, without a log. @param about hex sha256 of the image */
function signBundle(
  key: KeyObject,
  about: string,
  predicateType = 'https://sigstore.dev/cosign/sign/v1',
): SignedBundle {
  const statement = {
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ digest: { sha256: about } }],
    predicateType,
    predicate: {},
  };
  const payload = Buffer.from(JSON.stringify(statement));
  const head = `DSSEv1 ${statementType.length} ${statementType} ${payload.byteLength} `;
  const signature = sign('sha256', Buffer.concat([Buffer.from(head), payload]), key);
  const publicKey = createPublicKey(key).export({ type: 'spki', format: 'der' });
  return {
    mediaType: bundleType,
    verificationMaterial: {
      publicKey: { hint: createHash('sha256').update(publicKey).digest('base64') },
    },
    dsseEnvelope: {
      payload: payload.toString('base64'),
      payloadType: statementType,
      signatures: [{ sig: signature.toString('base64') }],
    },
  };
}

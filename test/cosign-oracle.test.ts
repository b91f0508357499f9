/**
 * cosign as the judge of what we sign, and of what we refuse. Wherever our verifier says yes, cosign must; where cosign
 * says no, ours must. cosign is no Debian package: the tests run where it is on PATH, or named by COSIGN.
 * `go install github.com/sigstore/cosign/v2/cmd/cosign@v2.6.1` makes one.
 */
import { execFile, spawnSync } from 'node:child_process';
import { createPrivateKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ImageKey, readImageKey, verifyImage } from '../packages/fetcher/src/signatures/cosign.ts';
import { signBytes } from '../packages/format/src/index.ts';
import { type Descriptor, descriptorOf, MediaType, openerOf } from '../packages/oci/src/model/index.ts';
import { type Network, openNetwork, type RepositoryClient } from '../packages/oci/src/registry/index.ts';
import { buildManifest } from '../packages/oci/src/testing/index.ts';
import { type Registry, startRegistry } from './services/docker-registry.ts';
import { temporaryFolder } from './services/temporary.ts';
import { cliJson } from './support/cli.ts';
import { type MadeBundle, makeBundle } from './support/made-bundle.ts';
import { type Workspace, workspace } from './support/workspace.ts';

const cosign = process.env['COSIGN'] ?? 'cosign';
const run = promisify(execFile);
const imager = 'siderolabs/imager';
const overlays = 'siderolabs/overlays';
const claimType = 'application/vnd.dev.cosign.simplesigning.v1+json';
const signatureAnnotation = 'dev.cosignproject.cosign/signature';

const missing =
  spawnSync(cosign, ['version']).status === 0
    ? undefined
    : 'cosign is not on PATH and COSIGN does not name it; it is no Debian package';
if (missing !== undefined) test('cosign agrees', (context) => context.skip(missing));
else
  describe('cosign agrees', () => {
    let registry: Registry;
    let network: Network;
    let bundle: MadeBundle;
    let site: Workspace;
    let home: string;
    let key: KeyObject;
    let ours: ImageKey;

    const judge = async (...args: readonly string[]): Promise<boolean> => {
      try {
        await run(cosign, args, { env: { PATH: process.env['PATH'], HOME: home }, timeout: 60_000 });
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
      home = temporaryFolder('cosign');
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
  });

/**
 * cosign as the judge of who signed without a key, under the same trust root: where our verifier says yes, cosign must;
 * where cosign says no, ours must. cosign is no Debian package: the tests run where it is on PATH, or named by COSIGN.
 * `go install github.com/sigstore/cosign/v2/cmd/cosign@v2.6.5` makes one, `cosign/v3/cmd/cosign@v3.1.3` a newer one.
 */
import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readIdentities } from '../../packages/fetcher/src/signatures/identity.ts';
import { verifyKeyless } from '../../packages/fetcher/src/signatures/keyless.ts';
import { SigstoreRoot } from '../../packages/fetcher/src/signatures/sigstore-root.ts';
import {
  authority,
  elsewhere,
  expected,
  type Form,
  forms,
  type Made,
  signed,
  wrongSignings,
} from '../../packages/fetcher/test/keyless-cases.ts';
import { bundleType, claimType, signStatement } from '../../packages/fetcher/test/sigstore-authority.ts';
import { type Descriptor, descriptorOf, MediaType, openerOf } from '../../packages/oci/src/model/index.ts';
import { type Network, openNetwork, type RepositoryClient } from '../../packages/oci/src/registry/index.ts';
import { buildManifest } from '../../packages/oci/src/testing/index.ts';
import { type Registry, startRegistry } from '../services/docker-registry.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { type Workspace, workspace } from '../support/workspace.ts';

const cosign = process.env['COSIGN'] ?? 'cosign';
const run = promisify(execFile);
const found = spawnSync(cosign, ['version'], { encoding: 'utf8' });
const missing =
  found.status === 0
    ? undefined
    : 'cosign is not on PATH and COSIGN does not name it; it is no Debian package';
if (missing !== undefined) test('cosign agrees on identities', (context) => context.skip(missing));
else
  describe('cosign agrees on identities', () => {
    const isVersion2 = /GitVersion:\s+v2\./.test(found.stdout);
    let registry: Registry;
    let network: Network;
    let site: Workspace;
    let home: string;
    let root: SigstoreRoot;
    let images = 0;

    beforeAll(async () => {
      registry = await startRegistry();
      home = temporaryFolder('cosign');
      site = await workspace('omni: {version: v1.10.4}');
      site.write('trusted_root.json', JSON.stringify(authority.trustedRoot()));
      root = await SigstoreRoot.read(site.at('trusted_root.json'));
      network = await openNetwork(
        { upstreams: [], allowHosts: [], plainHttp: [registry.host], env: {} },
        { hosts: [registry.host], allowPrivate: true },
      );
    });
    afterAll(async () => {
      await network?.close();
      await registry?.stop();
    });

    async function verdicts(make: (image: Descriptor, repository: string) => Made, form: Form) {
      const path = `dexidp/dex${++images}`;
      const repository = network.registry(registry.host).repository(path);
      const image = await push(repository, MediaType.ociManifest, []);
      const made = make(image, `${registry.host}/${path}`);
      const signature = await attach(repository, image, made);
      const manifests = form === 'layer' ? { tagged: signature, referrers: [] } : { referrers: [signature] };
      const about = { digest: image.digest, repository: path };
      const identities = readIdentities([expected.identity], [expected.issuer]);
      const ours = await verifyKeyless(repository, manifests, about, identities, root).then(
        (signer) => signer !== undefined,
        () => false,
      );
      return { cosign: await judge(form, `${registry.host}/${path}@${image.digest}`), ours };
    }

    async function judge(form: Form, reference: string): Promise<boolean> {
      const isBundle = form !== 'layer';
      const args = [
        ...['verify', '--allow-http-registry', '--trusted-root', site.at('trusted_root.json')],
        // Their expressions may fit a part.
        ...['--certificate-identity-regexp', `^${expected.identity}$`],
        ...['--certificate-oidc-issuer', expected.issuer],
        `--new-bundle-format=${isBundle}`,
        ...(isVersion2 ? ['--offline'] : []),
        ...(isVersion2 && isBundle ? ['--experimental-oci11'] : []),
        reference,
      ];
      try {
        await run(cosign, args, { env: { PATH: process.env['PATH'], HOME: home }, timeout: 60_000 });
        return true;
      } catch (error) {
        const { code, stderr = '' } = error as { code?: number | string; stderr?: string };
        if (typeof code !== 'number' || /unknown flag|no such file/.test(stderr)) throw error;
        return false;
      }
    }

    async function push(
      repository: RepositoryClient,
      mediaType: string,
      layers: readonly (readonly [Descriptor, Uint8Array])[],
      more: { readonly subject?: Descriptor; readonly artifactType?: string } = {},
    ): Promise<Descriptor> {
      const bytes = Buffer.from(
        JSON.stringify({
          architecture: '',
          os: '',
          config: {},
          rootfs: { type: 'layers', diff_ids: [] },
          images,
        }),
      );
      const config = descriptorOf(MediaType.ociConfig, bytes);
      for (const [descriptor, content] of [[config, bytes] as const, ...layers])
        await repository.push(descriptor, openerOf(content));
      const built = buildManifest(mediaType, { config, layers: layers.map(([layer]) => layer), ...more });
      await repository.push(built.descriptor, openerOf(built.bytes));
      return built.descriptor;
    }

    async function attach(repository: RepositoryClient, image: Descriptor, made: Made): Promise<Descriptor> {
      const tag = image.digest.replace(':', '-');
      if ('payload' in made) {
        const payload = Buffer.from(made.payload);
        const layer = { ...descriptorOf(claimType, payload), annotations: made.annotations };
        const manifest = await push(repository, MediaType.ociManifest, [[layer, payload]]);
        await repository.tag(manifest, `${tag}.sig`);
        return manifest;
      }
      const bundle = Buffer.from(made.bundle);
      const subject = { mediaType: image.mediaType, digest: image.digest, size: image.size };
      const manifest = await push(
        repository,
        MediaType.ociManifest,
        [[descriptorOf(bundleType, bundle), bundle]],
        { subject, artifactType: bundleType },
      );
      const list = buildManifest(MediaType.ociIndex, {
        manifests: [{ ...manifest, artifactType: bundleType }],
      });
      await repository.push(list.descriptor, openerOf(list.bytes));
      await repository.tag(list.descriptor, tag);
      return manifest;
    }

    describe.each(forms)('%s', (form) => {
      test('as it should be', async () => {
        const make = ({ digest }: Descriptor, path: string) => signed(form, digest, {}, path);
        // Version 2 is older than the second log.
        const isKnown = !(isVersion2 && form === 'second bundle');
        expect(await verdicts(make, form)).toEqual({ cosign: isKnown, ours: true });
      });

      test("another image's", async () => {
        const make = (_image: Descriptor, path: string) => signed(form, elsewhere, {}, path);
        expect(await verdicts(make, form)).toEqual({ cosign: false, ours: false });
      });

      test.each(wrongSignings)('$what', async ({ what, signing }) => {
        const make = ({ digest }: Descriptor, path: string) => signed(form, digest, signing, path);
        // Version 3 compares them.
        const isLax = isVersion2 && form === 'bundle' && what.includes('CVE-2026-22703');
        expect(await verdicts(make, form)).toEqual({ cosign: isLax, ours: false });
      });
    });

    test('an entry of the second log about the envelope', async () => {
      const make = ({ digest }: Descriptor) => signed('second bundle', digest, { kind: 'dsse' });
      expect(await verdicts(make, 'second bundle')).toEqual({ cosign: false, ours: false });
    });

    // Stricter than cosign, which leaves it to its user what is stated.
    test('provenance is no signature', async () => {
      const make = ({ digest }: Descriptor) => {
        const statement = signStatement(digest, 'https://slsa.dev/provenance/v1');
        return { bundle: JSON.stringify(authority.bundle(statement)) };
      };
      expect(await verdicts(make, 'bundle')).toEqual({ cosign: true, ours: false });
    });
  });

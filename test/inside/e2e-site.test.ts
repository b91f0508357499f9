/**
 * The whole job with real software on both sides: Distribution with tokens and blobs in a Ceph bucket as ghcr.io,
 * images made by umoci, bootable media; inside another Distribution and a bucket of Ceph. What arrived is read back
 * by skopeo.
 */
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type SampleUpstream, startSampleUpstream } from '../../scripts/sample-upstream/sample-upstream.ts';
import { type CephGateway, cephCommands, startCeph } from '../services/ceph.ts';
import { command } from '../services/command.ts';
import { type Registry, startRegistry } from '../services/docker-registry.ts';
import { imageCommands, type PublishedImages, publishImages } from '../services/images.ts';
import { type Media, makeMedia, mediaCommands } from '../services/media.ts';
import { describeWith } from '../services/service-test.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { startTokenServer, type TokenServer } from '../services/token-server.ts';
import { type Ended, startCli, startServe } from '../support/cli.ts';
import { digestOfFile, listing, records, snapshot } from '../support/files.ts';
import { type Front, startFront } from '../support/front.ts';
import { type Companions, digestAt, publishCompanions } from '../support/publish.ts';
import { type CopiedImage, copyAll } from '../support/skopeo.ts';
import { upstreamFlags, type Workspace, workspace } from '../support/workspace.ts';

const schematic = '376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba';
const version = 'v1.13.9';
const blobHost = 'pkg-containers.githubusercontent.com';

interface Tally {
  readonly storedBlobs: number;
  readonly presentBlobs: number;
}
interface LoadResult {
  readonly receipt: { readonly images: readonly object[]; readonly objects: readonly object[] };
  readonly registry?: Tally;
  readonly objectsStored: number;
  readonly objectsPresent: number;
}

describeWith(
  [...new Set([...cephCommands, ...imageCommands, ...mediaCommands, 'docker-registry', 'openssl'])],
  'a site, with real software around it',
  () => {
    let gateway: CephGateway;
    let tokens: TokenServer;
    let blobs: Front;
    let ghcr: Front;
    let publisher: Registry;
    let registry: Registry;
    let inside: Registry;
    let media: Media;
    let upstream: SampleUpstream;
    let site: Workspace;
    let images: PublishedImages;
    let companions: Companions;
    let originals: { readonly index: CopiedImage; readonly docker: CopiedImage };
    let network: readonly string[];
    let s3: Readonly<Record<string, string>>;
    /** Everything that any command said. */
    const said: string[] = [];

    const run = async <T>(
      args: readonly string[],
      env: Readonly<Record<string, string>> = {},
    ): Promise<T> => {
      const ended = await remember(startCli([...args, '--json'], { env }).ended);
      expect(ended.code, ended.stderr).toBe(0);
      return JSON.parse(ended.stdout) as T;
    };
    const remember = async (ending: Promise<Ended>): Promise<Ended> => {
      const ended = await ending;
      said.push(ended.stdout, ended.stderr);
      return ended;
    };
    /** What the command, and not the registry itself, asked the object store for. */
    const ofOurs = () =>
      blobs.requests.filter((request) => String(request.headers['user-agent']).startsWith('omni-airgap'));
    const object = (path: string): string => `image/${schematic}/${version}/${path}`;

    beforeAll(async () => {
      gateway = await startCeph();
      await Promise.all(['upstream', 'site'].map((bucket) => gateway.createBucket(bucket)));
      blobs = await startFront({ '/': gateway.url });
      tokens = await startTokenServer();
      const storage = { gateway: { ...gateway, url: blobs.url }, bucket: 'upstream' };
      publisher = await startRegistry({ storage });
      images = await publishImages(publisher);
      companions = await publishCompanions(publisher, images.index);
      originals = {
        index: await copyAll(`docker://${images.index.reference}`),
        docker: await copyAll(`docker://${images.docker.reference}`),
      };
      // The same bucket behind a registry that wants tokens, from a realm on its own host, as ghcr.io has it.
      registry = await startRegistry({ storage, auth: { ...tokens, url: 'https://ghcr.io/token' } });
      ghcr = await startFront({ '/token': tokens.url.replace(/\/token$/, ''), '/': registry.url });
      inside = await startRegistry();
      media = await makeMedia();
      upstream = await startSampleUpstream({
        dir: temporaryFolder('upstream'),
        sizeMiB: 2,
        buildMs: 20,
        mediaFiles: media.files,
      });
      network = upstreamFlags({ ...upstream.urls, 'ghcr.io': ghcr.url, [blobHost]: blobs.url });
      site = await workspace(`
images:
  - ghcr.io/debian/tools:v1.0.0
  - {file: images.txt}
media:
  - schematic: {customization: {}}
    versions: [${version}]
    files: [metal-amd64.iso, kernel-amd64, initramfs-amd64.xz, cmdline-metal-amd64]
    installers: [metal]
`);
      site.write(
        'images.txt',
        `# as talosctl image k8s-bundle prints them\nghcr.io/debian/busybox:1.35@${images.docker.digest}\n`,
      );
      const login = Buffer.from(`${tokens.login.user}:${tokens.login.password}`).toString('base64');
      site.write('auth.json', JSON.stringify({ auths: { 'ghcr.io': { auth: login } } }));
      s3 = {
        AWS_ACCESS_KEY_ID: gateway.accessKeyId,
        AWS_SECRET_ACCESS_KEY: gateway.secretAccessKey,
        AWS_REGION: gateway.region,
      };
    });
    afterAll(async () => {
      for (const server of [registry, publisher, inside, upstream, ghcr, blobs, tokens, gateway]) {
        await server?.stop();
      }
      media?.dispose();
    });

    test('plan says what is to come and fetches nothing of it', async () => {
      const plan = await run<{
        bytesToFetch: number;
        hosts: { pattern: string }[];
        items: { name: string }[];
      }>([...['plan', ...site.store, ...network, '--registry-config', site.at('auth.json')]]);
      expect(plan.items.map((item) => item.name)).toContain('ghcr.io/debian/tools:v1.0.0');
      expect(plan.bytesToFetch).toBeGreaterThan(1_000_000);
      expect(plan.hosts.map((host) => host.pattern)).toEqual(
        expect.arrayContaining(['ghcr.io', '*.githubusercontent.com', 'factory.talos.dev']),
      );
      expect(listing(site.at('store'))).toEqual([]);
    });

    test('fetch follows redirects to the mapped object store, without credentials, and has nothing to do again', async () => {
      const fetchAll = ['fetch', ...site.store, ...network, '--registry-config', site.at('auth.json')];
      const first = await run<Tally & { changed: string[] }>(fetchAll);
      expect(first.changed).toEqual(
        expect.arrayContaining([
          'ghcr.io/debian/tools:v1.0.0',
          `ghcr.io/debian/busybox:1.35@${images.docker.digest}`,
          `ghcr.io/debian/tools:${companions.signature.tag}`,
        ]),
      );
      // T30: the token for ghcr.io stays there.
      const ours = ofOurs();
      expect(ours.length).toBeGreaterThan(5);
      expect(ours.map((request) => request.headers['authorization'])).toEqual(ours.map(() => undefined));
      expect(tokens.requests.some((request) => request.user === tokens.login.user)).toBe(true);
      const egress = readFileSync(site.at('store/egress.jsonl'), 'utf8').trimEnd().split('\n');
      const hosts = new Set(egress.map((line) => (JSON.parse(line) as { host: string }).host));
      expect(hosts).toContain(blobHost);
      expect([...hosts].filter((host) => host.startsWith('127.'))).toEqual([]);

      const before = ofOurs().length;
      const second = await run<Tally & { changed: string[]; items: number }>(fetchAll);
      expect(second).toMatchObject({ changed: [], storedBlobs: 0 });
      expect(second.items).toBe(first.changed.length);
      expect(ofOurs().length).toBe(before);
    });

    test('bundle and verify, and again', async () => {
      const bundle = ['bundle', ...site.bundle, '--volume-size', '2MiB'];
      const first = await run<{ written: boolean; volumes: object[]; id: string }>(bundle);
      expect(first.written).toBe(true);
      expect(first.volumes.length).toBeGreaterThan(3);
      const before = snapshot(site.at('media'));
      expect(await run(bundle)).toMatchObject({ written: false, id: first.id });
      expect(snapshot(site.at('media'))).toEqual(before);
      for (const _ of [1, 2]) {
        expect(await run(['verify', ...site.media])).toMatchObject({
          id: first.id,
          damages: [],
          unusable: [],
        });
      }
      expect(await run(['verify', '--store', site.at('store')])).toMatchObject({ damages: [], unusable: [] });
      expect(snapshot(site.at('media'))).toEqual(before);
      await command('sha256sum', ['--quiet', '-c', 'SHA256SUMS'], site.at('media'));
    });

    test('load fills registry and bucket, writes to nothing else, and finds all of it there again', async () => {
      const elsewhere = temporaryFolder('elsewhere');
      for (const name of ['tmp', 'home', 'cwd']) mkdirSync(join(elsewhere, name));
      const before = snapshot(site.at('media'));
      const args = [
        ...['load', ...site.media, '--registry', inside.host, '--plain-http', inside.host],
        ...[
          '--object-store',
          's3://site',
          '--s3-endpoint',
          gateway.url,
          '--receipt',
          site.at('receipt.json'),
        ],
      ];
      const env = { ...s3, TMPDIR: join(elsewhere, 'tmp'), HOME: join(elsewhere, 'home') };
      const { code, stdout, stderr, usage } = await remember(
        startCli([...args, '--json'], { env, cwd: join(elsewhere, 'cwd') }).ended,
      );
      expect(code, stderr).toBe(0);
      const first = JSON.parse(stdout) as LoadResult;
      expect(first.objectsStored).toBeGreaterThanOrEqual(5);
      expect(first.registry?.storedBlobs).toBeGreaterThan(10);
      expect(listing(join(elsewhere, 'tmp'))).toEqual([]);
      expect(
        listing(elsewhere).reduce((sum, path) => sum + statSync(join(elsewhere, path)).size, 0),
      ).toBeLessThan(128 * 1024);
      expect(snapshot(site.at('media'))).toEqual(before);
      expect(usage?.diskBytesWritten).toBeLessThan(1024 * 1024);

      const second = await run<LoadResult>(args, s3);
      expect(second).toMatchObject({
        objectsStored: 0,
        objectsPresent: first.objectsStored,
        registry: { storedBlobs: 0 },
      });
      expect(second.receipt.images).toEqual(first.receipt.images);
      const words = await remember(startCli(args, { env: s3 }).ended);
      expect(words.stdout).toContain('Nothing to do: everything is already present.');
    });

    test('skopeo reads the same images from the registry, the store, the unpacked volumes and serve', async () => {
      await command('sh', ['-c', 'mkdir unpacked && cat media/content.tar.* | tar x -C unpacked'], site.root);
      const servers = await Promise.all([
        startServe([...site.media, '--quiet']),
        startServe(['--store', site.at('store'), '--quiet']),
      ]);
      const registries = [inside.host, ...servers.map((server) => server.host)].map(
        (host) => `docker://${host}/`,
      );
      const layouts = ['store', 'unpacked'].map((name) => `oci:${site.at(name)}:ghcr.io/`);
      for (const source of [...registries, ...layouts]) {
        expect(await copyAll(`${source}debian/tools:v1.0.0`), source).toEqual(originals.index);
      }
      expect(originals.index.digest).toBe(images.index.digest);
      const readme = readFileSync(site.at('media/README.txt'), 'utf8');
      const example = /oci:layout:(\S+)/.exec(readme)?.[1] ?? '';
      expect((await copyAll(`oci:${site.at('unpacked')}:${example}`)).content.length).toBeGreaterThan(2);
      // Of Docker's manifests in layouts skopeo finds only a sole one, without a name.
      const docker = soleEntry(site.at('unpacked'), images.docker.digest);
      for (const source of [...registries.map((host) => `${host}debian/busybox:1.35`), `oci:${docker}`]) {
        expect(await copyAll(source), source).toEqual(originals.docker);
      }
      const installer = `metal-installer/${schematic}:${version}`;
      const stored = await copyAll(`oci:${site.at('store')}:factory.talos.dev/${installer}`);
      for (const host of registries) expect(await copyAll(`${host}${installer}`), host).toEqual(stored);
      for (const server of servers) expect((await remember(server.stop())).code).toBe(0);
    });

    test('signatures and referrers came along, under their tags', async () => {
      const { signature, referrers } = companions;
      const repository = images.index.repository;
      expect(await digestAt(inside, repository, signature.tag)).toBe(signature.digest);
      expect(await digestAt(inside, repository, referrers.sbom)).toBe(referrers.sbom);
      const list = await fetch(`${inside.url}/v2/${repository}/manifests/${referrers.tag}`, {
        headers: { Accept: 'application/vnd.oci.image.index.v1+json' },
      });
      const { manifests } = (await list.json()) as { manifests: { digest: string }[] };
      expect(manifests.map((manifest) => manifest.digest)).toContain(referrers.sbom);
    });

    test('files have the same sha256 in the bucket, in a folder and where they came from', async () => {
      const folder = site.at('objects');
      const load = ['load', ...site.media, '--object-store', pathToFileURL(folder).href];
      const first = await run<LoadResult>(load);
      expect(first.objectsStored).toBeGreaterThanOrEqual(5);
      const before = snapshot(folder);
      const second = await run<LoadResult>(load);
      expect(second).toMatchObject({ objectsStored: 0, objectsPresent: first.objectsStored });
      expect(snapshot(folder)).toEqual(before);
      for (const [name, path] of Object.entries(media.files)) {
        const original = await digestOfFile(path);
        expect(await digestOfFile(join(folder, object(name))), name).toBe(original);
        const fromBucket = await gateway.request(`site/${object(name)}`);
        expect(fromBucket.status).toBe(200);
        expect(Number(fromBucket.headers.get('content-length'))).toBe(statSync(path).size);
        const hex = createHash('sha256')
          .update(await fromBucket.bytes())
          .digest('hex');
        expect(`sha256:${hex}`, name).toBe(original);
      }
      expect(readFileSync(join(folder, 'schematics', schematic), 'utf8')).toBe('customization: {}\n');
    });

    test('a second run says in words that there is nothing to do', async () => {
      const folder = pathToFileURL(site.at('objects')).href;
      const again: readonly (readonly [args: readonly string[], said: RegExp])[] = [
        [['plan', ...site.store, ...network], /, 0 B to fetch/],
        [['fetch', ...site.store, ...network], /^Nothing to do: all /],
        [
          ['bundle', ...site.bundle, '--volume-size', '2MiB'],
          /^Nothing to do: .* holds this very bundle already/,
        ],
        [['load', ...site.media, '--object-store', folder], /Nothing to do: everything is already present/],
        [['verify', ...site.media], /^Complete and undamaged: bundle [a-f0-9]{64}\n/],
      ];
      for (const [args, words] of again) {
        const { code, stdout, stderr } = await remember(startCli(args).ended);
        expect(code, stderr).toBe(0);
        expect(stdout).toMatch(words);
        const quiet = await startCli([...args, '--quiet']).ended;
        expect(quiet.stdout + quiet.stderr, args[0]).toBe('');
      }
    });

    test('what looks at a store or bundle prints one document', async () => {
      for (const args of [
        ['inspect', '--bundle', site.at('media')],
        ['inspect', '--store', site.at('store')],
        ['diff', site.at('store'), site.at('media')],
        ['gc', '--store', site.at('store')],
        ['egress', 'rules', '--config', site.at('mirror.yaml')],
        ['egress', 'log', '--store', site.at('store')],
      ]) {
        expect(await run(args), args.join(' ')).toBeInstanceOf(Object);
      }
    });

    test('F56: no password, token or signed URL is in any output or record', async () => {
      const text = [...said, records(site.at('store')), records(site.at('media'))].join('\n');
      expect(text).toContain('"omni-airgap/receipt"');
      expect(text).toContain('"omni-airgap/lock"');
      const secrets = [tokens.login.password, gateway.secretAccessKey, gateway.accessKeyId];
      for (const secret of [...secrets, Buffer.from(secrets.join()).toString('base64').slice(0, 12)]) {
        expect(text).not.toContain(secret);
      }
      expect(text).not.toMatch(/X-Amz-|Signature=|[?&]sig=|Bearer |Basic |eyJ[A-Za-z0-9_-]{10}/);
    });
  },
);

/** A layout over the blobs of another one, with one entry of its index alone. @returns its folder */
function soleEntry(layout: string, digest: string): string {
  const folder = temporaryFolder('sole');
  const { manifests, ...rest } = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as {
    manifests: { digest: string }[];
  };
  const sole = { ...rest, manifests: manifests.filter((entry) => entry.digest === digest) };
  writeFileSync(join(folder, 'index.json'), JSON.stringify(sole));
  copyFileSync(join(layout, 'oci-layout'), join(folder, 'oci-layout'));
  symlinkSync(join(layout, 'blobs'), join(folder, 'blobs'));
  return folder;
}

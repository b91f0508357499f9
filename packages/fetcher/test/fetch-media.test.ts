/** Schematics, media, lists: what the Image Factory gives, how it is kept, and what is refused. */
import { createHash } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { collect, type Digest, fetchManifest, Layout } from '@omni-airgap/content';
import { schematicFrom, schematicSpellings } from '@omni-airgap/talos';
import { describe, expect, test } from 'vitest';
import { factoryHost, storageHost } from './factory-double.ts';
import { publishImage, type Site, someBytes, startSite, talosVersion } from './site.ts';

const vanilla = schematicFrom('customization: {}\n');
const iso = `image/${vanilla.id}/${talosVersion}/metal-amd64.iso`;
const kernel = `image/${vanilla.id}/${talosVersion}/kernel-amd64`;
const setName = `factory.talos.dev/talos-media/${vanilla.id}:${talosVersion}`;

const mirrorOf = (files: readonly string[], schematic = '{customization: {}}', more = ''): string =>
  `talos: {versions: [${talosVersion}]${more}}\nmedia: [{schematic: ${schematic}, files: [${files.join(', ')}]}]`;

/** Everything that the factory has for the vanilla schematic. */
async function mediaSite(isoBytes = 700_000): Promise<Site> {
  const site = await startSite({});
  const { files } = site.factory;
  files.set(iso, await someBytes(1, isoBytes));
  files.set(kernel, await someBytes(2, 30_000));
  files.set('versions', Buffer.from('["v1.12.4","v1.13.9","v1.14.0-rc.1"]'));
  files.set(
    `version/${talosVersion}/extensions/official`,
    Buffer.from('[{"name":"siderolabs/iscsi-tools"}]\n'),
  );
  files.set(`version/${talosVersion}/overlays/official`, Buffer.from('[]\n'));
  files.set(
    `talosctl/${talosVersion}`,
    Buffer.from(
      JSON.stringify(
        ['linux-amd64', 'darwin-arm64'].map(
          (system) => `https://${factoryHost}/talosctl/${talosVersion}/talosctl-${system}`,
        ),
      ),
    ),
  );
  files.set(`talosctl/${talosVersion}/talosctl-linux-amd64`, await someBytes(3, 40_000));
  files.set(`talosctl/${talosVersion}/talosctl-darwin-arm64`, await someBytes(4, 40_000));
  files.set('secureboot/signing-cert.pem', Buffer.from('-----BEGIN CERTIFICATE-----\n'));
  files.set('oci/cosign/signing-key.pub', Buffer.from('-----BEGIN PUBLIC KEY-----\n'));
  return site;
}

const text = (response: ServerResponse, status: number, body: string): void => {
  response.writeHead(status, { 'content-length': Buffer.byteLength(body) }).end(body);
};

async function filesOf(site: Site, name: string): Promise<Record<string, Buffer>> {
  const layout = await Layout.open(site.store);
  const root = await layout.resolve(name);
  if (root === undefined) throw new Error(`no ${name}`);
  const { manifest } = await fetchManifest(layout, root);
  if (manifest.kind !== 'image') throw new Error('an artifact was expected');
  const files: Record<string, Buffer> = {};
  for (const layer of manifest.layers) {
    const title = layer.annotations?.['org.opencontainers.image.title'] ?? '';
    files[title] = Buffer.from(await collect(layout.fetch(layer), 10_000_000, title));
  }
  return files;
}

describe('media', () => {
  test('become one artifact; the schematic lies as the factory keeps it; a second fetch asks for no file', async () => {
    const site = await mediaSite();
    await site.mirror(mirrorOf(['metal-amd64.iso', 'kernel-amd64']));
    await site.fetch();
    const files = await filesOf(site, setName);
    expect(Object.keys(files)).toEqual(['kernel-amd64', 'metal-amd64.iso']);
    expect(files['metal-amd64.iso']).toEqual(site.factory.files.get(iso));
    const layout = await Layout.open(site.store);
    expect(await layout.stat(`sha256:${vanilla.id}` as Digest)).toBe(vanilla.canonical.length);
    const { items } = await site.lock();
    expect(items.find((item) => item.name === setName)?.files).toMatchObject([
      { name: 'metal-amd64.iso', source: `https://${factoryHost}/${iso}`, size: 700_000 },
      { name: 'kernel-amd64' },
    ]);
    const asked = site.asked(factoryHost).length;
    expect(await site.fetch()).toMatchObject({ changed: [] });
    expect(
      site
        .asked(factoryHost)
        .slice(asked)
        .filter((line) => /image|POST|talosctl\/.*\//.test(line)),
    ).toEqual([]);
  });

  test('of one schematic and version in two entries are one artifact', async () => {
    const site = await mediaSite();
    await site.mirror(
      `talos: {versions: [${talosVersion}]}
media:
  - {schematic: {customization: {}}, files: [metal-amd64.iso]}
  - {schematic: ${vanilla.id}, files: [kernel-amd64]}`,
    );
    await site.fetch();
    expect(Object.keys(await filesOf(site, setName))).toEqual(['kernel-amd64', 'metal-amd64.iso']);
  });

  test('an installer is fetched once its schematic is known', async () => {
    const site = await startSite({ [factoryHost]: {} });
    const { root } = await publishImage(
      site.registry(factoryHost),
      `metal-installer/${vanilla.id}`,
      talosVersion,
    );
    site.registry(factoryHost).fault({
      match: { method: 'POST', path: /^\/schematics$/ },
      do: { status: 201, body: JSON.stringify({ id: vanilla.id, schematic: vanilla.canonical }) },
    });
    site
      .registry(factoryHost)
      .fault({ match: { path: /^\/versions$/ }, do: { status: 200, body: `["${talosVersion}"]` } });
    await site.mirror(
      `talos: {versions: [${talosVersion}]}\nmedia: [{schematic: {customization: {}}, installers: [metal]}]`,
    );
    // The registry double stands for the whole factory here.
    const upstreams = [`${factoryHost}=${site.registry(factoryHost).url}`];
    await site.fetch({ network: { ...site.network, upstreams } });
    const item = (await site.lock()).items.find((one) => one.kind === 'image');
    expect(item).toMatchObject({
      name: `${factoryHost}/metal-installer/${vanilla.id}:${talosVersion}`,
      descriptor: { digest: root.digest },
    });
    const asked = site.registry(factoryHost).requests.map(({ method, path }) => `${method} ${path}`);
    expect(asked).toContain('POST /schematics');
    expect(asked.indexOf('POST /schematics')).toBeLessThan(
      asked.findIndex((line) => line.includes('metal-installer')),
    );
  });

  test('a build that takes its time is waited for and shown; a broken line goes on at its byte', async () => {
    const site = await mediaSite();
    site.factory.rules.push(
      { path: /metal-amd64\.iso/, method: 'HEAD', delayMs: 150, times: 1 },
      { path: /metal-amd64\.iso\?X-Amz/, times: 2, cutAfter: 300_000 },
    );
    await site.mirror(mirrorOf(['metal-amd64.iso']));
    const states: string[] = [];
    const progress = {
      expect: () => {},
      advance: () => {},
      note: () => {},
      item: (name: string, state?: { readonly doing: string }) =>
        void states.push(`${name}: ${state?.doing}`),
    };
    await site.fetch({ progress });
    expect(states).toContain(`metal-amd64.iso ${talosVersion}: building at the factory`);
    const isoRequests = site.factory.storage.requests.filter(({ path }) => path.includes('metal-amd64.iso'));
    expect(isoRequests.map(({ headers }) => headers['range'])).toEqual([
      undefined,
      'bytes=300000-',
      'bytes=600000-',
    ]);
    expect(isoRequests[1]?.headers['if-range']).toBe(site.factory.etagOf(iso));
    // The storage's own address may have ended: the factory is asked each time.
    expect(site.asked(factoryHost).filter((line) => line === `GET /${iso}`)).toHaveLength(3);
  });

  test('what a run that failed had fetched is not fetched again, and is pinned (F06)', async () => {
    const site = await mediaSite();
    site.factory.rules.push({
      path: /kernel-amd64/,
      method: 'HEAD',
      times: 1,
      answer: (_, response) => text(response, 404, ''),
    });
    await site.mirror(mirrorOf(['metal-amd64.iso', 'kernel-amd64']));
    await expect(site.fetch()).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect((await site.lock()).missing).toEqual([setName]);
    const before = site.asked(storageHost).length;
    await site.fetch();
    expect(
      site
        .asked(storageHost)
        .slice(before)
        .filter((line) => line.includes('.iso')),
    ).toEqual([]);
    expect((await site.lock()).missing).toEqual([]);
  });
});

describe('a download that is continued', () => {
  /** Cuts the first run after 400 kB and gives up, so that a second run finds a part. */
  async function broken(): Promise<Site> {
    const site = await mediaSite();
    site.factory.rules.push(
      { path: /metal-amd64\.iso\?X-Amz/, times: 1, cutAfter: 400_000 },
      { path: /metal-amd64\.iso\?X-Amz/, times: 1, answer: (_, response) => text(response, 403, 'expired') },
    );
    await site.mirror(mirrorOf(['metal-amd64.iso']));
    await expect(site.fetch()).rejects.toMatchObject({ code: 'DENIED' });
    return site;
  }
  const rangesOf = (site: Site) =>
    site.factory.storage.requests
      .filter(({ path }) => path.includes('.iso'))
      .map(({ headers }) => headers['range']);

  test('goes on at its byte in the next run', async () => {
    const site = await broken();
    await site.fetch();
    expect(rangesOf(site).slice(2)).toEqual(['bytes=400000-']);
    expect((await filesOf(site, setName))['metal-amd64.iso']).toEqual(site.factory.files.get(iso));
  });

  test('begins again when the file has changed meanwhile: 200 and all of it (F07, T37)', async () => {
    const site = await broken();
    site.factory.files.set(iso, await someBytes(7, 700_000));
    await site.fetch();
    expect(rangesOf(site).slice(2)).toEqual(['bytes=400000-']);
    expect((await filesOf(site, setName))['metal-amd64.iso']).toEqual(site.factory.files.get(iso));
  });

  test.each([
    ['another range', { 'content-range': 'bytes 0-299999/700000' }],
    [
      'the range of another file, by its ETag',
      { 'content-range': 'bytes 400000-699999/700000', etag: '"other"' },
    ],
  ])('begins again after a 206 of %s (F07, T37)', async (_what, headers) => {
    const site = await broken();
    site.factory.rules.push({
      path: /metal-amd64\.iso\?X-Amz/,
      times: 1,
      answer: (_, response) =>
        void response.writeHead(206, { 'content-length': 300_000, ...headers }).end(Buffer.alloc(300_000)),
    });
    await site.fetch();
    expect(rangesOf(site).slice(2)).toEqual(['bytes=400000-', undefined]);
    expect((await filesOf(site, setName))['metal-amd64.iso']).toEqual(site.factory.files.get(iso));
  });

  test('begins again where upstream names no version of the file, and leaves no part behind', async () => {
    const site = await mediaSite();
    site.factory.etagOf = () => undefined;
    site.factory.rules.push({ path: /metal-amd64\.iso\?X-Amz/, times: 1, cutAfter: 400_000 });
    await site.mirror(mirrorOf(['metal-amd64.iso']));
    await expect(site.fetch()).rejects.toMatchObject({ code: 'NETWORK' });
    await site.fetch();
    expect(rangesOf(site)).toEqual([undefined, undefined]);
    expect((await filesOf(site, setName))['metal-amd64.iso']).toEqual(site.factory.files.get(iso));
  });
});

describe('what the factory gives is refused', () => {
  test('an empty file', async () => {
    const site = await mediaSite();
    site.factory.files.set(iso, Buffer.alloc(0));
    await site.mirror(mirrorOf(['metal-amd64.iso']));
    await expect(site.fetch()).rejects.toMatchObject({
      code: 'UPSTREAM',
      message: expect.stringContaining('empty file'),
    });
  });

  test('a file without a length', async () => {
    const site = await mediaSite();
    site.factory.rules.push({
      path: /\.iso/,
      method: 'HEAD',
      answer: (_, response) => void response.writeHead(200).end(),
    });
    await site.mirror(mirrorOf(['metal-amd64.iso']));
    await expect(site.fetch()).rejects.toMatchObject({
      code: 'UPSTREAM',
      message: expect.stringContaining('no length'),
    });
  });

  test('a file that GET gives shorter than HEAD announces', async () => {
    const site = await mediaSite();
    site.factory.rules.push({
      path: /\.iso\?X-Amz/,
      answer: (_, response, file) => void response.end(file.subarray(0, 1000)),
    });
    await site.mirror(mirrorOf(['metal-amd64.iso']));
    await expect(site.fetch()).rejects.toMatchObject({
      code: 'UPSTREAM',
      message: expect.stringContaining('HEAD says 700000 bytes and GET says 1000'),
    });
  });

  test('another file under a name that lock.json pins: a conflict, nothing overwritten (F22)', async () => {
    const site = await mediaSite();
    await site.mirror(mirrorOf(['metal-amd64.iso']));
    await site.fetch();
    const before = await site.lock();
    const pinned = before.items.find((item) => item.name === setName)?.files?.[0];
    if (pinned === undefined) throw new Error('not pinned');
    const { rm } = await import('node:fs/promises');
    await rm((await Layout.open(site.store)).pathOf(pinned.digest));
    site.factory.files.set(iso, await someBytes(9, 700_000));
    await expect(site.fetch()).rejects.toMatchObject({
      code: 'CONFLICT',
      message: expect.stringContaining(pinned.digest),
    });
    const after = await site.lock();
    expect(after.missing).toEqual([setName]);
    expect(after.items.find((item) => item.name === setName)?.files?.[0]).toEqual(pinned);
    site.factory.files.set(iso, await someBytes(1, 700_000));
    await site.fetch();
    expect((await site.lock()).missing).toEqual([]);
  });

  test('a file that its checksum does not fit; one that it fits brings its signature along (F22)', async () => {
    const site = await mediaSite();
    const hex = createHash('sha256')
      .update(site.factory.files.get(iso) ?? '')
      .digest('hex');
    const rule = {
      path: /\.iso\.sha256$/,
      answer: (_: unknown, response: ServerResponse) =>
        text(response, 200, `${'0'.repeat(64)}  metal-amd64.iso\n`),
    };
    site.factory.rules.push(rule, {
      path: /\.iso\.sigstore\.json$/,
      answer: (_, response) => text(response, 200, '{"mediaType":"bundle"}'),
    });
    await site.mirror(mirrorOf(['metal-amd64.iso']));
    await expect(site.fetch()).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    site.factory.rules[0] = {
      ...rule,
      answer: (_, response) => text(response, 200, `${hex}  metal-amd64.iso\n`),
    };
    await site.fetch();
    expect(Object.keys(await filesOf(site, setName))).toEqual([
      'metal-amd64.iso',
      'metal-amd64.iso.sigstore.json',
    ]);
  });

  test('402 beside a file means that there is no checksum, and is no error (F22)', async () => {
    const site = await mediaSite();
    await site.mirror(mirrorOf(['kernel-amd64']));
    await site.fetch();
    expect(site.asked(factoryHost)).toContain(`GET /${kernel}.sha256`);
    expect(site.asked(factoryHost)).not.toContain(`GET /${kernel}.sigstore.json`);
  });
});

describe('schematics', () => {
  test('the factory decides which spelling is the schematic: its ID and text are kept', async () => {
    const site = await mediaSite();
    const schematic = '{customization: {secureboot: {enrollKeys: off}}}';
    const [, other] = schematicSpellings(schematicFrom(schematic).schematic);
    if (other === undefined) throw new Error('two spellings were expected');
    site.factory.rules.push({
      path: /^\/schematics$/,
      answer: (_, response) =>
        text(response, 201, JSON.stringify({ id: other.id, schematic: other.canonical })),
    });
    site.factory.files.set(`image/${other.id}/${talosVersion}/kernel-amd64`, await someBytes(5, 1000));
    await site.mirror(mirrorOf(['kernel-amd64'], schematic));
    await site.fetch();
    const names = (await site.lock()).items.map((item) => item.name);
    expect(names).toContain(`${factoryHost}/talos-media/${other.id}:${talosVersion}`);
    expect(names).toContain(`${factoryHost}/siderolabs/image-factory/schematics:${other.id}`);
    const posts = () => site.asked(factoryHost).filter((line) => line === 'POST /schematics').length;
    expect(posts()).toBe(1);
    expect(await site.fetch()).toMatchObject({ changed: [] });
    expect(posts()).toBe(1);
  });

  test('another ID from the factory is refused, and what depends on it is named as missing (F20, T51)', async () => {
    const site = await mediaSite();
    site.factory.rules.push({
      path: /^\/schematics$/,
      answer: (_, response) => text(response, 201, JSON.stringify({ id: 'f'.repeat(64) })),
    });
    await site.mirror(mirrorOf(['kernel-amd64']));
    await expect(site.fetch()).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect((await site.lock()).missing).toEqual([setName, `schematic ${vanilla.id}`].sort());
    expect(site.asked(factoryHost).some((line) => line.includes('/image/'))).toBe(false);
  });

  test('another text under the right ID is refused (F20)', async () => {
    const site = await mediaSite();
    site.factory.rules.push({
      path: /^\/schematics$/,
      answer: (_, response) =>
        text(response, 201, JSON.stringify({ id: vanilla.id, schematic: 'customization: {a: b}\n' })),
    });
    await site.mirror(mirrorOf(['kernel-amd64']));
    await expect(site.fetch()).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
  });

  test('by ID: the text comes from the factory and must have that hash (F20)', async () => {
    const site = await mediaSite();
    site.factory.schematics.set(vanilla.id, vanilla.canonical);
    await site.mirror(mirrorOf(['kernel-amd64'], vanilla.id));
    await site.fetch();
    expect((await site.lock()).missing).toEqual([]);
    const other = await mediaSite();
    other.factory.schematics.set(vanilla.id, 'customization: {}\n# changed\n');
    await other.mirror(mirrorOf(['kernel-amd64'], vanilla.id));
    await expect(other.fetch()).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
  });

  test.each([
    [
      'a join token',
      '{customization: {extraKernelArgs: ["siderolink.api=https://omni.example?jointoken=CANARY0123456789"]}}',
    ],
    [
      'a private key in an embedded configuration',
      '{customization: {embeddedMachineConfiguration: "machine:\\n  ca:\\n    key: -----BEGIN PRIVATE KEY-----CANARY\\n"}}',
    ],
    [
      'a bearer token',
      '{customization: {extraKernelArgs: ["talos.config.auth=Bearer CANARY0123456789abcdef"]}}',
    ],
    [
      'credentials in a URL',
      '{customization: {extraKernelArgs: ["talos.config=https://me:CANARY01@site/cfg"]}}',
    ],
    [
      'a secret in the embedded configuration of a file',
      '{customization: {embeddedMachineConfiguration: "cluster:\\n  token: CANARY.0123456789abcdef\\n"}}',
    ],
  ])('with %s: refused before any request, the secret never said (F21, T52)', async (_what, schematic) => {
    const site = await mediaSite();
    await site.mirror(mirrorOf(['kernel-amd64'], schematic));
    const error = await site.fetch().catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'SECRET', message: expect.stringContaining('--allow-secrets') });
    expect(String(error)).not.toContain('CANARY');
    expect(site.asked(factoryHost)).toEqual([]);
  });

  test('with a secret goes out when that is allowed', async () => {
    const site = await mediaSite();
    const schematic = '{customization: {extraKernelArgs: ["x=https://omni?jointoken=abc"]}}';
    const { id } = schematicFrom(schematic);
    site.factory.files.set(`image/${id}/${talosVersion}/kernel-amd64`, await someBytes(5, 1000));
    await site.mirror(mirrorOf(['kernel-amd64'], schematic));
    await site.fetch({ allowSecrets: true });
    expect((await site.lock()).missing).toEqual([]);
  });

  test('by ID whose text holds a secret is not carried unless that is allowed (T52)', async () => {
    const site = await mediaSite();
    const secret = schematicFrom('{customization: {extraKernelArgs: ["x=https://omni?jointoken=CANARY"]}}');
    site.factory.schematics.set(secret.id, secret.canonical);
    site.factory.files.set(`image/${secret.id}/${talosVersion}/kernel-amd64`, await someBytes(5, 1000));
    await site.mirror(mirrorOf(['kernel-amd64'], secret.id));
    const error = await site.fetch().catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'SECRET' });
    expect(String(error)).not.toContain('CANARY');
    await site.fetch({ allowSecrets: true });
  });
});

describe('lists', () => {
  const catalog = (what: string, tag = talosVersion): string => `${factoryHost}/talos-catalog/${what}:${tag}`;

  test('versions that are carried, extensions, overlays, talosctl, certificate and key are kept as artifacts', async () => {
    const site = await mediaSite();
    await site.mirror(mirrorOf(['kernel-amd64']));
    await site.fetch();
    const said = async (name: string) =>
      Object.fromEntries(
        Object.entries(await filesOf(site, name)).map(([file, bytes]) => [file, bytes.toString()]),
      );
    expect(await said(catalog('versions', 'latest'))).toEqual({ versions: '["v1.13.9"]\n' });
    expect(await said(catalog('extensions'))).toEqual({
      'extensions.json': '[{"name":"siderolabs/iscsi-tools"}]\n',
    });
    expect(await said(catalog('overlays'))).toEqual({ 'overlays.json': '[]\n' });
    expect(await said(catalog('secureboot', 'latest'))).toEqual({
      'signing-cert.pem': '-----BEGIN CERTIFICATE-----\n',
    });
    expect(await said(catalog('cosign', 'latest'))).toEqual({
      'signing-key.pub': '-----BEGIN PUBLIC KEY-----\n',
    });
    expect(Object.keys(await filesOf(site, catalog('talosctl')))).toEqual(['talosctl-linux-amd64']);
    const kinds = (await site.lock()).items
      .filter((item) => item.name.includes('/talos-catalog/'))
      .map((item) => item.kind);
    expect(kinds).toEqual(Array(6).fill('catalog'));
  });

  test.each([
    ['all', ['talosctl-darwin-arm64', 'talosctl-linux-amd64']],
    ['[darwin-arm64]', ['talosctl-darwin-arm64']],
  ])('talosctl: %s', async (wanted, files) => {
    const site = await mediaSite();
    await site.mirror(mirrorOf(['kernel-amd64'], undefined, `, talosctl: ${wanted}`));
    await site.fetch();
    expect(Object.keys(await filesOf(site, catalog('talosctl')))).toEqual(files);
  });

  test('none, when talosctl is an empty list', async () => {
    const site = await mediaSite();
    await site.mirror(mirrorOf(['kernel-amd64'], undefined, ', talosctl: []'));
    await site.fetch();
    expect((await site.lock()).items.map((item) => item.name)).not.toContain(catalog('talosctl'));
  });

  test('a system that talosctl is not made for is refused, those that there are named', async () => {
    const site = await mediaSite();
    await site.mirror(mirrorOf(['kernel-amd64'], undefined, ', talosctl: [plan9-amd64]'));
    await expect(site.fetch()).rejects.toMatchObject({
      code: 'CONFIG',
      message: expect.stringContaining('none for plan9-amd64; there are linux-amd64, darwin-arm64'),
    });
  });

  test('a Talos version that the factory does not offer is named', async () => {
    const site = await mediaSite();
    site.factory.files.set('versions', Buffer.from('["v1.12.4"]'));
    await site.mirror(mirrorOf(['kernel-amd64']));
    await expect(site.fetch()).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining(talosVersion),
    });
  });

  test('a list that is none is refused (T21)', async () => {
    const site = await mediaSite();
    site.factory.files.set('versions', Buffer.from('<html>log in</html>'));
    await site.mirror(mirrorOf(['kernel-amd64']));
    await expect(site.fetch()).rejects.toMatchObject({ code: 'UPSTREAM' });
  });

  test('what a factory does not have (its certificate, say) is left out', async () => {
    const site = await mediaSite();
    site.factory.files.delete('secureboot/signing-cert.pem');
    await site.mirror(mirrorOf(['kernel-amd64']));
    await site.fetch();
    expect((await site.lock()).items.map((item) => item.name)).not.toContain(catalog('secureboot', 'latest'));
  });
});

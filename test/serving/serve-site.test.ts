/**
 * A site that has nothing but the carried bundle: `serve` is its Image Factory and registry, a person reads its page,
 * what is missing goes out as a list and comes back in the next bundle.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import axe from 'axe-core';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { parseMirror } from '../../packages/fetcher/src/mirror/mirror.ts';
import { schematicFrom } from '../../packages/talos/src/index.ts';
import { type SampleUpstream, startSampleUpstream } from '../../scripts/sample-upstream/sample-upstream.ts';
import { describeWith } from '../services/service-test.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { makeCertificates } from '../services/tls.ts';
import { cli, cliJson, expectFailure, startCli, startServe } from '../support/cli.ts';
import { copyAll } from '../support/skopeo.ts';
import { upstreamFlags, type Workspace, workspace } from '../support/workspace.ts';

const version = 'v1.13.9';
const files = '[metal-amd64.iso, kernel-amd64, initramfs-amd64.xz, cmdline-metal-amd64]';
const carried = schematicFrom('customization: {}').id;
const omnisOwn =
  'customization:\n    extraKernelArgs:\n        - siderolink.api=grpc://omni.site:8090\n        - net.ifnames=0\n';
const canary = 'w7Kq9ZcanaryTokenOfAJoinxx';

let sample: SampleUpstream;
let site: Workspace;
let serve: Awaited<ReturnType<typeof startServe>>;
let url: string;

beforeAll(async () => {
  sample = await startSampleUpstream({ dir: temporaryFolder('upstream'), sizeMiB: 16, buildMs: 1 });
  site = await workspace(`
talos:
  versions: [${version}]
media:
  - {schematic: {customization: {}}, files: ${files}, installers: [metal]}
images: [ghcr.io/dexidp/dex:v2.41.1]
`);
  await cliJson(['fetch', ...site.store, ...upstreamFlags(sample.urls)]);
  await cliJson(['bundle', ...site.bundle]);
  serve = await startServe([...site.media, '--writable', site.at('writable')]);
  url = `http://${serve.host}`;
});
afterAll(async () => {
  await serve?.stop();
  await sample?.stop();
});

async function postSchematic(base: string, text: string): Promise<string> {
  const response = await fetch(`${base}/schematics`, { method: 'POST', body: text });
  expect(response.status).toBe(201);
  return ((await response.json()) as { id: string }).id;
}

async function sha256(address: string): Promise<string> {
  const response = await fetch(address);
  expect(response.status, address).toBe(200);
  return createHash('sha256')
    .update(await response.bytes())
    .digest('hex');
}

describe('as Omni uses its factory', () => {
  test('versions, extensions, overlays, talosctl, the schematic, media', async () => {
    expect(await (await fetch(`${url}/versions`)).json()).toEqual([version]);
    const extensions = (await (
      await fetch(`${url}/version/${version}/extensions/official`)
    ).json()) as unknown[];
    expect(extensions.length).toBeGreaterThan(0);
    expect(await (await fetch(`${url}/version/1.13.9/overlays/official`)).json()).toBeInstanceOf(Array);
    const [talosctl = ''] = (await (await fetch(`${url}/talosctl/${version}`)).json()) as string[];
    expect(talosctl).toBe(`${url}/talosctl/${version}/talosctl-linux-amd64`);
    expect(await sha256(talosctl)).toMatch(/^[0-9a-f]{64}$/);
    expect(await postSchematic(url, '{}')).toBe(carried);
    const lock = JSON.parse(readFileSync(site.at('store', 'lock.json'), 'utf8')) as {
      items: { name: string; files?: { name: string; digest: string }[] }[];
    };
    const media =
      lock.items.find(({ name }) => name.endsWith(`/talos-media/${carried}:${version}`))?.files ?? [];
    expect(media).toHaveLength(4);
    for (const { name, digest } of media) {
      expect(`sha256:${await sha256(`${url}/image/${carried}/${version}/${name}`)}`, name).toBe(digest);
    }
    expect((await fetch(`${url}/oci/cosign/signing-key.pub`)).status).toBe(200);
    expect((await fetch(`${url}/secureboot/signing-cert.pem`)).status).toBe(200);
  });

  test('its own schematic: kernel and command line at once, the rest refused with a wish', async () => {
    const id = await postSchematic(url, omnisOwn);
    const base = `${url}/image/${id}/${version}`;
    expect(await sha256(`${base}/kernel-amd64`)).toBe(
      await sha256(`${url}/image/${carried}/${version}/kernel-amd64`),
    );
    expect(await (await fetch(`${base}/cmdline-metal-amd64`)).text()).toMatch(
      / siderolink\.api=grpc:\/\/omni\.site:8090 net\.ifnames=0$/,
    );
    const refused = await fetch(`${base}/metal-amd64.iso`);
    expect([refused.status, await refused.text()]).toEqual([
      404,
      expect.stringContaining('the wish was recorded'),
    ]);
    expect((await fetch(`${url}/v2/metal-installer/${id}/manifests/${version}`)).status).toBe(404);
  });
});

describeWith(['skopeo'], 'as a registry', () => {
  const digestOf = async (name: string): Promise<string> => (await copyAll(`docker://${name}`)).digest;

  test('skopeo pulls the installer by each of its names, and an image under both of its own', async () => {
    const { host } = serve;
    const newest = await digestOf(`${host}/metal-installer/${carried}:${version}`);
    expect(await digestOf(`${host}/installer/${carried}:latest`)).toBe(newest);
    expect(await digestOf(`${host}/factory.talos.dev/metal-installer/${carried}:${version}`)).toBe(newest);
    expect(await digestOf(`${host}/dexidp/dex:v2.41.1`)).toBe(
      await digestOf(`${host}/ghcr.io/dexidp/dex:v2.41.1`),
    );
  });
});

describe('over HTTPS', () => {
  test('wants --from verifies the certificate; scripts name the external URL', async () => {
    const tls = await makeCertificates('127.0.0.1');
    const certificate = site.write('tls/cert.pem', tls.cert);
    const key = site.write('tls/key.pem', tls.key);
    const secure = startCli([
      'serve',
      ...site.media,
      ...['--cert', certificate, '--key', key, '--external-url', 'https://factory.site.example/'],
      ...['--listen', '127.0.0.1:0', '--json'],
    ]);
    await secure.until(() => secure.stdout().includes('\n'));
    const { url: address } = JSON.parse(secure.stdout()) as { url: string };
    expect(address).toMatch(/^https:/);
    expectFailure(await cli(['wants', '--from', address]), 5, /certificate/i);
    const found = await cliJson<{ wishes: unknown[] }>(['wants', '--from', address, '--ca-cert', tls.caFile]);
    expect(found.wishes).toEqual([]);
    secure.kill('SIGTERM');
    expect((await secure.ended).code).toBe(0);
    tls.dispose();
  });

  test('--cert without --key is a usage error', async () => {
    expectFailure(await cli(['serve', ...site.media, '--cert', 'x']), 2, /--cert and --key belong together/);
  });
});

/** Asks for media of a schematic with a secret in it, which the site does not carry. */
async function wishForSecret(): Promise<void> {
  const id = await postSchematic(
    url,
    `customization:\n    extraKernelArgs:\n        - a=https://x?jointoken=${canary}\n`,
  );
  await fetch(`${url}/image/${id}/${version}/metal-amd64.iso`);
}

describeWith(['chromium'], 'the page, in a real browser', () => {
  let browser: Browser;
  const shots = process.env['SCREENSHOTS'];
  /** What pages wrote to the console. */
  const said: string[] = [];

  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
    await wishForSecret();
  });
  afterAll(() => browser?.close());
  afterEach(() => expect(said.splice(0)).toEqual([]));

  async function open(options: Parameters<Browser['newPage']>[0]): Promise<Page> {
    const page = await browser.newPage(options);
    page.on('request', (request) => {
      const to = request.url();
      if (!to.startsWith(url) && !to.startsWith('data:')) throw new Error(`the page asked for ${to}`);
    });
    page.on('console', (message) => said.push(message.text()));
    page.on('pageerror', (error) => said.push(error.message));
    await page.goto(url);
    return page;
  }

  async function shot(page: Page, name: string): Promise<void> {
    if (shots === undefined) return;
    mkdirSync(shots, { recursive: true });
    await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
  }

  test.each([
    ['light', { colorScheme: 'light', viewport: { width: 1280, height: 900 } }],
    ['dark', { colorScheme: 'dark', viewport: { width: 1280, height: 900 } }],
    ['phone', { colorScheme: 'light', viewport: { width: 360, height: 740 } }],
  ] as const)('%s: axe finds nothing, nothing runs off the side', async (name, options) => {
    const page = await open({ ...options, bypassCSP: true });
    for (const details of await page.locator('details').all()) {
      await details.evaluate((element) => element.setAttribute('open', ''));
    }
    await page.addScriptTag({ content: axe.source });
    const violations = await page.evaluate(async () => {
      const { axe: inPage } = globalThis as unknown as {
        axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> };
      };
      return (await inPage.run()).violations.map(
        ({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' | ')}`,
      );
    });
    expect(violations).toEqual([]);
    const width = await page.evaluate('document.documentElement.scrollWidth');
    expect(width).toBeLessThanOrEqual(options.viewport.width);
    await shot(page, name);
    await page.close();
  });

  test('without script: says what it holds, by whom it was signed, how to use it, and what is wished', async () => {
    const page = await open({ javaScriptEnabled: false });
    const text = await page.locator('body').textContent();
    for (const part of [
      version,
      carried,
      `${url}/pxe/${carried}/${version}/metal-amd64`,
      `${serve.host}/metal-installer/${carried}:${version}`,
      'RegistryMirrorConfig',
      `--primary-factory-url=${url}`,
      'capabilities = ["pull", "resolve"]',
      'Signed by',
      'Holds a secret',
      'metal-amd64.iso of Talos',
    ]) {
      expect(text).toContain(part);
    }
    expect(text).not.toContain(canary);
    await page.close();
  });

  test('configuration is there to be copied: each line is a line', async () => {
    const page = await open({});
    const copied = (name: string): Promise<string | null> =>
      page.getByRole('group', { name, exact: true }).textContent();
    const mirror = `apiVersion: v1alpha1\nkind: RegistryMirrorConfig\nname: ghcr.io\nendpoints:\n  - url: ${url}\nskipFallback: true`;
    expect((await copied('Talos configuration'))?.split('\n---\n')).toContain(mirror);
    expect(await copied('containerd configuration')).toBe(
      `server = "${url}"\n\n[host."${url}"]\n  capabilities = ["pull", "resolve"]`,
    );
    await page.getByLabel('A schematic').fill('customization:\n  extraKernelArgs: [a=b]\n');
    await page.getByRole('button', { name: 'Look up' }).click();
    await page.getByText('Not carried:').waitFor();
    expect(await page.getByLabel('A schematic').inputValue()).toBe(
      'customization:\n  extraKernelArgs: [a=b]',
    );
    await page.close();
  });

  test('the search shows what it finds while it is typed, and keeps the address that finds it', async () => {
    const page = await open({});
    const field = page.getByRole('searchbox', { name: 'Search' });
    await field.focus();
    await page.keyboard.type('DEX v2.41');
    await page.getByRole('heading', { name: 'Search results' }).waitFor();
    expect(await page.locator('.repositories').textContent()).toContain(`${serve.host}/dexidp/dexv2.41.1`);
    expect(await page.locator('#found').textContent()).toBe('1 name and 0 files match "DEX v2.41".');
    expect(await page.evaluate('document.activeElement.id')).toBe('q');
    expect(page.url()).toBe(`${url}/?q=DEX%20v2.41`);
    await shot(page, 'search');
    await page.reload();
    expect(await field.inputValue()).toBe('DEX v2.41');
    await field.fill('no such thing');
    await page.getByText('Nothing here matches "no such thing".').waitFor();
    await field.fill('');
    await page.getByRole('heading', { name: 'Use this server' }).waitFor();
    expect(page.url()).toBe(`${url}/`);
    await page.close();
  });

  test('without script, the search is a form', async () => {
    const page = await open({ javaScriptEnabled: false });
    await page.getByRole('searchbox', { name: 'Search' }).fill('metal-amd64.iso');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Search results' }).waitFor();
    expect(await page.getByRole('link', { name: 'metal-amd64.iso' }).count()).toBe(1);
    await page.getByRole('link', { name: 'Show everything' }).click();
    await page.getByRole('heading', { name: 'Use this server' }).waitFor();
    await page.close();
  });

  test('the ISO that its link downloads has the checksum beside it', async () => {
    const page = await open({});
    const row = page.locator('tr', { has: page.getByRole('link', { name: 'metal-amd64.iso' }) }).first();
    const [download] = await Promise.all([page.waitForEvent('download'), row.getByRole('link').click()]);
    expect(download.suggestedFilename()).toBe('metal-amd64.iso');
    const bytes = readFileSync(await download.path());
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(await row.locator('code').textContent());
    await page.close();
  });

  test('a schematic is looked up by keyboard alone', async () => {
    const page = await open({});
    await page.keyboard.press('Tab');
    expect(await page.evaluate('document.activeElement.textContent')).toBe('Skip to the content');
    await page.getByLabel('A schematic').focus();
    await page.keyboard.insertText('customization:\n  extraKernelArgs: []\n');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    const status = page.getByRole('status');
    await status.waitFor();
    expect(await status.textContent()).toContain(`Carried: schematic ${carried}, with builds of ${version}`);
    await page.getByLabel('A schematic').fill('nonsense: 1');
    await page.getByRole('button', { name: 'Look up' }).click();
    await page.getByText('No schematic:').waitFor();
    await page.getByLabel('A schematic').fill('f'.repeat(64));
    await page.getByRole('button', { name: 'Look up' }).click();
    await page.getByText('Not carried:').waitFor();
    await shot(page, 'lookup');
    await page.close();
  });
});

describe('wishes go out and come back', () => {
  // By itself: where there is no browser, the tests above are left out.
  beforeAll(wishForSecret);

  test('wants gives a mirror.yaml, which brings what was wished', async () => {
    const wished = schematicFrom(omnisOwn).id;
    await postSchematic(
      url,
      `customization:\n    extraKernelArgs:\n        - a=https://x?jointoken=${canary}\n`,
    );
    const fromUrl = await cli(['wants', '--from', `${url}/`]);
    expect(fromUrl.code, fromUrl.stderr).toBe(0);
    expect(fromUrl.stdout).not.toContain(canary);
    expect(fromUrl.stdout).toContain('holds a secret (customization.extraKernelArgs[0]:');
    const mirror = await parseMirror(fromUrl.stdout, 'wants.yaml');
    expect(mirror.media).toMatchObject([
      { schematic: { id: wished }, versions: [version], files: ['metal-amd64.iso'], installers: ['metal'] },
    ]);
    const next = await workspace('');
    next.write('mirror.yaml', fromUrl.stdout);
    await cliJson(['fetch', ...next.store, ...upstreamFlags(sample.urls)]);
    const { host, stop } = await startServe(['--store', next.at('store')]);
    const base = `http://${host}`;
    expect(await postSchematic(base, omnisOwn)).toBe(wished);
    expect((await fetch(`${base}/image/${wished}/${version}/metal-amd64.iso`)).status).toBe(200);
    expect((await fetch(`${base}/v2/metal-installer/${wished}/manifests/${version}`)).status).toBe(200);
    await stop();
  });

  test('the folder of --writable keeps them when the server has ended', async () => {
    const before = await cliJson<{ wishes: unknown[] }>(['wants', '--from', url]);
    await serve.stop();
    const after = await cliJson<{ wishes: unknown[] }>(['wants', '--from', site.at('writable')]);
    expect(after.wishes).toEqual(before.wishes);
    expect(after.wishes.length).toBeGreaterThan(2);
    expectFailure(await cli(['wants', '--from', site.root]), 2, /wants\.json: not found/);
  });
});

/** report.html in a real Chromium: opens without a script, loads nothing, shows hostile names as text, prints. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import { reportPage } from '../../packages/bundler/src/report/page.ts';
import type { Summary } from '../../packages/bundler/src/report/summary.ts';
import { digestOf } from '../../packages/oci/src/model/index.ts';
import { describeWith } from '../services/service-test.ts';
import { temporaryFolder } from '../services/temporary.ts';

let launched: Promise<Browser> | undefined;
afterAll(async () => (await launched)?.close());

function browser(): Promise<Browser> {
  launched ??= chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
  return launched;
}

const hostile =
  '<script>document.title="owned"</script>"\'><img src=x onerror=alert(1)>\u202egnp.exe\u0007&amp;';
const digest = (text: string) => digestOf(Buffer.from(text));

/** A bundle of so many images; one in four has a signature that was verified, one in nine a long name. */
function large(images: number): Summary {
  const { document, ...rest } = sample();
  const long = 'a-team-with-a-name-that-goes-on/a-service-with-a-name-that-goes-on-and-on';
  const items = Array.from({ length: images }, (_, i): Summary['items'][number] => {
    const repository = i % 9 === 0 ? long : i % 3 === 0 ? `team-${i % 40}/service-${i}` : `app-${i % 60}`;
    return {
      ...(rest.items[0] as Summary['items'][number]),
      name: `registry-${i % 5}.example.com/${repository}:v1.${i}.0`,
      ...(i % 4 === 0
        ? { signature: 'verified', verified: { key: digest('key'), signature: digest('signature') } }
        : {}),
    };
  });
  return {
    ...rest,
    document: { ...document, base: undefined, changes: undefined },
    items,
    issuedBy: '9f'.repeat(32),
  };
}

/** The text of each page of a PDF. */
function pagesOf(pdf: Buffer): readonly string[] {
  const text = execFileSync('pdftotext', ['-layout', '-', '-'], { input: pdf, encoding: 'utf8' });
  return text.split('\f').map((page) => page.replace(/[ \n]+/g, ' '));
}

function sample(): Summary {
  const root = (name: string) => ({
    name,
    descriptor: { mediaType: 'application/vnd.oci.image.index.v1+json', digest: digest(name), size: 500 },
  });
  const names = ['ghcr.io/siderolabs/omni:v1.10.4', 'registry.k8s.io/pause:3.10', hostile];
  const item = (name: string, kind: string, more: object = {}): Summary['items'][number] => ({
    name,
    kind,
    digest: digest(name),
    bytes: 123_456_789,
    inBase: false,
    platforms: ['linux/amd64', 'linux/arm64'],
    files: [],
    signature: 'carried',
    attachments: [],
    companions: [],
    verified: undefined,
    source: 'https://ghcr.io',
    fetchedAt: '2026-01-01T00:00:00Z',
    fetchedBy: 'ann@outside',
    ...more,
  });
  return {
    document: {
      kind: 'omni-airgap/bundle',
      schema: 1,
      id: 'ab'.repeat(32),
      origin: 'cd'.repeat(16),
      sequence: 7,
      createdAt: '2026-01-02T03:04:05Z',
      createdBy: hostile,
      tool: `omni-airgap 0.1.0 ${hostile}`,
      base: [{ id: 'ef'.repeat(32), origin: 'cd'.repeat(16), sequence: 6 }],
      changes: {
        added: [hostile],
        moved: [{ name: 'registry.k8s.io/pause:3.10', from: digest('before') }],
        removed: ['ghcr.io/gone/app:v1'],
      },
      roots: names.map(root),
      blobs: [],
      volumes: [0, 1, 2].map((i) => ({
        name: `content.tar.00${i}`,
        size: 4_000_000_000,
        sha256: '12'.repeat(32),
      })),
      files: [],
      secrets: { policy: 'allowed', schematics: 2, found: [hostile] },
      egress: [
        { host: 'ghcr.io', requests: 120, bytes: 7_000_000 },
        { host: hostile, requests: 1, bytes: 1 },
      ],
    },
    items: [
      item('ghcr.io/siderolabs/omni:v1.10.4', 'image', {
        attachments: [
          { kind: 'signature', manifest: digest('signatures') },
          { kind: 'signature', manifest: digest('signatures') },
          ...['linux/amd64', 'linux/arm64'].map((platform) => ({
            kind: 'sbom',
            type: 'https://spdx.dev/Document',
            platform,
            manifest: digest('sbom'),
          })),
        ],
      }),
      item('registry.k8s.io/pause:3.10', 'image', { inBase: true, bytes: 0, signature: 'none' }),
      item(hostile, 'image', { source: hostile, platforms: [hostile] }),
      item('factory.talos.dev/talos-media/1111:v1.13.9', 'media', {
        platforms: [],
        signature: undefined,
        files: [
          { name: 'metal-amd64.iso', digest: digest('iso'), size: 300_000_000 },
          { name: hostile, digest: digest('x'), size: 5 },
        ],
      }),
      item('ghcr.io/siderolabs/talos:v1', 'image', {
        signature: 'verified',
        verified: { key: digest('key'), signature: digest('signature') },
      }),
      item('ghcr.io/siderolabs/imager:v1', 'image', {
        signature: 'verified',
        verified: {
          identity: `ann@x${hostile}`,
          issuer: 'https://accounts.example',
          signature: digest('other'),
        },
      }),
      item('quay.io/acme/strange:v1', 'unheard-of'),
    ],
    bytes: 12_000_000_000,
    versions: [{ product: 'Talos', versions: ['v1.13.9', 'v1.14.0'] }],
    relied: { blobs: 3, bytes: 4_000_000 },
  };
}

interface Opened {
  readonly page: Page;
  /** URLs that were asked for. */
  readonly requests: readonly string[];
  /** What the page said on the console, or threw. */
  readonly complaints: readonly string[];
}

async function open(html: string, javaScriptEnabled: boolean): Promise<Opened> {
  const path = join(temporaryFolder('report'), 'report.html');
  writeFileSync(path, html);
  const tab = await (await browser()).newContext({
    javaScriptEnabled,
    viewport: { width: 1000, height: 1400 },
  });
  onTestFinished(() => tab.close());
  const page = await tab.newPage();
  const requests: string[] = [];
  const complaints: string[] = [];
  page.on('request', (request) => requests.push(request.url()));
  page.on('console', (line) => complaints.push(line.text()));
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('dialog', (dialog) => complaints.push(dialog.message()));
  await page.goto(pathToFileURL(path).href);
  return { page, requests, complaints };
}

describeWith(['chromium'], 'report.html in Chromium', () => {
  test.each([
    ['on', true],
    ['off', false],
  ])(
    'with scripts %s it can be read, is quiet, and shows what it was given as text',
    async (_what, scripts) => {
      const { page, requests, complaints } = await open(reportPage(sample()), scripts);
      expect(await page.title()).toBe('Bundle abababababab, sequence number 7');
      const text = await page.locator('body').textContent();
      for (const expected of [
        'ghcr.io/siderolabs/omni',
        'v1.10.4',
        'linux/amd64, linux/arm64',
        'metal-amd64.iso',
        'UNSIGNED',
        'Signature not verified',
        `Signatures verified are by key ${digest('key')}`,
        'Signatures verified are by ann@x<',
        '1 by ann@x<',
        '(https://accounts.example)',
        'Hosts contacted: 2',
        'Same name, other content',
        'content.tar.002',
        '1 with secrets',
        'carried with --allow-secrets',
        '2 of 5 verified',
        'Carried with it: 2 signatures, SBOM (SPDX) for linux/amd64 and linux/arm64',
        'Other content',
        '<script>document.title="owned"</script>',
        '\\u202egnp.exe\\u0007&amp;',
      ]) {
        expect(text?.includes(expected), expected).toBe(true);
      }
      expect(text).not.toMatch(/[\u202e]/);
      expect(await page.locator('script, img, link, iframe, [onerror]').count()).toBe(0);
      expect(requests).toHaveLength(1);
      expect(complaints).toEqual([]);
      const box = await page.locator('main').boundingBox();
      expect((box?.x ?? 0) + (box?.width ?? 0)).toBeLessThanOrEqual(1000);
      expect((await page.screenshot({ fullPage: true })).byteLength).toBeGreaterThan(10_000);
    },
  );

  test.each([
    [400, 'light' as const],
    [400, 'dark' as const],
    [1280, 'light' as const],
  ])('fits a window of %i pixels, %s', async (width, colorScheme) => {
    const { page } = await open(reportPage(sample()), true);
    await page.setViewportSize({ width, height: 900 });
    await page.emulateMedia({ colorScheme });
    // In the page, which this program does not know the types of.
    await page.evaluate('for (const one of document.querySelectorAll("details")) one.open = true');
    const widest = await page.evaluate<number>('document.documentElement.scrollWidth');
    expect(widest).toBeLessThanOrEqual(width);
    const cut = await page.evaluate<readonly string[]>(
      '[...document.querySelectorAll("td, th")].filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.textContent)',
    );
    expect(cut).toEqual([]);
  });

  test('prints on paper', async () => {
    const { page } = await open(reportPage(sample()), false);
    await page.emulateMedia({ media: 'print' });
    expect(await page.locator('.approval').isVisible()).toBe(true);
    const pdf = await page.pdf({ format: 'A4' });
    expect(pdf.subarray(0, 5).toString()).toBe('%PDF-');
  });

  test('folds the details, and says in the first lines what decides', async () => {
    const { page } = await open(reportPage(large(20)), false);
    expect(await page.locator('details[open]').count()).toBe(0);
    expect(await page.getByText('v1.7.0', { exact: true }).first().isVisible()).toBe(true);
    expect(await page.locator('.items').first().isVisible()).toBe(false);
    const status = page.locator('.status');
    expect((await status.boundingBox())?.y).toBeLessThan(200);
    const rows = await status.locator('tr').allTextContents();
    expect(rows.map((text) => text.replace(/\s+/g, ' ').slice(0, 40))).toEqual([
      'Bundle signatureSigned by key 9f9f9f9f9f',
      'TypeFull 11.2 GiB in 3 volumes. It needs',
      'Content20 imagesTalos v1.13.9, v1.14.0',
      'Image signatures5 of 20 verified 15 with',
      'Hosts contacted: 2ghcr.io<script>documen',
      'Secrets1 with secrets 2 schematics check',
      'Warnings215 images have no verified sign',
    ]);
  });
});

describeWith(['chromium', 'pdftotext'], 'report.html on paper', () => {
  test.each([5, 500])('of %i images has its summary and the signature on two pages', async (images) => {
    const { page } = await open(reportPage(large(images)), false);
    const pages = pagesOf(await page.pdf({ format: 'A4' }));
    const first = pages.slice(0, 2).join(' ');
    for (const text of ['by key 9f9f', 'Image signatures', 'Warnings', 'Summary', 'approved by'])
      expect(first).toContain(text);
    // What is folded on the screen begins on a page of its own, and is all there.
    const details = pages.findIndex((text) => text.includes('Tag and digest'));
    expect(details).toBeGreaterThan(0);
    expect(pages.slice(0, details).join('')).toContain('approved by');
    const printed = pages.slice(details).join('').replaceAll(' ', '');
    const isPrinted = (i: number): boolean => printed.includes(`v1.${i}.0linux/amd64`);
    expect([0, 1, images - 1].filter(isPrinted)).toHaveLength(3);
  });
});

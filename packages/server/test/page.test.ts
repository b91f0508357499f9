/** The page at `/`: what comes first, the search, bundles told apart. In a browser: test/serving/serve-site.test.ts. */
import type { Layout } from '@omni-airgap/oci/layout';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Provenance } from '../src/index.ts';
import { carried, v } from './carried.ts';
import { newLayout, putFiles, putImage, start } from './support.ts';

let layout: Layout;
let id: string;

beforeEach(async () => {
  ({ layout, id } = await carried());
  await putImage(layout, 'ghcr.io/siderolabs/omni:v1.10.4', Buffer.from('omni'));
  await putImage(layout, 'docker.io/acme/tool:one', Buffer.from('one'));
  await putImage(layout, 'quay.io/acme/tool:one', Buffer.from('another'));
});

/** One image under so many tags: v3.0, v3.1, … */
async function putTags(name: string, count: number): Promise<void> {
  const { manifest } = await putImage(layout, undefined, Buffer.from(name));
  const tags = Array.from({ length: count }, (_, i) => layout.tag(manifest, `${name}:v3.${i}`));
  await Promise.all(tags);
}

/** Sections in order, by their headings, and the text of all. */
async function pageAt(path = '/', options: Parameters<typeof start>[0] = { source: layout }) {
  const server = await start(options);
  const response = await fetch(server.url + path);
  const page = await response.text();
  return {
    host: new URL(server.url).host,
    page,
    text: page.replace(/<(?:style|script)>.*?<\/(?:style|script)>/gs, '').replace(/<[^>]*>/g, ' '),
    headings: [...page.matchAll(/<h2 id="([^"]+)"/g)].map(([, name]) => name),
  };
}

test('what people came for comes first: downloads, then how to use them', async () => {
  const media = { 'kernel-amd64': 'kernel', 'metal-amd64.iso': 'iso' };
  await putFiles(layout, `factory.talos.dev/talos-media/${id}:v1.15.0`, media);
  const { headings, page, text, host } = await pageAt();
  expect(headings.slice(0, 2)).toEqual(['boot-assets', 'setup']);
  expect(headings.at(-1)).toBe('about');
  const files = [...page.matchAll(/<a href="\/image\/[^"]+">([^<]+)</g)].map(([, name]) => name);
  expect(files[0]).toBe('metal-amd64.iso');
  expect(text).toContain(`docker pull ${host}/`);
  expect(text).toContain('insecure-registries');
});

test('boot assets of the newest version are open, the others are folded', async () => {
  await putFiles(layout, `factory.talos.dev/talos-media/${id}:v1.14.0`, { 'metal-amd64.iso': 'newer' });
  const { page } = await pageAt();
  const newest = page.indexOf(`/image/${id}/v1.14.0/metal-amd64.iso`);
  expect(newest).toBeGreaterThan(0);
  expect(newest).toBeLessThan(page.indexOf('<details'));
  expect(page.indexOf('<details')).toBeLessThan(page.indexOf(`/image/${id}/${v}/metal-amd64.iso`));
});

test('500 tags: the newest are shown, a link leads to all, and each is found', async () => {
  await putTags('ghcr.io/acme/many', 500);
  const { page, host } = await pageAt();
  expect(page).toContain('<code>v3.499</code>');
  expect(page).not.toContain('<code>v3.7</code>');
  const [, link = ''] = /<a href="([^"]+)">all 500 tags<\/a>/.exec(page) ?? [];
  expect(link).toBe(`/?q=${encodeURIComponent(`${host}/acme/many:`)}`);
  const all = await pageAt(`/?q=${encodeURIComponent('acme/many:')}`);
  expect(all.page.match(/<code>v3\.\d+<\/code>/g)).toHaveLength(500);
  expect(all.page.indexOf('>v3.100<')).toBeLessThan(all.page.indexOf('>v3.20<'));
});

describe('the search, without script', () => {
  const q = (words: string): string => `/?q=${encodeURIComponent(words)}`;

  test.each([
    ['names and tags', 'MANY v3.49', '11 names and 0 files', ['acme/many', 'v3.49', 'v3.490']],
    ['boot assets by file and version', `iso ${v}`, '0 names and 1 file', ['metal-amd64.iso']],
    ['talosctl', 'talosctl', '0 names and 1 file', ['talosctl-linux-amd64']],
    ['installers', 'metal-installer', '3 names and 0 files', ['metal-installer/']],
    [
      'names that are only found with their host',
      'acme/tool',
      '2 names',
      ['docker.io/acme/tool', 'quay.io/acme/tool'],
    ],
    ['nothing', 'no such thing', 'Nothing here matches "no such thing".', []],
  ])('finds %s', async (_what, words, summary, parts) => {
    await putTags('ghcr.io/acme/many', 500);
    const { text, page } = await pageAt(q(words));
    expect(text).toContain(summary.replaceAll('"', '&quot;'));
    for (const part of parts) expect(text).toContain(part);
    expect(page).toContain(`value="${words}"`);
    expect(page).toContain('<a href="/">Show everything</a>');
    expect(text).not.toContain('siderolabs/omni');
  });

  test('of an empty query is the whole page; of a very long one, nothing', async () => {
    expect((await pageAt(q('  '))).headings).toContain('setup');
    expect((await pageAt(q('x'.repeat(5000)))).text).toContain('Nothing here matches');
  });

  test('shows at most 2,000 tags and says how many more there are', async () => {
    await putTags('ghcr.io/acme/more', 2100);
    const { page, text } = await pageAt(q('acme/more:v'));
    expect(text).toContain('2100 names');
    expect(page.match(/<code>v3\.\d+<\/code>/g)).toHaveLength(2000);
    expect(text).toContain('100 more tags match');
  });
});

test('bundles are told apart: number, age, signer, and of which store', async () => {
  const of = (origin: string, sequence: number, signedBy?: string): Provenance => ({
    id: `${sequence}`.repeat(64),
    origin: origin.repeat(8),
    sequence,
    createdAt: `2026-11-0${sequence}T10:00:00Z`,
    signedBy,
  });
  const provenance = [of('beef', 3, 'key a'), of('beef', 2), of('cafe', 1, 'key b')];
  const { page } = await pageAt('/', { source: layout, provenance });
  const titles = [...page.matchAll(/<h3>(Bundle [^<]+)<\/h3>/g)].map(([, title]) => title);
  expect(titles).toEqual([
    'Bundle number 3 of store beefbeef, the newest',
    'Bundle number 2 of store beefbeef, older',
    'Bundle number 1 of store cafecafe, the newest',
  ]);
  expect((await pageAt('/', { source: layout, provenance: [of('beef', 3)] })).page).toContain(
    '<h3>Bundle number 3</h3>',
  );
});

test('a folder that takes pushes lists what was pushed', async () => {
  const writable = await newLayout();
  await putImage(writable, 'registry.local/team/app:v1', Buffer.from('app'));
  const { text, host } = await pageAt('/?q=team', { writable });
  expect(text).toContain(`${host}/team/app`);
});

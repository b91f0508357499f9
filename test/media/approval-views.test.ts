/** What approvers read on a terminal and in a change request: signatures shown with their images, tables that hold. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { sampleStore, type TestStore, temporaryFolder } from '../../packages/bundler/test/store.ts';
import { cli, cliJson } from '../support/cli.ts';

const omni = 'ghcr.io/siderolabs/omni:v1';

async function made(): Promise<{ readonly store: TestStore; readonly at: (name: string) => string }> {
  const folder = await temporaryFolder();
  const at = (name: string): string => join(folder, name);
  return { store: await sampleStore(at('store')), at };
}

async function printed(...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await cli(args);
  expect(code, stderr).toBe(0);
  return stdout;
}

test('inspect shows a signature with its image, in a bundle and in a store', async () => {
  const { store, at } = await made();
  const attached = `${omni.slice(0, omni.indexOf(':'))}:sha256-${store.digestOf(omni).slice(7)}.att`;
  await store.artifact(attached, 'signature', { 'scan.json': 900 });
  await cliJson(['bundle', '--store', store.root, '--out', at('usb'), '--unsigned']);
  for (const source of [
    ['--bundle', at('usb')],
    ['--store', store.root],
  ]) {
    const text = await printed('inspect', ...source);
    expect(text).not.toContain(':sha256-');
    expect(text).toMatch(/^ghcr\.io\/siderolabs\/omni:v1 .* carried$/m);
    expect(text).toMatch(/^Carried with images:\n {2}ghcr\.io\/siderolabs\/omni:v1: .*attestation/m);
    const { items } = await cliJson<{ items: { name: string; attachments: unknown[] }[] }>([
      'inspect',
      ...source,
    ]);
    expect(items.map(({ name, attachments }) => [name, attachments.length])).toContainEqual([omni, 2]);
    expect(items).toHaveLength(store.names.length - 2);
  }
});

test('inspect --sboms writes SBOMs, names a malformed one, and says where there is none', async () => {
  const { store, at } = await made();
  expect(await printed('inspect', '--store', store.root, '--sboms', at('sboms'))).toContain(
    'No image carries an SBOM here',
  );
  const tag = (suffix: string): string =>
    `${omni.slice(0, omni.indexOf(':'))}:sha256-${store.digestOf(omni).slice(7)}${suffix}`;
  await store.attachment(tag('.sbom'), 'text/spdx+json', '{"spdxVersion":"SPDX-2.3"}');
  await cliJson(['bundle', '--store', store.root, '--out', at('usb'), '--unsigned']);
  const file = 'ghcr.io_siderolabs_omni_v1.spdx.json';
  const text = await printed('inspect', '--bundle', at('usb'), '--sboms', at('sboms'));
  expect(text).toMatch(
    /^ghcr\.io\/siderolabs\/omni:v1 +SPDX +26 B +ghcr\.io_siderolabs_omni_v1\.spdx\.json$/m,
  );
  expect(text).toContain(`1 SBOM in ${at('sboms')}; signatures of attestations are not checked.`);
  expect(readFileSync(join(at('sboms'), file), 'utf8')).toBe('{"spdxVersion":"SPDX-2.3"}');

  await store.attachment(tag('.att'), 'application/vnd.dsse.envelope.v1+json', '{');
  const { code, stdout, stderr } = await cli([
    'inspect',
    '--store',
    store.root,
    '--sboms',
    at('sboms'),
    '--json',
  ]);
  expect(code).toBe(3);
  expect(stderr).toMatch(/1 of 2 SBOMs not written: ghcr\.io\/siderolabs\/omni:v1: SBOM sha256:/);
  expect(JSON.parse(stdout)).toMatchObject({
    folder: at('sboms'),
    files: [{ image: omni, format: 'SPDX', file, size: 26, state: 'present' }],
    failed: [{ image: omni, code: 'BAD_DOCUMENT' }],
    elsewhere: [],
  });
  const refused = await cli(['inspect', '--store', store.root, '--sboms', join(at('sboms'), file)]);
  expect(refused.code).toBe(2);
});

test('diff --format markdown: names in tables as code, signatures with their image', async () => {
  const { store, at } = await made();
  await cliJson(['bundle', '--store', store.root, '--out', at('usb'), '--unsigned']);
  const dex = await store.image('ghcr.io/dexidp/dex:v2', [2, 10]);
  await store.signature('ghcr.io/dexidp/dex', dex);
  await store.image('quay.io/new/app:v1', [70]);
  await store.remove('registry.k8s.io/pause:3.10');
  const text = await printed('diff', '--format', 'markdown', at('usb'), store.root);
  expect(text).toContain('\n### Added (1)\n\n| Name |\n| --- |\n| `quay.io/new/app:v1` |\n');
  expect(text).toContain('\n### Removed (1)\n\n| Name |\n| --- |\n| `registry.k8s.io/pause:3.10` |\n');
  expect(text).toMatch(
    /\n### Same name, other content \(1\)\n\n\| Name \| From \| To \|\n\| --- \| --- \| --- \|\n\| `ghcr\.io\/dexidp\/dex:v2` \| `sha256:[a-f0-9]{12}` \| `sha256:[a-f0-9]{12}` \|\n/,
  );
  expect(text).toContain('| `ghcr.io/dexidp/dex:v2` | 1 added |');
  expect(text).toContain('| `image` | ');
  // Every row of a table has the cells of its head.
  for (const table of text.split('\n\n').filter((part) => part.startsWith('|'))) {
    const [head, ...rows] = table
      .trim()
      .split('\n')
      .map((line) => line.split('|').length);
    expect(new Set(rows)).toEqual(new Set([head]));
  }
  const plainText = await printed('diff', at('usb'), store.root);
  expect(plainText).toContain('~ ghcr.io/dexidp/dex:v2: signatures and attestations: 1 added');
  expect(plainText).not.toContain('.sig');
});

test('diff lists names that the later side withdraws', async () => {
  const { store, at } = await made();
  const unsigned = ['bundle', '--store', store.root, '--unsigned'];
  await cliJson([...unsigned, '--out', at('first')]);
  await store.remove('registry.k8s.io/pause:3.10');
  await cliJson([...unsigned, '--out', at('second'), '--withdraw', '*/pause:*']);
  const text = await printed('diff', at('first'), at('second'));
  expect(text).toContain('\n- registry.k8s.io/pause:3.10\nwithdrawn: registry.k8s.io/pause:3.10\n');
  const markdown = await printed('diff', '--format', 'markdown', at('first'), at('second'));
  expect(markdown).toContain('\n### Withdrawn (1)\n\n| Name |\n| --- |\n| `registry.k8s.io/pause:3.10` |\n');
  expect(await printed('inspect', '--store', store.root)).toMatch(
    /\nWithdrawn: registry\.k8s\.io\/pause:3\.10\n$/,
  );
});

test('diff --format markdown: a label that is markup stays text', async () => {
  const folder = await temporaryFolder();
  const store = await sampleStore(join(folder, 'a|b ``c`` <b>'));
  const text = await printed('diff', '--format', 'markdown', store.root, store.root);
  const label = `store ${store.root}`.replace('|', '\\|');
  expect(text).toContain(`From \`\`\` ${label} \`\`\`  \n`);
});

test('diff: another format is refused', async () => {
  const { code, stderr } = await cli(['diff', '--format', 'html', 'a', 'b']);
  expect(code).toBe(2);
  expect(stderr).toContain('markdown');
});

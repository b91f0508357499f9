/** bom.cdx.json: valid by the schema of CycloneDX, the same for the same bundle, and signed like the other files. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Version } from '@cyclonedx/cyclonedx-library/Spec';
import { JsonStrictValidator } from '@cyclonedx/cyclonedx-library/Validation';
import { parseBundleDocument } from '@omni-airgap/format';
import { digestFromHex, digestOf, hexOf } from '@omni-airgap/oci/model';
import { expect, test } from 'vitest';
import { bundle } from '../src/index.ts';
import { inventory } from '../src/report/inventory.ts';
import type { Summary, SummaryItem } from '../src/report/summary.ts';
import { made, mediaSchematic, optionsFor } from './store.ts';

interface Component {
  readonly type: string;
  readonly name: string;
  readonly version: string;
  readonly purl?: string;
  readonly hashes: readonly object[];
}

interface Bom {
  readonly serialNumber: string;
  readonly metadata: { readonly timestamp: string };
  readonly components: readonly Component[];
}

async function problemsIn(text: string): Promise<unknown> {
  return new JsonStrictValidator(Version.v1dot6).validate(text);
}

test('a bundle has an inventory of its images and boot assets, hashed in bundle.json', async () => {
  const { folder, store } = await made();
  const out = join(folder, 'out');
  await bundle(optionsFor(store, out));
  const bytes = await readFile(join(out, 'bom.cdx.json'));
  const document = parseBundleDocument(await readFile(join(out, 'bundle.json')));
  expect(document.files).toContainEqual({
    name: 'bom.cdx.json',
    size: bytes.byteLength,
    sha256: hexOf(digestOf(bytes)),
  });
  expect(await problemsIn(bytes.toString())).toBeNull();
  const bom = JSON.parse(bytes.toString()) as Bom;
  expect(bom.serialNumber).toMatch(
    /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  );
  expect(bom.serialNumber.slice('urn:uuid:'.length)).toContain(document.id.slice(0, 8));
  expect(bom.metadata.timestamp).toBe(document.createdAt);
  const omni = store.digestOf('ghcr.io/siderolabs/omni:v1');
  expect(bom.components.map(({ type, name, version }) => [type, name, version])).toEqual([
    ['file', 'cmdline-metal-amd64', 'v1.13.9'],
    ['file', 'kernel-amd64', 'v1.13.9'],
    ['file', 'metal-amd64.iso', 'v1.13.9'],
    ['container', 'ghcr.io/dexidp/dex', 'v2'],
    ['container', 'ghcr.io/siderolabs/omni', 'v1'],
    ['container', 'registry.k8s.io/pause', '3.10'],
  ]);
  expect(bom.components[4]).toMatchObject({
    purl: `pkg:oci/omni@${omni.replace(':', '%3A')}?repository_url=ghcr.io/siderolabs/omni&tag=v1`,
    hashes: [{ alg: 'SHA-256', content: omni.slice('sha256:'.length) }],
  });
});

test('the same bundle gives the same bytes; licenses and source come from annotations', async () => {
  const item = (name: string, more: Partial<SummaryItem>): SummaryItem => ({
    name,
    kind: 'image',
    digest: digestOf(Buffer.from(name)),
    bytes: 1,
    inBase: false,
    platforms: [],
    files: [],
    signature: 'none',
    attachments: [],
    companions: [],
    verified: undefined,
    source: undefined,
    fetchedAt: undefined,
    fetchedBy: undefined,
    ...more,
  });
  const hex = digestFromHex('c'.repeat(64));
  const summary: Summary = {
    document: {
      kind: 'omni-airgap/bundle',
      schema: 1,
      id: 'f'.repeat(64),
      origin: 'b'.repeat(32),
      sequence: 1,
      createdAt: '2026-01-01T00:00:00.000Z',
      tool: 'test 1',
      roots: [],
      blobs: [],
      volumes: [],
      files: [],
      egress: [],
    },
    items: [
      item('registry.example:5000/Team/App:v1', {
        licenses: 'MPL-2.0',
        sourceCode: 'https://example.org/app',
      }),
      item('registry.example/app@sha256:1', { digest: hex, licenses: 'a license <of ours>' }),
      item(`factory.talos.dev/talos-media/${mediaSchematic}:v1`, {
        kind: 'media',
        files: [{ name: '../strange "name"', digest: hex, size: 1 }],
      }),
    ],
    bytes: 0,
    versions: [],
    relied: { blobs: 0, bytes: 0 },
  };
  const text = Buffer.from(await inventory(summary)).toString();
  expect(await problemsIn(text)).toBeNull();
  expect(Buffer.from(await inventory({ ...summary, items: summary.items.toReversed() })).toString()).toBe(
    text,
  );
  const { components } = JSON.parse(text) as Bom;
  expect(components).toMatchObject([
    { type: 'file', name: '../strange "name"' },
    {
      licenses: [{ license: { name: 'a license <of ours>' } }],
      purl: `pkg:oci/app@sha256%3A${'c'.repeat(64)}?repository_url=registry.example/app`,
    },
    {
      licenses: [{ license: { id: 'MPL-2.0' } }],
      externalReferences: [{ type: 'vcs', url: 'https://example.org/app' }],
      purl: expect.stringMatching(
        /^pkg:oci\/app@sha256%3A[a-f0-9]{64}\?repository_url=registry\.example%3A5000\/Team\/App&tag=v1$/,
      ),
    },
  ]);
});

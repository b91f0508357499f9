/** prune and names that a later bundle withdraws: a bundle that would keep them keeps them no longer. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseReceiptDocument } from '@omni-airgap/format';
import { MediaType } from '@omni-airgap/oci/model';
import { expect, test } from 'vitest';
import { all, deletionsIn, image, PruneSite } from './prune-support.ts';
import {
  addBlob,
  addManifest,
  addSignature,
  app,
  bytesFor,
  loadInto,
  makeBundle,
  signed,
  temporary,
  tool,
} from './support.ts';

const appV2 = 'ghcr.io/acme/app:v2';
const keep = 2;

/** Loaded three times: the second load brings v2, and the third withdraws it. */
async function withdrawn(): Promise<PruneSite> {
  const site = await PruneSite.start();
  await site.load(image(app));
  await site.load(all(image(appV2), image(tool)));
  await site.load(image(tool), { withdraws: [appV2] });
  return site;
}

test('a withdrawn name goes, though one of the last bundles has it', async () => {
  const site = await withdrawn();
  const { plan } = await site.prune({ keep });
  expect(deletionsIn(plan).toSorted()).toEqual(['acme/app:v1', 'acme/app:v2']);
  await site.apply();
  expect(site.tags('acme/app')).toEqual([]);
  expect(site.tags('acme/tool')).toEqual(['v1']);
});

test('what runs stays, withdrawn or not', async () => {
  const site = await withdrawn();
  const { plan } = await site.prune({ keep, inUse: { images: [appV2] } });
  expect(deletionsIn(plan)).toEqual(['acme/app:v1']);
  expect(plan.kept.map(({ target }) => target.replace(/^[^/]*/, ''))).toEqual(['/acme/app:v2']);
});

test('a bundle that was gone back to keeps its names; so does one of another store', async () => {
  const site = await PruneSite.start();
  const second = await site.load(image(appV2));
  await site.load(image(tool), { withdraws: [appV2] });
  await site.loadAgain(second, { allowRollback: true });
  expect(deletionsIn((await site.prune({ keep })).plan)).toEqual([]);

  const shared = await PruneSite.start();
  await shared.load(image(appV2));
  await shared.load(image(tool), { origin: 'b'.repeat(32), sequence: 7, withdraws: [appV2] });
  expect(deletionsIn((await shared.prune({ keep })).plan)).toEqual([]);
});

/** As if the bundle of this number had been loaded with a key. */
function sign(site: PruneSite, sequence: number): void {
  const folder = join(site.state, 'receipts');
  for (const path of readdirSync(folder).map((name) => join(folder, name))) {
    const record = JSON.parse(readFileSync(path, 'utf8'));
    if (record.receipt.sequence !== sequence) continue;
    writeFileSync(
      path,
      JSON.stringify({ ...record, receipt: { ...record.receipt, trust: { mode: 'signed', key: 'site' } } }),
    );
  }
}

test('an unsigned bundle withdraws nothing from a signed one', async () => {
  const site = await withdrawn();
  sign(site, 2);
  expect(deletionsIn((await site.prune({ keep })).plan)).toEqual(['acme/app:v1']);
  sign(site, 3);
  expect(deletionsIn((await site.prune({ keep })).plan)).toHaveLength(2);
});

test('a name that a bundle after that lists again stays', async () => {
  const site = await withdrawn();
  await site.load(image(appV2));
  expect(deletionsIn((await site.prune({ keep: 3 })).plan)).toEqual(['acme/app:v1']);
});

test('an image goes with its signatures and referrers', async () => {
  const site = await PruneSite.start();
  const { document } = await site.load(signed);
  await site.load(image(tool), { withdraws: document.roots.map(({ name }) => name) });
  const [first, ...others] = deletionsIn((await site.prune({ keep })).plan);
  expect(first).toBe('acme/app:v1');
  expect(others).toHaveLength(3);
});

test('a signature that is not withdrawn by its name goes with its image all the same', async () => {
  const site = await PruneSite.start();
  await site.load(async (layout) => {
    const built = await image(app)(layout);
    const config = await addBlob(layout, MediaType.empty, Buffer.from('{}'));
    await addSignature(layout, 'ghcr.io/acme/app', built, config);
  });
  await site.load(image(tool), { withdraws: [app] });
  expect(deletionsIn((await site.prune({ keep })).plan)).toHaveLength(2);
});

test('objects of withdrawn media go, and their version from the list', async () => {
  const site = await PruneSite.start();
  const schematic = '3'.repeat(64);
  const media = (version: string) => `factory.talos.dev/talos-media/${schematic}:${version}`;
  const targets = {
    objectStore: { kind: 'directory', root: site.objects },
    registry: undefined,
  } as const;
  const filled = (version: string) => async (layout: Parameters<typeof addManifest>[0]) => {
    const config = await addBlob(layout, MediaType.empty, Buffer.from('{}'));
    for (const [name, file, bytes] of [
      [media(version), 'kernel-amd64', bytesFor(version, 9000)],
      ['factory.talos.dev/talos-catalog/versions:latest', 'versions', Buffer.from(`["${version}"]\n`)],
    ] as const) {
      const layer = await addBlob(layout, MediaType.octetStream, bytes);
      const layers = [{ ...layer, annotations: { 'org.opencontainers.image.title': file } }];
      await addManifest(layout, name, MediaType.ociManifest, { config, layers });
    }
  };
  await site.load(filled('v1.13.9'), {}, targets);
  await site.load(filled('v1.14.0'), { withdraws: [media('v1.13.9')] }, targets);
  const { plan } = await site.prune({ keep }, targets);
  expect(plan.objects.map(({ key }) => key)).toEqual([`image/${schematic}/v1.13.9/kernel-amd64`]);
  await site.apply(targets);
  expect(existsSync(join(site.objects, `image/${schematic}/v1.13.9/kernel-amd64`))).toBe(false);
  expect(JSON.parse(readFileSync(join(site.objects, 'versions'), 'utf8'))).toEqual(['v1.14.0']);
});

test('the receipt and the hand-off say what the bundle withdraws', async () => {
  const site = await PruneSite.start();
  const signature = `ghcr.io/acme/app:sha256-${'a'.repeat(64)}.sig`;
  const versions = Array.from({ length: 21 }, (_, i) => `ghcr.io/acme/app:v1.${i + 10}`);
  const { folder } = await makeBundle(async (layout) => void (await image(tool)(layout)), {
    withdraws: [...versions, signature],
  });
  const handoff = join(await temporary(), 'handoff');
  const { receipt } = await loadInto(site.registry, [folder], { handoff });
  const text = readFileSync(join(handoff, 'README.txt'), 'utf8');
  expect(text).toContain(`until omni-airgap prune deletes them`);
  expect(text).toContain(`    ${versions[19]}\n    and 1 more\n`);
  expect(text).not.toContain(signature);
  expect(parseReceiptDocument(Buffer.from(JSON.stringify(receipt))).withdraws).toEqual([
    ...versions,
    signature,
  ]);
});

/** What of a bundle goes into an object store. */
import { join } from 'node:path';
import { Layout } from '@omni-airgap/oci/layout';
import { Annotation, MediaType } from '@omni-airgap/oci/model';
import { expect, test } from 'vitest';
import { type PlannedObject, planObjects, speaksOf } from '../src/targets/objects/object-plan.ts';
import { addBlob, addManifest, bytesFor, temporary } from './support.ts';

test.each([
  ['secureboot', ['secureboot/signing-cert.pem']],
  ['constructor', []],
])('A20 of a catalog named %s it keeps %j', async (what, keys) => {
  const layout = await Layout.open(join(await temporary(), 'store'), { create: true });
  const config = await addBlob(layout, MediaType.empty, Buffer.from('{}'));
  const layer = await addBlob(layout, MediaType.octetStream, bytesFor('pem', 100));
  const name = `factory.talos.dev/talos-catalog/${what}:latest`;
  const descriptor = await addManifest(layout, name, MediaType.ociManifest, {
    config,
    layers: [{ ...layer, annotations: { [Annotation.title]: 'signing-cert.pem' } }],
  });
  const planned = await planObjects(layout, [{ name, descriptor }], undefined);
  expect(planned.map(({ key }) => key)).toEqual(keys);
});

test.each([
  ['versions', ['image/s1/v1.13.9/a', 'image/s2/v1.14.0/a', 'talosctl/v1.14.0/t']],
  ['pxe/s1/v1.13.9/metal-amd64', ['image/s1/v1.13.9/a']],
  ['version/v1.14.0/extensions/official', ['image/s2/v1.14.0/a', 'talosctl/v1.14.0/t']],
  ['schematics/s1', []],
])('the document %s waits for %j', (key, files) => {
  const document = { key, isVersionList: key === 'versions' } as PlannedObject;
  const all = ['image/s1/v1.13.9/a', 'image/s2/v1.14.0/a', 'talosctl/v1.14.0/t'];
  expect(all.filter((file) => speaksOf(document, file))).toEqual(files);
});

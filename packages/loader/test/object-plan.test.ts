/** What of a bundle goes into an object store. */
import { join } from 'node:path';
import { Layout } from '@omni-airgap/oci/layout';
import { Annotation, MediaType } from '@omni-airgap/oci/model';
import { expect, test } from 'vitest';
import { planObjects } from '../src/targets/objects/object-plan.ts';
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

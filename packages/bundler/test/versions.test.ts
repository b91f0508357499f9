/** Versions that an increment no longer carries. */
import { expect, test } from 'vitest';
import { droppedNames, droppedText } from '../src/report/versions.ts';

const id = '3'.repeat(64);

test('U-M9 what falls away is grouped by versions that nothing is carried of, with what has their tag', () => {
  const removed = [
    `factory.talos.dev/metal-installer/${id}:v1.13.9`,
    'factory.talos.dev/talos-catalog/extensions:v1.13.9',
    `factory.talos.dev/talos-media/${id}:v1.14.0`,
    'ghcr.io/siderolabs/imager:v1.13.9',
    `ghcr.io/siderolabs/imager:sha256-${id}.sig`,
    'ghcr.io/siderolabs/kubelet:v1.36.1',
    'ghcr.io/siderolabs/omni:v1.10.4',
    'quay.io/acme/app:v1.13.9',
    'registry.k8s.io/kube-apiserver:v1.36.1',
  ];
  const carried = [
    `factory.talos.dev/metal-installer/${id}:v1.14.0`,
    'ghcr.io/siderolabs/kubelet:v1.36.2',
    'ghcr.io/siderolabs/omni:v1.11.0',
  ];
  const dropped = droppedNames({ added: [], moved: [], removed }, carried);
  expect(dropped).toEqual({
    versions: [
      { product: 'Omni', version: 'v1.10.4', names: ['ghcr.io/siderolabs/omni:v1.10.4'] },
      {
        product: 'Talos',
        version: 'v1.13.9',
        names: [
          `factory.talos.dev/metal-installer/${id}:v1.13.9`,
          'factory.talos.dev/talos-catalog/extensions:v1.13.9',
          'ghcr.io/siderolabs/imager:v1.13.9',
        ],
      },
      {
        product: 'Kubernetes',
        version: 'v1.36.1',
        names: ['ghcr.io/siderolabs/kubelet:v1.36.1', 'registry.k8s.io/kube-apiserver:v1.36.1'],
      },
    ],
    // The factory still has v1.14.0 for other uses; the tag of another product's image says nothing.
    others: [`factory.talos.dev/talos-media/${id}:v1.14.0`, 'quay.io/acme/app:v1.13.9'],
  });
  expect(dropped && droppedText(dropped)).toEqual([
    'Omni v1.10.4 is no longer carried (1 name): sites on Omni v1.10.4 still need it until they are upgraded',
    'Talos v1.13.9 is no longer carried (3 names): clusters on Talos v1.13.9 still need it until they are upgraded',
    'Kubernetes v1.36.1 is no longer carried (2 names): clusters on Kubernetes v1.36.1 still need it until they are upgraded',
    `2 other names are no longer carried: factory.talos.dev/talos-media/${id}:v1.14.0, quay.io/acme/app:v1.13.9`,
  ]);
});

test('a full bundle drops nothing, and an increment that carries all names says nothing', () => {
  expect(droppedNames(undefined, [])).toBeUndefined();
  expect(droppedText({ versions: [], others: [] })).toEqual([]);
});

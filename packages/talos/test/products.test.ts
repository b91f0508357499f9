/** Versions of products, read off names. */
import { expect, test } from 'vitest';
import { versionsOf } from '../src/index.ts';

const id = '3'.repeat(64);

test('each product once, its versions in order', () => {
  const names = [
    'ghcr.io/siderolabs/omni:v1.10.4',
    'ghcr.io/siderolabs/kubelet:v1.36.1',
    'ghcr.io/siderolabs/kubelet:v1.9.0',
    `factory.talos.dev/talos-media/${id}:v1.13.9`,
    `factory.talos.dev/metal-installer-secureboot/${id}:v1.14.0-beta.1`,
    'ghcr.io/siderolabs/installer:v1.13.9',
    'ghcr.io/siderolabs/imager:v1.12.4',
    'ghcr.io/siderolabs/image-factory:v1.5.0',
  ];
  expect(versionsOf(names)).toEqual([
    { product: 'Omni', versions: ['v1.10.4'] },
    { product: 'Talos', versions: ['v1.12.4', 'v1.13.9', 'v1.14.0-beta.1'] },
    { product: 'Kubernetes', versions: ['v1.9.0', 'v1.36.1'] },
    { product: 'Image Factory', versions: ['v1.5.0'] },
  ]);
});

test('signatures, digests, other people’s images and what is no version say nothing', () => {
  const names = [
    `ghcr.io/siderolabs/omni:sha256-${id}.sig`,
    `ghcr.io/siderolabs/omni:v1.10.4@sha256:${id}`,
    'quay.io/evil/omni:v9.9.9',
    'ghcr.io/siderolabs/kubelet:v1.x',
    'ghcr.io/siderolabs/omni:latest',
  ];
  expect(versionsOf(names)).toEqual([]);
});

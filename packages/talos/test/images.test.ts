/** Image sets by version, and which versions fit. */
import { describe, expect, it } from 'vitest';
import {
  factorySources,
  imageFactoryImage,
  knownTalosVersions,
  kubernetesImages,
  omniImage,
  talosKubernetesImages,
} from '../src/images/sets.ts';
import { fitWarnings, newestOffered } from '../src/inside/fit.ts';
import { compareVersions } from '../src/version.ts';

const g = 'ghcr.io/siderolabs';
const k = 'registry.k8s.io';

describe('Kubernetes images', () => {
  it('by Kubernetes version', () => {
    expect(kubernetesImages('1.36.1')).toEqual([
      `${g}/kubelet:v1.36.1`,
      `${k}/kube-apiserver:v1.36.1`,
      `${k}/kube-controller-manager:v1.36.1`,
      `${k}/kube-scheduler:v1.36.1`,
      `${k}/kube-proxy:v1.36.1`,
    ]);
  });

  it.each([
    ['v1.9.5', 'gcr.io/etcd-development/etcd:v3.5.19', 'v1.12.0', 'v0.26.5', '3.10', undefined],
    ['v1.10.7', 'gcr.io/etcd-development/etcd:v3.5.21', 'v1.12.1', 'v0.26.7', '3.10', undefined],
    ['v1.11.6', 'gcr.io/etcd-development/etcd:v3.6.5', 'v1.12.4', 'v0.27.4', '3.10', undefined],
    ['v1.12.4', `${k}/etcd:v3.6.7`, 'v1.13.2', 'v0.27.4', '3.10', undefined],
    ['v1.13.2', `${k}/etcd:v3.6.11`, 'v1.14.2', 'v0.28.4', '3.10.1', 'v1.0.0'],
    ['1.13.9', `${k}/etcd:v3.6.12`, 'v1.14.6', '0.28.8', '3.10.1', 'v1.1.0'],
    ['v1.14.0-rc.1', `${k}/etcd:3.7.1`, 'v1.14.6', '0.28.9', '3.10.2', 'v1.1.1'],
  ])('of Talos %s', (version, etcd, coredns, flannel, pause, policies) => {
    expect(talosKubernetesImages(version)).toEqual([
      etcd,
      `${k}/coredns/coredns:${coredns}`,
      `${g}/flannel:${flannel}`,
      `${k}/pause:${pause}`,
      ...(policies === undefined ? [] : [`${k}/networking/kube-network-policies:${policies}`]),
    ]);
  });

  it('the table has every release from 1.9 to 1.13, in order, each reference well formed', () => {
    const versions = knownTalosVersions();
    expect([...versions].sort(compareVersions)).toEqual(versions);
    for (const [minor, last] of [
      [9, 6],
      [10, 9],
      [11, 6],
      [12, 11],
      [13, 9],
    ] as const) {
      for (let patch = 0; patch <= last; patch++) expect(versions).toContain(`v1.${minor}.${patch}`);
    }
    for (const version of versions) {
      for (const image of talosKubernetesImages(version)) {
        expect(image).toMatch(
          /^(?:gcr\.io|ghcr\.io|registry\.k8s\.io)\/[a-z0-9/-]+:v?[0-9]+(?:\.[0-9]+)+(?:-[a-z0-9.-]+)?$/,
        );
      }
    }
  });

  it('an unknown Talos version names the command that lists its images', () => {
    for (const [version, command] of [
      ['v1.99.0', 'k8s-bundle'],
      ['v1.12.99', 'k8s-bundle'],
      // The one that its talosctl has.
      ['v1.11.99', 'default'],
      ['v1.8.0', 'default'],
    ] as const) {
      const message = `run the talosctl of ${version}, "talosctl image ${command} > images-${version}.txt", and add the file to mirror.yaml: kubernetes: {images: {${version}: images-${version}.txt}}`;
      expect(() => talosKubernetesImages(version)).toThrow(
        expect.objectContaining({
          code: 'UNKNOWN_TALOS_VERSION',
          message: expect.stringContaining(message),
        }),
      );
    }
    expect(() => talosKubernetesImages('constructor')).toThrow(
      expect.objectContaining({ code: 'BAD_VERSION' }),
    );
  });
});

describe('Omni and Image Factory images', () => {
  it('are tagged with their version', () => {
    expect(omniImage('1.10.4')).toBe(`${g}/omni:v1.10.4`);
    expect(imageFactoryImage('v1.5.0')).toBe(`${g}/image-factory:v1.5.0`);
  });

  it.each([
    ['v1.9.6', ['imager', 'installer', 'extensions', 'overlays']],
    ['v1.10.9', ['imager', 'installer-base', 'installer', 'extensions', 'overlays']],
    ['v1.11.0-alpha.2', ['imager', 'installer-base', 'installer', 'extensions', 'overlays']],
    ['v1.11.0', ['imager', 'installer-base', 'installer', 'extensions', 'overlays', 'talosctl-all']],
    ['v1.13.9', ['imager', 'installer-base', 'installer', 'extensions', 'overlays', 'talosctl-all']],
    ['v1.14.0', ['imager', 'installer-base', 'extensions', 'overlays', 'talosctl-all']],
  ])('sources of Talos %s', (version, expected) => {
    expect(factorySources(version)).toEqual(expected.map((name) => `${g}/${name}:${version}`));
  });
});

describe('fitWarnings', () => {
  it('says nothing of versions that belong together', () => {
    expect(
      fitWarnings({
        omni: 'v1.10.4',
        talos: ['v1.13.9'],
        kubernetes: ['v1.36.1', 'v1.31.0'],
        factory: 'v1.5.0',
      }),
    ).toEqual([]);
  });

  it('names every pair that does not fit', () => {
    expect(
      fitWarnings({
        omni: 'v1.10.4',
        talos: ['v1.13.9', 'v1.14.0', 'v1.8.4'],
        kubernetes: ['v1.30.9', 'v1.37.0'],
        factory: '1.3.0',
      }),
    ).toEqual([
      'Talos v1.13.9 takes Kubernetes 1.31 to 1.36, not v1.30.9',
      'Talos v1.13.9 takes Kubernetes 1.31 to 1.36, not v1.37.0',
      'Talos v1.14.0 takes Kubernetes 1.32 to 1.37, not v1.30.9',
      'Omni v1.10.4 manages Talos 1.9 to 1.13, not v1.14.0',
      'Image Factory v1.3.0 was made for Talos up to 1.13 and may not build v1.14.0',
      'Omni v1.10.4 manages Talos 1.9 to 1.13, not v1.8.4',
    ]);
  });

  it('H10 names Talos versions that Omni does not offer', () => {
    const talos = ['v1.13.1', 'v1.13.9', 'v1.13.0-beta.1'];
    expect(fitWarnings({ omni: 'v1.10.4', talos, kubernetes: [] })).toEqual([
      'Omni v1.10.4 never offers Talos v1.13.1 (kernel modules that come as extensions do not load); carry another patch release',
      'Omni v1.10.4 offers the pre-release Talos v1.13.0-beta.1 only when started with --enable-talos-pre-release-versions',
    ]);
    expect(fitWarnings({ omni: 'v1.7.0', talos: ['v1.13.1'], kubernetes: [] })).toEqual([]);
    expect(fitWarnings({ talos, kubernetes: [] })).toEqual([]);
  });

  it('guesses nothing about versions it does not know', () => {
    expect(
      fitWarnings({
        omni: 'v1.99.0',
        talos: ['v1.99.0', 'v2.0.0'],
        kubernetes: ['v1.1.0'],
        factory: 'v2.0.0',
      }),
    ).toEqual([]);
  });
});

describe('newestOffered', () => {
  const kubernetes = ['v1.35.4', 'v1.36.1'];
  it.each([
    ['a denied release', ['v1.13.0', 'v1.13.1'], {}, 'v1.13.0', 'v1.36.1'],
    [
      'a denied release, for an Omni without that list',
      ['v1.13.0', 'v1.13.1'],
      { omni: 'v1.7.3' },
      'v1.13.1',
      'v1.36.1',
    ],
    ['a pre-release', ['v1.13.9', 'v1.14.0-rc.1'], { omni: undefined }, 'v1.13.9', 'v1.36.1'],
    [
      'a pre-release that was asked for',
      ['v1.13.9', 'v1.13.10-rc.1'],
      { preReleases: true },
      'v1.13.10-rc.1',
      'v1.36.1',
    ],
    [
      'a pre-release of the next minor that was asked for',
      ['v1.13.9', 'v1.14.0-rc.1'],
      { preReleases: true },
      'v1.14.0-rc.1',
      'v1.36.1',
    ],
    ['one of a later minor', ['v1.13.9', 'v1.15.0-alpha.0'], { preReleases: true }, 'v1.13.9', 'v1.36.1'],
    ['a minor that is too new', ['v1.13.9', 'v1.14.0'], { preReleases: true }, 'v1.13.9', 'v1.36.1'],
    ['a Talos that takes older Kubernetes alone', ['v1.12.4'], {}, 'v1.12.4', 'v1.35.4'],
    ['a Talos that takes none of these', ['v1.9.5'], {}, 'v1.9.5', undefined],
    ['two, of which one takes none', ['v1.12.4', 'v1.13.9'], { only: ['v1.30.0'] }, 'v1.12.4', 'v1.30.0'],
    ['none at all', ['v1.13.1'], {}, undefined, 'v1.36.1'],
  ])(
    '%s',
    (_, talos, {
      only,
      ...offer
    }: { omni?: string | undefined; preReleases?: boolean; only?: string[] }, expected, version) => {
      expect(newestOffered({ talos, kubernetes: only ?? kubernetes }, { omni: 'v1.10.4', ...offer })).toEqual(
        {
          talos: expected,
          kubernetes: version,
        },
      );
    },
  );
});

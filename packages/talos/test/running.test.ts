/** What runs, as kubectl, talosctl and omnictl print it; and output that must not count as a site where nothing runs. */
import { describe, expect, test } from 'vitest';
import { parseRunning } from '../src/index.ts';

const digest = `sha256:${'a'.repeat(64)}`;

/** As `kubectl get pods,nodes -A -o json` of a v1.36 cluster prints it, with members that nobody reads left out. */
const kubectl = {
  apiVersion: 'v1',
  kind: 'List',
  metadata: { resourceVersion: '' },
  items: [
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'app', namespace: 'default', constructor: 'x' },
      spec: {
        containers: [{ name: 'app', image: 'registry.site:5000/acme/app:v1' }],
        initContainers: [{ name: 'init', image: 'acme/init' }],
        ephemeralContainers: [{ name: 'debug', image: 'busybox:1.37' }],
        volumes: [{ name: 'data', image: { reference: 'quay.io/acme/data:v2' } }],
      },
      status: {
        containerStatuses: [
          { image: 'registry.site:5000/acme/app:v1', imageID: `registry.site:5000/acme/app@${digest}` },
        ],
        initContainerStatuses: [{ image: digest, imageID: `docker-pullable://acme/init@${digest}` }],
      },
    },
    {
      kind: 'Pod',
      spec: { containers: [{ image: 'registry.k8s.io/kube-apiserver:v1.35.2' }] },
      status: {},
    },
    {
      kind: 'Node',
      spec: {},
      status: {
        nodeInfo: { kubeletVersion: 'v1.36.1', kubeProxyVersion: '', osImage: 'Talos (v1.13.9)' },
        images: [{ names: ['ghcr.io/siderolabs/cached-only:v1'] }],
      },
    },
    { kind: 'Node', spec: {}, status: { nodeInfo: { kubeletVersion: 'v1.36.0', osImage: 'Ubuntu 24.04' } } },
  ],
};

test('kubectl: images of all containers and volumes, versions of nodes; not what a node has in its cache', () => {
  const running = parseRunning(JSON.stringify(kubectl, undefined, 4), 'pods.json');
  expect(running).toEqual({
    talos: ['v1.13.9'],
    kubernetes: ['v1.35.2', 'v1.36.0', 'v1.36.1'],
    images: [
      'acme/init',
      `acme/init@${digest}`,
      'busybox:1.37',
      'quay.io/acme/data:v2',
      'registry.k8s.io/kube-apiserver:v1.35.2',
      'registry.site:5000/acme/app:v1',
      `registry.site:5000/acme/app@${digest}`,
      digest,
    ],
  });
});

test('talosctl image list: of several nodes, with and without labels', () => {
  const rows = [
    ['NODE', 'IMAGE', 'DIGEST', 'SIZE', 'LABELS', 'CREATED'],
    ['10.5.0.2', 'ghcr.io/siderolabs/kubelet:v1.36.1', digest, '87 MB', '', '2026-11-01T10:00:00Z'],
    [
      '10.5.0.3',
      `factory.talos.dev/metal-installer/${'3'.repeat(64)}:v1.13.9`,
      digest,
      '0 B',
      'a=b',
      '2026-11-01T10:00:00Z',
    ],
  ];
  const table = rows
    .map((row) =>
      row
        .map((cell) => cell.padEnd(100))
        .join('   ')
        .trimEnd(),
    )
    .join('\n');
  expect(parseRunning(`${table}\n`, 'images.txt')).toEqual({
    talos: ['v1.13.9'],
    kubernetes: ['v1.36.1'],
    images: [
      `factory.talos.dev/metal-installer/${'3'.repeat(64)}:v1.13.9`,
      'ghcr.io/siderolabs/kubelet:v1.36.1',
      digest,
    ],
  });
});

describe('omnictl', () => {
  const resource = (type: string, spec: object) => ({
    metadata: {
      namespace: 'default',
      type: `${type}.omni.sidero.dev`,
      id: 'one',
      version: 3,
      phase: 'running',
    },
    spec,
  });
  const resources = [
    resource('Clusters', {
      kubernetesversion: '1.36.1',
      talosversion: '1.13.9',
      features: { diskencryption: true },
    }),
    resource('MachineStatuses', { talosversion: 'v1.12.5', initialtalosversion: '1.9.0', cluster: '' }),
    resource('TalosUpgradeStatuses', {
      lastupgradeversion: '1.13.8',
      currentupgradeversion: '',
      upgradeversions: ['1.14.0'],
    }),
    resource('KubernetesStatuses', {
      nodes: [{ nodename: 'a', kubeletversion: '1.35.0' }],
      staticpods: [{ nodename: 'a', staticpods: [{ app: 'kube-apiserver', version: '1.35.1' }] }],
    }),
  ];
  const expected = {
    talos: ['v1.12.5', 'v1.13.8', 'v1.13.9'],
    kubernetes: ['v1.35.0', 'v1.35.1', 'v1.36.1'],
    images: [],
  };

  test('-o json: one document after the other', () => {
    const text = resources.map((one) => `${JSON.stringify(one, undefined, 4)}\n`).join('');
    expect(parseRunning(text, 'clusters.json')).toEqual(expected);
  });

  test('-o yaml: documents with --- between them', () => {
    const yaml = `metadata:
    namespace: default
    type: Clusters.omni.sidero.dev
    id: talos-default
    version: 11
    owner:
    phase: running
    created: 2026-11-01T10:00:00Z
spec:
    kubernetesversion: 1.28.2
    talosversion: 1.13.9
    features:
        enableworkloadproxy: true
---
metadata:
    namespace: default
    type: ClusterMachineTalosVersions.omni.sidero.dev
    id: 4c4c
spec:
    talosversion: 1.13.8
    schematicid: ""
`;
    const found = { talos: ['v1.13.8', 'v1.13.9'], kubernetes: ['v1.28.2'], images: [] };
    expect(parseRunning(yaml, 'clusters.yaml')).toEqual(found);
    expect(parseRunning(yaml.replaceAll('\n', '\r\n'), 'clusters.yaml')).toEqual(found);
  });
});

describe('refused', () => {
  const cases: readonly (readonly [string, string, RegExp])[] = [
    ['an empty file', '', /must be the output of kubectl/],
    ['an empty list', JSON.stringify({ kind: 'List', items: [] }), /names nothing that runs/],
    ['a table without rows', 'NODE   IMAGE   DIGEST   SIZE   CREATED\n', /names nothing that runs/],
    ['output that was cut off', JSON.stringify(kubectl).slice(0, 500), /not the whole output/],
    ['pods without nodes', JSON.stringify({ ...kubectl, items: kubectl.items.slice(0, 1) }), /no nodes/],
    [
      'what Omni could install',
      JSON.stringify({ metadata: { type: 'TalosVersions.omni.sidero.dev' }, spec: { version: '1.13.9' } }),
      /TalosVersions.*does not say what runs/,
    ],
    ['an error of a tool', 'error: You must be logged in to the server (Unauthorized)', /must be the output/],
    [
      'a version that is none',
      JSON.stringify({ metadata: { type: 'Clusters.omni.sidero.dev' }, spec: { talosversion: 'new' } }),
      /"new" is not a version/,
    ],
    ['a web page', '<html><body>Log in</body></html>', /must be the output/],
  ];
  test.each(cases)('%s', (_, text, message) => {
    expect(() => parseRunning(text, 'pods.json')).toThrow(
      expect.objectContaining({ code: 'BAD_RUNNING', message: expect.stringMatching(message) }),
    );
    expect(() => parseRunning(text, 'pods.json')).toThrow(/^pods\.json/);
  });
});

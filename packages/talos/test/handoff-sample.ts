/** Sites that a hand-off is made for. */
import type { HandoffInput } from '../src/handoff/input.ts';
import { parseSite } from '../src/inside/site-file.ts';

export const ca = '-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUTEST\n-----END CERTIFICATE-----\n';
const site = parseSite(
  `omni: https://omni.site
factory: https://factory.site:8080/
login: https://login.site:5556
pxe: http://pxe.site
wireguard: 10.0.0.5:50180
caFile: ca.pem
ntp: [10.0.0.1, ntp.site]
`,
  'site.yaml',
);
/** All is known. */
export const full: HandoffInput = {
  folder: '/srv/omni/handoff',
  site,
  registry: { host: 'registry.site:5000', prefix: '', plainHttp: false, keepHost: false },
  bucket: { bucket: 'talos', endpoint: 'http://s3.site:9000', region: 'us-east-1' },
  ca,
  omniVersion: 'v1.10.4',
  factoryVersion: 'v1.5.0',
  dexVersion: 'v2.41.1',
  imageDigests: new Map([
    ['siderolabs/omni', `sha256:${'0a'.repeat(32)}`],
    ['siderolabs/image-factory', `sha256:${'1b'.repeat(32)}`],
    ['dexidp/dex', `sha256:${'2c'.repeat(32)}`],
  ]),
  talosVersions: ['v1.11.6', 'v1.13.9'],
  kubernetesVersions: ['v1.36.1'],
  imageHosts: ['ghcr.io', 'quay.io'],
  hasInstallers: true,
  carried: [
    {
      id: '376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba',
      version: 'v1.13.9',
      hasMedia: true,
      installers: ['metal-installer'],
    },
    {
      id: 'ce4c980550dd2ab1b17bbf2b08801c7eb59418eafe8f279833297925d67c7515',
      version: 'v1.11.6',
      hasMedia: true,
      installers: ['metal-installer'],
    },
  ],
  sources: ['v1.11.6', 'v1.13.9'],
  signingKey: '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n',
};
/** Nothing is, and the registry is below a prefix and keeps hosts. */
export const bare: HandoffInput = {
  folder: '/srv/omni/handoff',
  site: {},
  registry: { host: '10.0.0.9:5000', prefix: 'air/gap', plainHttp: true, keepHost: true },
  talosVersions: [],
  kubernetesVersions: [],
  imageHosts: [],
  hasInstallers: false,
};
/** As site init --pki names it, seen from the folder of the hand-off. */
export const withFiles: HandoffInput = {
  ...full,
  site: parseSite(
    `omni: https://omni.site
factory: https://factory.site:8080
login: https://login.site:5556
caFile: pki/ca.pem
certificates:
  omni: {chain: ../pki/services/omni-chain.pem, key: ../pki/services/omni-key.pem}
  factory: {chain: ../pki/services/factory-chain.pem, key: ../pki/services/factory-key.pem}
  login: {chain: ../pki/services/login-chain.pem, key: ../pki/services/login-key.pem}
secrets: ../pki/services
users: [ada@site.example, bob@site.example]
`,
    'site.yaml',
  ),
};

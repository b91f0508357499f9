/** T52: secrets in schematics are found, and never shown. */
import { zstdCompressSync } from 'node:zlib';
import { growthOf, linearGrowth } from '@omni-airgap/oci/testing';
import { describe, expect, it } from 'vitest';
import { decodeSchematic } from '../src/schematic/decode.ts';
import type { Schematic } from '../src/schematic/model.ts';
import { findSecrets, findSecretsInText } from '../src/schematic/secrets.ts';

const canary = 'CANARYcanaryCANARYcanary0123456789';
const argument = (...extraKernelArgs: string[]): Schematic => ({ customization: { extraKernelArgs } });
const embedded = (embeddedMachineConfiguration: string): Schematic => ({
  customization: { embeddedMachineConfiguration },
});
const base64 = (text: string): string => Buffer.from(text).toString('base64');
const pem = `-----BEGIN EC PRIVATE KEY-----\n${canary}\n-----END EC PRIVATE KEY-----\n`;

describe('T52 kernel arguments', () => {
  it.each([
    ['a join token', `siderolink.api=https://omni.example?jointoken=${canary}`],
    ['a join token', `siderolink.api=grpc://omni.example:8090?jointoken=v1:${canary}`],
    ['a join token', `siderolink.api=https%3A%2F%2Fomni.example%3Fjointoken%3Dv2%253A${canary}`],
    ['a join token', `x=v2%3A${canary}`],
    ['a secret given as a parameter', `talos.config=https://h.example/c?token=${canary}`],
    ['a secret given as a parameter', `some.password=${canary}`],
    ['credentials in a URL', `talos.config=https://user:${canary}@h.example/c`],
    ['credentials in a URL', `talos.config=https://${canary}@h.example/c`],
    ['a signed URL', `talos.config=https://h.example/c?X-Amz-Signature=${canary}`],
    ['a bearer token', `header=Bearer ${canary}`],
    ['a signed token (JWT)', `x=eyJhbGciOiJIUzI1NiJ9.eyJ${canary}.x`],
    ['a private key', pem],
    ['a private key', `x=${base64(pem)}`],
    ['an access key', 'x=AKIAABCDEFGHIJKLMNOP'],
    ['an access token', `x=ghp_${canary}`],
    ['a value named token', `talos.config.inline=${base64(`machine:\n  token: ${canary}\n`)}`],
    [
      'a value named token',
      `talos.config.early=${zstdCompressSync(`machine: {token: ${canary}}`).toString('base64')}`,
    ],
  ])('%s in %s', (what, text) => {
    const found = findSecrets(argument('quiet', text));
    expect(found).toContainEqual({
      where: expect.stringMatching(/^customization\.extraKernelArgs\[1\]/),
      what,
    });
    expect(JSON.stringify(found)).not.toContain('CANARY');
  });

  it.each([
    'console=ttyS0,115200n8',
    'net.ifnames=0',
    'talos.platform=metal',
    'siderolink.api=https://omni.example',
    'talos.config=https://h.example/config.yaml?h=1&m=2',
    'talos.events.sink=[fdae:41e4:649b:9303::1]:8091',
    'git=ssh://git@h.example/x',
    `talos.config.early=${zstdCompressSync('apiVersion: v1alpha1\nkind: TrustedRootsConfig\nname: ca\ncertificates: |\n  -----BEGIN CERTIFICATE-----\n').toString('base64')}`,
    'talos.config.early=KLUv/WRubm9uc2Vuc2U=',
  ])('nothing in %s', (text) => {
    expect(findSecrets(argument(text))).toEqual([]);
  });
});

describe('T52 embedded machine configuration', () => {
  const config = `
machine:
  token: ${canary}
  ca: {crt: ${base64('-----BEGIN CERTIFICATE-----')}, key: ${base64(pem)}}
  network:
    interfaces:
      - wireguard: {privateKey: ${canary}, peers: [{presharedKey: ${canary}}]}
  registries:
    config:
      r.example: {auth: {username: u, password: ${canary}, identityToken: ${canary}}}
      s.example: {auth: {auth: ${canary}}}
  systemDiskEncryption: {state: {keys: [{static: {passphrase: ${canary}}}]}}
  env: {https_proxy: "http://u:${canary}@proxy.example"}
cluster:
  secret: ${canary}
  token: ${canary}
  aescbcEncryptionSecret: ${canary}
  secretboxEncryptionSecret: ${canary}
---
apiVersion: v1alpha1
kind: RegistryAuthConfig
password: ${canary}
`;

  it('is found field by field', () => {
    const found = findSecrets(embedded(config));
    const prefix = 'customization.embeddedMachineConfiguration.';
    const fields = new Set(found.map(({ where }) => where.replace(prefix, '')));
    expect([...fields].sort()).toEqual(
      [
        'machine.token',
        'machine.ca.key',
        'machine.network.interfaces[0].wireguard.privateKey',
        'machine.network.interfaces[0].wireguard.peers[0].presharedKey',
        'machine.registries.config.*.auth.password',
        'machine.registries.config.*.auth.identityToken',
        'machine.registries.config.*.auth.auth',
        'machine.systemDiskEncryption.state.keys[0].static.passphrase',
        'machine.env.https_proxy',
        'cluster.secret',
        'cluster.token',
        'cluster.aescbcEncryptionSecret',
        'cluster.secretboxEncryptionSecret',
        'password',
      ].sort(),
    );
    expect(JSON.stringify(found)).not.toContain('CANARY');
  });

  it('is found in comments, in text that is no YAML and in names', () => {
    expect(findSecrets(embedded(`a: 1 # jointoken=${canary}`))).toHaveLength(1);
    expect(findSecrets(embedded(`a: {{ if }}\n  token: ${canary}`))).toEqual([
      { where: 'customization.embeddedMachineConfiguration', what: 'a value named like a secret' },
    ]);
    expect(JSON.stringify(findSecrets(embedded(`"jointoken=${canary}": 1`)))).toMatch(
      /^(?!.*CANARY).*a join token/,
    );
  });

  it('nothing in a configuration without secrets', () => {
    const harmless = `
apiVersion: v1alpha1
kind: RegistryMirrorConfig
name: ghcr.io
endpoints: [{url: "https://registry.example:5000/v2/x", overridePath: true}]
---
machine: {ca: {crt: ${base64('-----BEGIN CERTIFICATE-----')}, key: ""}, token: ""}
taints: [{key: dedicated, effect: NoSchedule}]
selector: {matchExpressions: [{key: a, operator: Exists}]}
`;
    expect(findSecrets(embedded(harmless))).toEqual([]);
  });
});

describe('T52 elsewhere', () => {
  it('is found in META values and overlay options', () => {
    const schematic = decodeSchematic(
      `{customization: {meta: [{key: 10, value: "links: [{wireguard: {privateKey: ${canary}}}]"}]}, ` +
        `overlay: {name: n, image: i, options: {a: [{wifiPassword: ${canary}}]}}}`,
    );
    expect(findSecrets(schematic)).toEqual([
      { where: 'overlay.options.a[0].wifiPassword', what: 'a value named wifiPassword' },
      {
        where: 'customization.meta[0].value.links[0].wireguard.privateKey',
        what: 'a value named privateKey',
      },
    ]);
  });

  it('nothing in an empty schematic', () => {
    expect(findSecrets({ customization: {} })).toEqual([]);
  });
});

describe('T52 the text of a schematic that was carried', () => {
  const inText = (text: string) => findSecretsInText(Buffer.from(text));

  it('is searched by its fields', () => {
    expect(inText(`customization:\n    extraKernelArgs:\n        - jointoken=${canary}\n`)).toEqual([
      { where: 'customization.extraKernelArgs[0]', what: 'a join token' },
    ]);
    expect(inText('customization: {}\n')).toEqual([]);
  });

  it.each([
    [
      'which the factory writes and cannot read',
      (value: string) => `- |4-\n            a\n          ${value}\n`,
    ],
    ['with a line break of Unicode', (value: string) => `- 'a\u2028          ${value}'\n`],
    ['with an anchor', (value: string) => `- &a ${value}\n`],
  ])('is searched as text where it cannot be read: %s', (_, item) => {
    const text = (value: string): string => `customization:\n    extraKernelArgs:\n        ${item(value)}`;
    expect(inText(text(`jointoken=${canary}`))).toEqual([
      { where: expect.stringMatching(/^schematic/), what: 'a join token' },
    ]);
    expect(inText(text('quiet'))).toEqual([]);
  });
});

describe('T26 hostile text', () => {
  it.each([
    ['letters', 'a', 500_000],
    ['colons and slashes', '://', 100_000],
    ['user info', '://a@', 50_000],
    ['percent', '%25', 150_000],
    ['token heads', 'eyJ', 20_000],
    ['dashes', '-----BEGIN ', 30_000],
    ['spaces', ' ', 200_000],
    ['key heads', 'LS0tLS1CRUdJTi', 20_000],
    ['separators', '_.-', 100_000],
  ])('%s take linear time', async (_, text, times) => {
    const growth = await growthOf(times, (count) => embedded(text.repeat(count)), findSecrets);
    expect(growth).toBeLessThan(linearGrowth);
  });
});

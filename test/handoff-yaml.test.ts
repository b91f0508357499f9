/** Every YAML of the hand-off in the eyes of a second parser, Debian's python3-yaml: the same values as in ours. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { type HandoffInput, handoffFiles, parseSite } from '../packages/talos/src/index.ts';
import { documents } from '../packages/talos/test/documents.ts';
import { describeWith } from './services/service-test.ts';

const parser = '/usr/lib/python3/dist-packages/yaml/__init__.py';
/** Debian's own, which has Debian's modules. */
const python = '/usr/bin/python3';
const program = 'import json, sys, yaml; json.dump(list(yaml.safe_load_all(sys.stdin)), sys.stdout)';
const ca = '-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUTEST\n-----END CERTIFICATE-----\n';

const full: HandoffInput = {
  site: parseSite(`omni: https://omni.site
machineApi: https://omni.site:8090
kubernetesProxy: https://omni.site:8100
factory: https://factory.site:8080
pxe: http://pxe.site
registry: registry.site:5000
login: https://login.site:5556
wireguard: 10.0.0.5:50180
ntp: [10.0.0.1]
`),
  registry: { host: 'registry.site:5000', prefix: '', plainHttp: false, keepHost: false },
  bucket: { bucket: 'talos', endpoint: 'http://s3.site:9000', region: 'us-east-1' },
  ca,
  omniVersion: 'v1.10.4',
  factoryVersion: 'v1.5.0',
  dexVersion: 'v2.41.1',
  talosVersions: ['v1.11.6', 'v1.13.9'],
  kubernetesVersions: ['v1.36.1'],
  imageHosts: ['ghcr.io', 'quay.io'],
  hasInstallers: true,
  signingKey: '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n',
};
const prefixed: HandoffInput = {
  ...full,
  registry: { host: '10.0.0.9:5000', prefix: 'air/gap', plainHttp: true, keepHost: true },
  omniVersion: 'v1.6.0',
  hasInstallers: false,
};
const bare: HandoffInput = {
  site: {},
  registry: { host: '10.0.0.9:5000', prefix: '', plainHttp: true, keepHost: false },
  talosVersions: [],
  kubernetesVersions: [],
  imageHosts: [],
  hasInstallers: false,
};

async function theirs(text: string): Promise<unknown> {
  const running = promisify(execFile)(python, ['-c', program]);
  running.child.stdin?.end(text);
  return JSON.parse((await running).stdout);
}

describeWith([parser], 'YAML of the hand-off, read by a second parser', () => {
  test.each([
    ['a full site', full],
    ['a prefix, hosts kept, older Omni', prefixed],
    ['nothing known', bare],
  ])('%s', async (_, input) => {
    const files = handoffFiles(input).filter(({ name }) => name.endsWith('.yaml'));
    expect(files.length).toBeGreaterThan(4);
    for (const { name, text } of files) expect(await theirs(text), name).toEqual(documents(text));
  });
});

/** Every YAML of the hand-off in the eyes of a second parser, Debian's python3-yaml: the same values as in ours. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { type HandoffInput, handoffFiles } from '../../packages/talos/src/index.ts';
import { documents } from '../../packages/talos/test/documents.ts';
import { bare, full } from '../../packages/talos/test/handoff-sample.ts';
import { describeWith } from '../services/service-test.ts';

const parser = '/usr/lib/python3/dist-packages/yaml/__init__.py';
/** Debian's own, which has Debian's modules. */
const python = '/usr/bin/python3';
const program = 'import json, sys, yaml; json.dump(list(yaml.safe_load_all(sys.stdin)), sys.stdout)';
const everyName: HandoffInput = {
  ...full,
  site: {
    ...full.site,
    machineApi: 'https://omni.site:8090',
    kubernetesProxy: 'https://omni.site:8100',
  },
};
const prefixed: HandoffInput = {
  ...full,
  registry: bare.registry,
  omniVersion: 'v1.6.0',
  hasInstallers: false,
};

async function theirs(text: string): Promise<unknown> {
  const running = promisify(execFile)(python, ['-c', program]);
  running.child.stdin?.end(text);
  return JSON.parse((await running).stdout);
}

describeWith([parser], 'YAML of the hand-off, read by a second parser', () => {
  test.each([
    ['a full site', everyName],
    ['a prefix, hosts kept, older Omni', prefixed],
    ['nothing known', bare],
  ])('%s', async (_, input) => {
    const files = handoffFiles(input).filter(({ name }) => name.endsWith('.yaml'));
    expect(files.length).toBeGreaterThan(4);
    for (const { name, text } of files) expect(await theirs(text), name).toEqual(documents(text));
  });
});

/** What users get wrong in mirror.yaml and on the command line: exit code 2, one line that says where and what instead. */
import { expect, test } from 'vitest';
import { cli, cliJson, expectFailure } from '../support/cli.ts';
import { listing, snapshot } from '../support/files.ts';
import { workspace } from '../support/workspace.ts';

const image = 'images: [ghcr.io/dexidp/dex:v2.41.1]';

test.each<[title: string, yaml: string, message: RegExp]>([
  ['an unknown key', `apiVersion: omni-airgap/v1\n${image}\nimagez: []\n`, /mirror\.yaml:3:\d+: .*imagez/],
  [
    'an unknown key inside',
    'apiVersion: omni-airgap/v1\ntalos:\n  version: v1.13.9\n',
    /mirror\.yaml:[23]:.*talos/,
  ],
  [
    'a wrong type',
    'apiVersion: omni-airgap/v1\nimages: ghcr.io/dexidp/dex:v2.41.1\n',
    /mirror\.yaml:2:.*list/,
  ],
  ['no apiVersion', `${image}\n`, /mirror\.yaml:1:.*apiVersion/],
  ['another apiVersion', `apiVersion: omni-airgap/v9\n${image}\n`, /mirror\.yaml:1:.*omni-airgap\/v1/],
  [
    'a bad version',
    'apiVersion: omni-airgap/v1\ntalos:\n  versions: ["1.13"]\n',
    /mirror\.yaml:3:.*v1\.13\.9/,
  ],
  [
    'a number for a version',
    'apiVersion: omni-airgap/v1\ntalos:\n  versions: [1.13]\n',
    /mirror\.yaml:3:.*version/,
  ],
  [
    'a bad reference',
    'apiVersion: omni-airgap/v1\nimages:\n  - ghcr.io/Dexidp/dex:v1\n',
    /mirror\.yaml:3:.*lower case/,
  ],
  [
    'a reference without a tag',
    'apiVersion: omni-airgap/v1\nimages:\n  - ghcr.io/dexidp/dex\n',
    /mirror\.yaml:3:.*no tag/,
  ],
  [
    'a bad platform',
    `apiVersion: omni-airgap/v1\n${image}\nplatforms: [amd64]\n`,
    /mirror\.yaml:3:.*linux\/amd64/,
  ],
  [
    'a bad media file name',
    'apiVersion: omni-airgap/v1\nmedia:\n  - schematic: {customization: {}}\n    versions: [v1.13.9]\n    files: [../../etc/passwd]\n',
    /mirror\.yaml:5:.*metal-amd64\.iso/,
  ],
  [
    'a bad schematic',
    'apiVersion: omni-airgap/v1\nmedia:\n  - schematic: {customisation: {}}\n    versions: [v1.13.9]\n    files: [metal-amd64.iso]\n',
    /mirror\.yaml:3:.*customisation/,
  ],
  [
    'a Talos version without a table',
    'apiVersion: omni-airgap/v1\ntalos: {versions: [v1.99.0]}\nkubernetes: {versions: [v1.36.1]}\n',
    /mirror\.yaml:2:.*talosctl image k8s-bundle > .*kubernetes: \{images: \{v1\.99\.0: images-v1\.99\.0\.txt\}\}/,
  ],
  [
    'omni without kubernetes',
    'apiVersion: omni-airgap/v1\nomni: {version: v1.10.4}\n',
    /mirror\.yaml:2:.*kubernetes/,
  ],
  ['no YAML', 'apiVersion: [\n', /mirror\.yaml:\d+:/],
  ['nothing asked for', 'apiVersion: omni-airgap/v1\n', /asks for nothing/],
  [
    'a list that is not there',
    'apiVersion: omni-airgap/v1\nimages:\n  - {file: images.txt}\n',
    /mirror\.yaml:3:.*images\.txt: no such file/,
  ],
])('%s in mirror.yaml', async (_title, yaml, message) => {
  const site = await workspace();
  site.write('mirror.yaml', yaml);
  const ended = await cli(['fetch', ...site.store]);
  expectFailure(ended, 2, message);
  expect(ended.stdout).toBe('');
  expect(listing(site.at('store'))).toEqual([]);
});

test('a bad line in a list of images is named with its file', async () => {
  const site = await workspace();
  site.write('mirror.yaml', 'apiVersion: omni-airgap/v1\nimages: [{file: lists/images.txt}]\n');
  site.write('lists/images.txt', '# ours\nghcr.io/dexidp/dex:v2.41.1\nghcr.io/a/b:c d\n');
  expectFailure(await cli(['plan', ...site.store]), 2, /lists\/images\.txt:3:\d+: /);
});

test('a list of images on standard input is read, and checked alike', async () => {
  const site = await workspace();
  site.write('mirror.yaml', 'apiVersion: omni-airgap/v1\nimages: [{file: "-"}]\n');
  expectFailure(
    await cli(['plan', ...site.store], { stdin: 'not//an image\n' }),
    2,
    /standard input:1:\d+: /,
  );
});

test('a secret in a schematic does not leave: exit code 4, the place named, the value not', async () => {
  const site = await workspace();
  site.write(
    'mirror.yaml',
    `apiVersion: omni-airgap/v1
media:
  - schematic:
      customization:
        extraKernelArgs: ["siderolink.api=https://omni.example:8090?jointoken=canary-join-token"]
    versions: [v1.13.9]
    files: [metal-amd64.iso]
`,
  );
  const ended = await cli(['fetch', ...site.store]);
  expectFailure(ended, 4, /mirror\.yaml:\d+:\d+: .*extraKernelArgs.*\[SECRET\]/);
  expect(ended.stderr).not.toContain('canary-join-token');
  expect(listing(site.at('store'))).toEqual([]);
});

test.each<[title: string, args: readonly string[], message: RegExp]>([
  ['no mirror.yaml', ['fetch'], /mirror\.yaml: not found; omni-airgap init/],
  ['no store', ['bundle', '--out', 'media', '--unsigned'], /store/],
  ['no bundle named', ['load', '--registry', 'registry.site:5000'], /--bundle DIR/],
  ['no target', ['load', '--bundle', 'media', '--allow-unsigned'], /--registry HOST, --object-store URL/],
  ['no bundle there', ['verify', '--bundle', 'media'], /media/],
  [
    'no bundle to load',
    ['load', '--bundle', 'media', '--allow-unsigned', '--registry', 'registry.site:5000'],
    /media/,
  ],
  [
    'a URL for a registry',
    ['load', '--bundle', 'media', '--allow-unsigned', '--registry', 'http://registry.site:5000'],
    /leave the scheme out/,
  ],
  [
    'no credentials for a bucket',
    ['load', '--bundle', 'media', '--allow-unsigned', '--object-store', 's3://talos'],
    /AWS_ACCESS_KEY_ID/,
  ],
  ['nowhere to listen', ['serve', '--listen', 'everywhere'], /0\.0\.0\.0:5000/],
  ['an Image Factory without a version', ['serve', '--factory-version', 'latest'], /v1\.5\.0/],
  ['a volume size that is none', ['bundle', '--out', 'media', '--unsigned', '--volume-size', 'huge'], /huge/],
])('%s: exit code 2, nothing made', async (_title, args, message) => {
  const site = await workspace();
  const ended = await cli(args, { cwd: site.root });
  expectFailure(ended, 2, message);
  const asJson = await cli([...args, '--json'], { cwd: site.root });
  expect(asJson.code).toBe(2);
  expect(JSON.parse(asJson.stdout)).toMatchObject({ error: { message: expect.stringMatching(message) } });
  expect(listing(site.root)).toEqual([]);
});

test('an unknown flag and an unknown command are usage errors', async () => {
  const ended = await cli(['fetch', '--everything', '--json']);
  expect(ended.code).toBe(2);
  expect(JSON.parse(ended.stdout)).toMatchObject({
    error: { code: 'USAGE', message: expect.stringContaining('--everything') },
  });
  expect((await cli(['teleport'])).code).toBe(2);
  expect((await cli([])).code).toBe(2);
});

test('init and keygen write once, and say what is there already', async () => {
  const site = await workspace();
  const init = ['init', '--config', site.at('mirror.yaml')];
  const keygen = ['keygen', '--out', site.at('site')];
  for (const args of [init, keygen]) {
    await cliJson(args);
    const before = snapshot(site.root);
    expectFailure(await cli(args), 4, /already exists.*\[CONFLICT\]/);
    expect(snapshot(site.root)).toEqual(before);
  }
});

test('every command explains itself with an example, and takes --json', async () => {
  const explained: string[] = [];
  const commandsOf = (help: string): readonly string[] => {
    const [list = ''] = help.split('\nCommands:\n')[1]?.split('\n\n') ?? [];
    return [...list.matchAll(/^ {2}([a-z][a-z-]*)/gm)].map((match) => match[1] ?? '');
  };
  const explain = async (path: readonly string[]): Promise<void> => {
    const { code, stdout } = await cli([...path, '--help']);
    expect(code).toBe(0);
    const inner = commandsOf(stdout);
    for (const name of inner.filter((one) => one !== 'help')) await explain([...path, name]);
    explained.push(path.join(' '));
    if (inner.length > 0) return;
    expect(stdout, path.join(' ')).toMatch(/\nExamples?:\n(?: {2}.*\n)*? {2}omni-airgap /);
    expect(stdout, path.join(' ')).toContain('--json');
  };
  await explain([]);
  expect(explained).toEqual(expect.arrayContaining(['init', 'fetch', 'bundle', 'load', 'egress rules']));
});

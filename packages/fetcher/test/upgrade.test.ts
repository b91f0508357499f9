/** plan with the names that a site has: the way to what is carried, and the versions for it written into mirror.yaml. */
import { chmod, readFile, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { knownTalosVersions } from '@omni-airgap/talos';
import { expect, test } from 'vitest';
import { plan } from '../src/plan.ts';
import { publishImage, type Site, startSite } from './site.ts';

/** Of each minor release the newest with known images of Kubernetes. */
const talos = ['v1.11.', 'v1.12.', 'v1.13.'].map(
  (minor) => knownTalosVersions().findLast((one) => one.startsWith(minor) && !one.includes('-')) ?? '',
);
const [t11 = '', t12 = '', t13 = ''] = talos;
const siteNames = [
  'ghcr.io/siderolabs/omni:v1.8.0',
  'ghcr.io/siderolabs/imager:v1.11.0',
  'ghcr.io/siderolabs/kubelet:v1.34.1',
];
const tags: Readonly<Record<string, readonly string[]>> = {
  'siderolabs/omni': ['v1.8.0', 'v1.9.7', 'v1.10.4'],
  'siderolabs/kubelet': ['v1.34.1', 'v1.35.2', 'v1.36.1', 'v1.36.2-rc.0'],
};

async function upgradeSite(text: string): Promise<Site> {
  const site = await startSite({ 'ghcr.io': {}, 'registry.k8s.io': {}, 'gcr.io': {} });
  for (const [path, list] of Object.entries(tags))
    for (const tag of list) await publishImage(site.registry('ghcr.io'), path, tag);
  const offered = ['v1.11.0', ...talos, t13.replace(/[0-9]+$/, '99'), 'v1.14.0-rc.1'];
  site.factory.files.set('versions', Buffer.from(JSON.stringify(offered)));
  await site.mirror(text);
  return site;
}

const written = (omni: string, talosVersions: string, kubernetes: string): string => `# What we carry.
omni: {${omni}}   # the newest
talos:
  versions: [${talosVersions}] # machines
  imageFactory: {version: v1.5.0}
kubernetes:
  versions:
    # clusters
    - ${kubernetes}
`;
const mirror = written('version: v1.10.4', t13, 'v1.36.1');

test('names what is skipped, what to add and what is carried no more; changes nothing', async () => {
  const site = await upgradeSite(mirror);
  const before = await readFile(site.config);
  const { upgrade, items } = await plan({ ...site, siteNames });
  expect(upgrade).toMatchObject({
    paths: [
      { product: 'Omni', steps: ['v1.8.0', 'v1.9.7', 'v1.10.4'], skipped: ['v1.9'], add: ['v1.9.7'] },
      // A version whose images are not known cannot be proposed.
      { product: 'Talos', steps: ['v1.11.0', t11, t12, t13], skipped: ['v1.12'], add: [t11, t12] },
      { product: 'Kubernetes', skipped: ['v1.35'], add: ['v1.35.2'] },
    ],
    leaving: [
      { product: 'Omni', versions: ['v1.8.0'] },
      { product: 'Talos', versions: ['v1.11.0'] },
      { product: 'Kubernetes', versions: ['v1.34.1'] },
    ],
    written: false,
  });
  expect(items.map(({ name }) => name)).not.toContain('ghcr.io/siderolabs/omni:v1.9.7');
  expect(await readFile(site.config)).toEqual(before);
  expect((await plan({ ...site })).upgrade).toBeUndefined();
});

test('writes them into mirror.yaml, which is otherwise the same, and plans with them; once more there is nothing to add', async () => {
  const site = await upgradeSite(mirror);
  await chmod(site.config, 0o640);
  const { upgrade, items } = await plan({ ...site, siteNames, write: true });
  expect(upgrade?.written).toBe(true);
  expect(await readFile(site.config, 'utf8')).toBe(
    `apiVersion: omni-airgap/v1\n${written('versions: [v1.9.7, v1.10.4]', `${t11}, ${t12}, ${t13}`, 'v1.36.1\n    - v1.35.2')}`,
  );
  expect((await stat(site.config)).mode & 0o777).toBe(0o640);
  const names = items.map(({ name }) => name);
  for (const name of ['omni:v1.9.7', `imager:${t12}`, 'kubelet:v1.35.2'])
    expect(names).toContain(`ghcr.io/siderolabs/${name}`);
  const again = await plan({ ...site, siteNames, write: true });
  expect(again.upgrade).toMatchObject({ written: false, paths: [{ add: [] }, { add: [] }, { add: [] }] });
  expect(again.items.map(({ name }) => name).sort()).toEqual(names.sort());
});

test('media with installers get the versions of Talos too; ranges, links and standard input stay', async () => {
  const site = await upgradeSite(`talos: {versions: [v1.13.x], talosctl: []}
media:
  - {schematic: {customization: {}}, versions: ["~1.13"], installers: [metal]}
  - {schematic: {customization: {}}, versions: [${t13}], files: [metal-amd64.iso]}
kubernetes: {versions: [~1.36]}
images: {file: -}
`);
  const link = join(site.folder, 'link.yaml');
  await symlink(site.config, link);
  const stdin = process.stdin;
  Object.defineProperty(process, 'stdin', { value: (async function* () {})(), configurable: true });
  try {
    const { items } = await plan({ ...site, config: link, siteNames, write: true });
    expect(items.map(({ name }) => name)).toContainEqual(
      expect.stringMatching(new RegExp(`metal-installer/.*:${t12.replaceAll('.', '\\.')}$`)),
    );
  } finally {
    Object.defineProperty(process, 'stdin', { value: stdin, configurable: true });
  }
  expect(await readFile(site.config, 'utf8')).toBe(`apiVersion: omni-airgap/v1
talos: {versions: [v1.13.x, ${t11}, ${t12}], talosctl: []}
media:
  - {schematic: {customization: {}}, versions: ["~1.13", ${t11}, ${t12}], installers: [metal]}
  - {schematic: {customization: {}}, versions: [${t13}], files: [metal-amd64.iso]}
kubernetes: {versions: [~1.36, v1.35.2]}
images: {file: -}
`);
  expect((await stat(link)).isFile()).toBe(true);
});

test('versions that mirror.yaml has no section for are named, and nothing is written', async () => {
  const site = await upgradeSite(
    'images: [ghcr.io/siderolabs/omni:v1.10.4, ghcr.io/siderolabs/kubelet:v1.36.1]',
  );
  const before = await readFile(site.config);
  await expect(plan({ ...site, siteNames, write: true })).rejects.toMatchObject({
    code: 'CONFIG',
    message: expect.stringMatching(
      /has no section for omni \(v1\.9\.7\) and kubernetes\.versions \(v1\.35\.2\)/,
    ),
  });
  expect(await readFile(site.config)).toEqual(before);
});

test('a list that cannot be read ends the plan: a path is not guessed', async () => {
  const site = await upgradeSite(mirror);
  site.registry('ghcr.io').fault({ match: { path: /kubelet\/tags\/list/ }, do: { status: 403 } });
  await expect(plan({ ...site, siteNames })).rejects.toMatchObject({ code: 'DENIED' });
});

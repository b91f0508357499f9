/** A site whose URLs do not do for Omni and machines: stopped before anything moves, or said; and a registry with log-in. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseSite } from '@omni-airgap/talos';
import { expect, test } from 'vitest';
import { checkInside } from '../src/inside-check/check-inside.ts';
import { dryRun } from '../src/load.ts';
import { addImage, bytesFor, loadInto, makeBundle, settings, startDouble, temporary } from './support.ts';

const makeOmni = async (): Promise<string> => {
  const { folder } = await makeBundle(async (layout) => {
    await addImage(layout, 'ghcr.io/siderolabs/omni:v1.10.4', bytesFor('omni', 10));
    await addImage(layout, 'ghcr.io/siderolabs/imager:v1.11.6', bytesFor('imager', 10));
    await addImage(layout, 'ghcr.io/siderolabs/imager:v1.13.9', bytesFor('imager', 10));
  });
  return folder;
};

test('H1 a site file that gives Omni a plain-HTTP registry by name stops the load before anything is moved', async () => {
  const double = await startDouble();
  const site = parseSite('omni: https://omni.site\nregistry: http://registry.site:5000\n', 'site.yaml');
  const bundle = await makeOmni();
  const expected = {
    code: 'CONFIG',
    message: expect.stringMatching(
      /^site\.yaml:2:11: registry http:\/\/registry\.site:5000: Omni speaks plain HTTP to private IPv4 addresses/,
    ),
  };
  await expect(loadInto(double, [bundle], { site })).rejects.toMatchObject(expected);
  await expect(dryRun({ ...(await settings(double, [bundle])), site })).rejects.toMatchObject(expected);
  expect(double.requests.filter(({ method }) => method !== 'GET' && method !== 'HEAD')).toEqual([]);
});

test('H1 H3 other demands that are not met are warnings of load, lines of its README, and findings of the check', async () => {
  const double = await startDouble();
  double.repository('siderolabs/kubelet').tags.set('v1.36.1', `sha256:${'0'.repeat(64)}`);
  const site = parseSite('factory: http://127.0.0.1:1\nmachineApi: http://127.0.0.1:1\n', 'site.yaml');
  const handoff = join(await temporary(), 'handoff');
  const { warnings } = await loadInto(double, [await makeOmni()], { site, handoff });
  const lines = [
    /^machineApi http:.*could not join/,
    /^factory http:.*omnictl download/,
    /^factory http:.*installers by HTTPS/,
  ];
  expect(warnings).toEqual(lines.map((line) => expect.stringMatching(line)));
  const readme = await readFile(join(handoff, 'README.txt'), 'utf8');
  expect(readme).toMatch(/^Before anything else: what would not work\n-+\n- machineApi http/);
  const network = { upstreams: [], allowHosts: [], plainHttp: [double.host, '127.0.0.1:1'], env: {} };
  const { ok, findings } = await checkInside({ registry: { host: double.host, prefix: '' }, site, network });
  expect(ok).toBe(false);
  expect(
    findings.filter(({ subject }) => subject === 'site file').map(({ what, state }) => `${what}: ${state}`),
  ).toEqual(['machineApi for Talos: failed', 'factory for omnictl: note', 'factory for Talos: note']);
});

test('H1 the check fails for a registry that Omni cannot use, although this client can', async () => {
  const double = await startDouble();
  const site = parseSite('registry: http://registry.site:5000\n', 'site.yaml');
  const network = { upstreams: [], allowHosts: [], plainHttp: [double.host], env: {} };
  const { ok, findings } = await checkInside({ registry: { host: double.host, prefix: '' }, site, network });
  expect(ok).toBe(false);
  expect(findings).toContainEqual(
    expect.objectContaining({ subject: 'site file', what: 'registry for Omni', state: 'failed' }),
  );
});

test('H2 a registry that asks for a log-in to pull: machines get a place for one, README says what the factory needs', async () => {
  const folder = await temporary();
  const double = await startDouble({ auth: { kind: 'basic', username: 'loader', password: 'hunter2' } });
  await writeFile(
    join(folder, 'auth.json'),
    JSON.stringify({ auths: { [double.host]: { auth: Buffer.from('loader:hunter2').toString('base64') } } }),
  );
  const network = {
    upstreams: [],
    allowHosts: [],
    plainHttp: [double.host],
    env: {},
    registryConfig: join(folder, 'auth.json'),
  };
  const handoff = join(folder, 'handoff');
  await loadInto(double, [await makeOmni()], { handoff, network });
  const read = (name: string): Promise<string> => readFile(join(handoff, name), 'utf8');
  expect(await read('air-gap-patch.yaml')).toMatch(
    new RegExp(`kind: RegistryAuthConfig\nname: ${double.host}\nusername: FILL-IN\npassword: FILL-IN`),
  );
  expect(await read('air-gap-patch-1.11.yaml')).toMatch(/auth:\n +username: FILL-IN\n +password: FILL-IN/);
  expect(await read('README.txt')).toMatch(/let siderolabs\/\*-installer be pulled without a log-in/);
  expect(await read('README.txt')).not.toContain('hunter2');
  const open = await startDouble();
  await loadInto(open, [await makeOmni()], { handoff: join(folder, 'open') });
  expect(await readFile(join(folder, 'open', 'air-gap-patch.yaml'), 'utf8')).not.toContain(
    'RegistryAuthConfig',
  );
});

test('H2 installers that an Image Factory could not hand on are a warning of load and a line of its README', async () => {
  const { folder: bundle } = await makeBundle(async (layout) => {
    await addImage(layout, 'ghcr.io/siderolabs/image-factory:v1.5.0', bytesFor('factory', 10));
    await addImage(layout, 'ghcr.io/siderolabs/imager:v1.13.9', bytesFor('imager', 10));
    await addImage(layout, `factory.talos.dev/metal-installer/${'a'.repeat(64)}:v1.13.9`, bytesFor('i', 10));
  });
  const readme = async (handoff: string): Promise<string> =>
    (await readFile(join(handoff, 'README.txt'), 'utf8')).replaceAll(/\s+/g, ' ');
  const folder = await temporary();
  const built = /siderolabs\/metal-installer/;
  const closed = await startDouble({ script: [{ match: { path: built }, do: { status: 401 } }] });
  const registry = { host: closed.host, prefix: 'air' };
  const { warnings } = await loadInto(closed, [bundle], { registry, handoff: join(folder, 'closed') });
  expect(warnings).toEqual([
    expect.stringMatching(
      /does not let air\/siderolabs\/metal-installer\/[0-9a-f]{64} be read without a log-in.*allow anonymous pulls of air\/siderolabs\/\*-installer$/,
    ),
  ]);
  expect(await readme(join(folder, 'closed'))).toContain('TRIED: THEY CANNOT');
  // The last read is that of a carried installer, as a machine makes it.
  const carried = closed.requests.filter(({ path }) =>
    path.includes(`/air/metal-installer/${'a'.repeat(64)}/`),
  );
  expect(carried.at(-1)?.method).toMatch(/HEAD|GET/);
  const login = { kind: 'basic', username: 'loader', password: 'hunter2' } as const;
  const open = await startDouble({ auth: login, script: [{ match: { path: built }, do: { status: 404 } }] });
  await writeFile(
    join(folder, 'auth.json'),
    JSON.stringify({ auths: { [open.host]: { auth: Buffer.from('loader:hunter2').toString('base64') } } }),
  );
  const network = {
    upstreams: [],
    allowHosts: [],
    plainHttp: [open.host],
    env: {},
    registryConfig: join(folder, 'auth.json'),
  };
  const second = await loadInto(open, [bundle], { network, handoff: join(folder, 'open') });
  expect(second.warnings).toEqual([
    expect.stringMatching(
      /does not let metal-installer\/a{64} be read.*machines need the log-in in the patch of the hand-off/,
    ),
  ]);
  expect(await readme(join(folder, 'open'))).toContain('Tried: they can.');
});

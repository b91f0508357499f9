/**
 * A real Image Factory over what `load` put into a registry, with the hand-off's image-factory.yaml: it finds versions,
 * schematics and catalogs, takes our signatures, and builds boot assets of the carried sources.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { schematicFrom } from '../../packages/talos/src/index.ts';
import { command } from '../services/command.ts';
import { type Registry, startRegistry } from '../services/docker-registry.ts';
import type { ServerProcess } from '../services/server-process.ts';
import { describeAsRoot } from '../services/service-test.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { cli } from '../support/cli.ts';
import { type Carried, carried, load, talosVersion, vanilla, withGuestAgent } from './carried.ts';
import { composeService } from './compose-service.ts';
import { type Answer, type Inside, insideCommands, openInside } from './inside.ts';
import { describeSidero } from './programs.ts';

const factoryUrl = 'http://factory.site:8080';

const commands = [...insideCommands, 'docker-registry', 'openssl', 'skopeo', 'tar'];

describeSidero(['image-factory'], describeAsRoot, commands, (programs) => {
  let outside: Carried;
  let inside: Inside;
  let running: ServerProcess | undefined;

  beforeAll(async () => {
    outside = await carried();
    inside = await openInside();
    await command('openssl', [
      ...['ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', outside.site.at('signing-key.key')],
    ]);
  });
  afterAll(async () => {
    await running?.stop();
    await inside?.close();
  });

  const get = (path: string): Promise<Answer> => inside.ask(`${factoryUrl}${path}`);
  const json = async <T>(path: string): Promise<T> => {
    const { status, body } = await get(path);
    expect(status, body.toString()).toBe(200);
    return JSON.parse(body.toString()) as T;
  };

  /** Starts it as compose.yaml says, over what a load brought. */
  async function start(
    prefix: string,
    flags: readonly string[],
    options: {
      readonly into?: Registry;
      readonly env?: Readonly<Record<string, string>>;
      /** A line of the site file about the registry. */
      readonly line?: (host: string) => string;
    } = {},
  ): Promise<{ readonly handoff: string; readonly target: string; output(): string }> {
    await running?.stop();
    // A new one each time: what a factory builds stays in its registry.
    const into = options.into ?? (await startRegistry({ within: inside.enter }));
    onTestFinished(() => into.stop());
    const target = `${into.host}${prefix}`;
    const line = options.line?.(into.host) ?? '';
    outside.site.write('site.yaml', `factory: ${factoryUrl}\npxe: ${factoryUrl}\n${line}`);
    const more = ['--plain-http', into.host, '--site', outside.site.at('site.yaml'), ...flags];
    const handoff = await load(outside, target, more, inside.enter);
    writeFileSync(join(handoff, 'signing-key.key'), readFileSync(outside.site.at('signing-key.key')));
    const folder = temporaryFolder('factory');
    const service = composeService(handoff, 'image-factory', folder);
    const file = join(folder, 'image-factory.yaml');
    writeFileSync(file, service.placed(readFileSync(service.placeOf('/image-factory.yaml'), 'utf8')));
    const started = inside.start('image-factory', [programs['image-factory'], '--config', file], {
      folder,
      env: { TMPDIR: folder, ...options.env },
    });
    running = started;
    await started.until(async () => {
      const answer = await get('/healthz').catch(() => undefined);
      return answer?.status === 200 ? true : undefined;
    }, 60_000);
    return { handoff, target, output: started.output };
  }

  /** What egress check --inside finds about installers while the factory runs. */
  async function foundOfInstallers(target: string, flags: readonly string[]): Promise<readonly string[]> {
    const site = ['--site', outside.site.at('site.yaml'), '--registry', target];
    const plain = ['--plain-http', target.split('/')[0] ?? ''];
    const { stdout } = await cli(['egress', 'check', '--inside', ...site, ...plain, ...flags, '--json'], {
      within: inside.enter,
    });
    const { findings } = JSON.parse(stdout) as {
      readonly findings: readonly Readonly<Record<'what' | 'state' | 'detail', string>>[];
    };
    return findings
      .filter(({ what }) => /installers|sources of/.test(what))
      .map(({ what, state }) => `${what}: ${state}`);
  }

  const silent = (): string => '';
  /** H4: it leaves the prefix to load. */
  const hostAlone = (host: string): string => `registry: ${host}\n`;
  const layouts: readonly (readonly [string, string, readonly string[], (host: string) => string])[] = [
    ['a registry of its own', '', [], silent],
    ['a prefix', '/proj/x', [], silent],
    ['hosts kept', '', ['--keep-host'], silent],
    ['hosts kept, and a prefix that the site file leaves out', '/kept/x', ['--keep-host'], hostAlone],
  ];
  test.each(layouts)('%s: serves what was carried and builds from it', async (_, prefix, flags, line) => {
    const { output, target } = await start(prefix, flags, { line });
    expect(await foundOfInstallers(target, flags)).toEqual([
      'installers without a log-in: ok',
      'installers of the factory without a log-in: ok',
      `sources of ${talosVersion}: ok`,
    ]);
    expect((await get('/readyz')).status).toBe(200);
    expect(await json('/versions')).toEqual([talosVersion]);
    for (const [id, text] of [
      [vanilla, 'customization: {}\n'],
      [withGuestAgent, expect.stringContaining('        - siderolabs/qemu-guest-agent\n')],
    ] as const) {
      const { status, body } = await get(`/schematics/${id}`);
      expect([status, body.toString()]).toEqual([200, text]);
    }
    const extensions = await json<readonly { readonly name: string; readonly digest: string }[]>(
      `/version/${talosVersion}/extensions/official`,
    );
    expect(extensions.map(({ name, digest }) => [name, digest])).toContainEqual([
      'siderolabs/qemu-guest-agent',
      outside.digestOf('ghcr.io/siderolabs/qemu-guest-agent:10.1.3'),
    ]);
    const overlays = await json<readonly { readonly name: string }[]>(
      `/version/${talosVersion}/overlays/official`,
    );
    expect(overlays.map(({ name }) => name)).toEqual(['rpi_generic']);
    for (const architecture of ['amd64', 'arm64']) {
      const kernel = await get(`/image/${withGuestAgent}/${talosVersion}/kernel-${architecture}`);
      expect(kernel.status, output()).toBe(200);
      expect(kernel.body).toEqual(
        outside.fileOf(`ghcr.io/siderolabs/imager:${talosVersion}`, `usr/install/${architecture}/vmlinuz`),
      );
    }
    const cmdline = await get(`/image/${vanilla}/${talosVersion}/cmdline-metal-amd64`);
    expect([cmdline.status, cmdline.body.toString()]).toEqual([
      200,
      expect.stringContaining('talos.platform=metal'),
    ]);
    const talosctl = await get(`/talosctl/${talosVersion}`);
    expect(talosctl.status, talosctl.body.toString()).toBe(200);
    expect(talosctl.body.toString()).toContain('talosctl-linux-amd64');
    const verified = output()
      .split('\n')
      .filter((one) => one.includes('image signature verified'));
    for (const name of ['imager', 'extensions', 'overlays', 'talosctl-all']) {
      expect(
        verified.filter((one) => one.includes(`siderolabs/${name}`)),
        name,
      ).toEqual([expect.stringContaining('legacy: public key')]);
    }
    expect(await inside.strangers()).toEqual([]);
  });

  test('a schematic that people make there has the ID that serve would give it', async () => {
    await start('', []);
    for (const text of [
      'customization: {extraKernelArgs: [noapic, nolapic]}',
      'customization: {secureboot: {enrollKeys: "off"}}',
      'customization: {embeddedMachineConfiguration: "machine:\\n  type: worker \\n"}',
      'overlay: {name: rpi_generic, image: siderolabs/sbc-raspberrypi, options: {configTxt: "a\\n b", n: [1, 1e3]}}',
    ]) {
      const made = await inside.ask(`${factoryUrl}/schematics`, { method: 'POST', body: text });
      expect(made.status, made.body.toString()).toBe(201);
      const { id, canonical } = schematicFrom(text);
      expect(JSON.parse(made.body.toString())).toEqual({ id, schematic: canonical });
    }
  });

  test('H2 a registry that asks for a log-in: the factory hands on no credentials, and the hand-off says so', async () => {
    const secured = await startRegistry({ within: inside.enter, auth: 'htpasswd' });
    const { user, password } = secured.login ?? expect.fail('no log-in');
    const auth = Buffer.from(`${user}:${password}`).toString('base64');
    const docker = JSON.stringify({ auths: { [secured.host]: { auth } } });
    outside.site.write('docker/config.json', docker);
    const logIn = ['--registry-config', outside.site.at('docker/config.json')];
    const { handoff, target } = await start('', logIn, {
      into: secured,
      env: { DOCKER_CONFIG: outside.site.at('docker') },
    });
    expect(await json('/versions')).toEqual([talosVersion]);
    expect((await get(`/schematics/${vanilla}`)).status).toBe(200);
    // Where the factory puts the installers that it builds.
    const [from, to] = [`metal-installer/${vanilla}`, `siderolabs/metal-installer/${vanilla}`].map(
      (repository) => `docker://${secured.host}/${repository}:${talosVersion}`,
    );
    const [first = '', ...rest] = [
      ...[...inside.enter, 'skopeo', 'copy', '--all', '--src-tls-verify=false', '--dest-tls-verify=false'],
      ...['--authfile', outside.site.at('docker/config.json'), from ?? '', to ?? ''],
    ];
    await command(first, rest);
    const digest = outside.digestOf(`factory.talos.dev/metal-installer/${vanilla}`);
    const refused = await get(`/v2/metal-installer/${vanilla}/manifests/${digest}`);
    expect([refused.status, refused.headers['www-authenticate']]).toEqual([
      401,
      expect.stringContaining('Basic'),
    ]);
    expect(await foundOfInstallers(target, logIn)).toEqual([
      'installers without a log-in: note',
      'installers of the factory without a log-in: failed',
      `sources of ${talosVersion}: ok`,
    ]);
    const read = (name: string): string => readFileSync(join(handoff, name), 'utf8');
    expect(read('README.txt')).toContain('TRIED: THEY CANNOT');
    expect(read('README.txt')).toMatch(/let siderolabs\/\*-installer be pulled without a log-in/);
    expect(read('air-gap-patch.yaml')).toContain('kind: RegistryAuthConfig');
  });
});

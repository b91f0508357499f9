/**
 * A real Omni with the flags of the hand-off, over the registry that `load` filled, with serve and with a real Image
 * Factory as its factory; omnictl asks it as an administrator would. Names and certificates are those of
 * `site init --pki`.
 */
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { documents } from '../../packages/talos/test/documents.ts';
import { nodeFlags } from '../../scripts/lib/node-flags.ts';
import { command } from '../services/command.ts';
import { type Registry, startRegistry } from '../services/docker-registry.ts';
import type { ServerProcess } from '../services/server-process.ts';
import { describeAsRoot } from '../services/service-test.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { cli, cliJson, type RunningCli, startCli } from '../support/cli.ts';
import {
  type Carried,
  carried,
  carriedVersions,
  deniedTalos,
  kubernetesVersion,
  load,
  nextTalos,
  talosVersion,
} from './carried.ts';
import { composeService } from './compose-service.ts';
import { type Answer, type Inside, insideCommands, openInside, type Question } from './inside.ts';
import { describeSidero } from './programs.ts';

const commands = [...insideCommands, 'docker-registry', 'openssl', 'tar'];
const factoryUrl = 'https://factory.site:8080';
const issuer = 'https://login.site:5556';
const registryHost = 'registry.site:5000';
const discoveryFile = fileURLToPath(new URL('./oidc-discovery.ts', import.meta.url));
const machineIds = ['11111111-1111-4111-8111-111111111111', '22222222-2222-4222-8222-222222222222'];

describeSidero(['omni', 'omnictl', 'image-factory', 'talosctl'], describeAsRoot, commands, (programs) => {
  let outside: Carried;
  let inside: Inside;
  let registry: Registry;
  let login: ServerProcess;
  let handoff: string;
  const at = (...names: string[]): string => outside.site.at('inside', ...names);
  const service = (name: string): string => at('pki', 'services', name);

  const ask = (url: string, question: Question = {}): Promise<Answer> =>
    inside.ask(url, { ca: at('pki/ca.pem'), ...question });
  const trust = (): Readonly<Record<string, string>> => ({ SSL_CERT_FILE: at('pki/ca.pem') });

  beforeAll(async () => {
    outside = await carried();
    inside = await openInside();
    mkdirSync(at());
    await cliJson([
      ...['site', 'init', '--site', at('site.yaml'), '--omni', 'omni.site', '--wireguard', '127.0.0.1'],
      ...['--pki', '--eula-name', 'Ada Lovelace', '--eula-email', 'ada@site.example'],
    ]);
    registry = await startRegistry({
      within: inside.enter,
      port: 5000,
      tls: { certificate: service('registry-chain.pem'), key: service('registry-key.pem') },
    });
    const files = [service('login-chain.pem'), service('login-key.pem')];
    login = inside.start('login', [process.execPath, ...nodeFlags, discoveryFile, issuer, ...files], {
      folder: temporaryFolder('login'),
    });
    const trusting = ['--ca-cert', at('pki/ca.pem'), '--site', at('site.yaml')];
    handoff = await load(outside, registryHost, trusting, inside.enter);
  });
  afterAll(async () => {
    await login?.stop();
    await registry?.stop();
    await inside?.close();
  });

  interface Omni {
    readonly process: ServerProcess;
    omnictl(...args: string[]): Promise<string>;
    /** A script for sh, with omnictl on PATH. @returns its standard output */
    shell(script: string, cwd: string): Promise<string>;
    /** IDs of the resources of a kind. */
    idsOf(kind: string): Promise<readonly string[]>;
  }

  /** Omni as compose.yaml says, with a service account for omnictl. @param changed flags in place of its own */
  function startOmni(changed: Readonly<Record<string, string>> = {}, from = handoff): Omni {
    const folder = temporaryFolder('omni');
    // The container has executables of omnictl there, for people to download.
    mkdirSync(join(folder, 'omnictl'));
    const keyFile = join(folder, 'service-account');
    const compose = composeService(from, 'omni', folder, service('omni.env'));
    const flags = compose.command.map((flag) => {
      const [name = ''] = flag.split('=', 1);
      return changed[name] === undefined ? flag : `${name}=${changed[name]}`;
    });
    const account = ['--create-initial-service-account', `--initial-service-account-key-path=${keyFile}`];
    const server = inside.start('omni', [programs.omni, ...flags, ...account], {
      folder,
      env: { SSL_CERT_FILE: compose.placeOf('/etc/ssl/certs/site-ca.pem'), HOME: folder },
    });
    onTestFinished(() => server.stop());
    const within = async (cwd: string, ...run: string[]): Promise<string> => {
      const variables = {
        PATH: `${dirname(programs.omnictl)}:${process.env['PATH']}`,
        ...trust(),
        HOME: folder,
        OMNI_ENDPOINT: 'https://omni.site',
        OMNI_SERVICE_ACCOUNT_KEY: readFileSync(keyFile, 'utf8').trim(),
      };
      const [first = '', ...rest] = [
        ...[...inside.enter, 'env', '--chdir', cwd],
        ...Object.entries(variables).map(([name, value]) => `${name}=${value}`),
        ...run,
      ];
      return command(first, rest);
    };
    const omnictl = (...args: string[]): Promise<string> => within(folder, programs.omnictl, ...args);
    return {
      process: server,
      omnictl,
      shell: (script, cwd) => within(cwd, 'sh', '-ec', script),
      async idsOf(kind) {
        if (!existsSync(keyFile)) return [];
        const text = await omnictl('get', kind, '--output', 'json').catch(() => '');
        return [...text.matchAll(/"id": "([^"]+)"/g)].map(([, id = '']) => id);
      },
    };
  }

  /** Omni asks the registry and the factory when it starts, and again after some time. */
  async function expectVersions({ process: server, idsOf }: Omni, talos = [talosVersion]): Promise<void> {
    const seen = await server.until(async () => {
      // It writes them one by one.
      if (!server.output().includes('reconciled Talos versions')) return undefined;
      const ids = [await idsOf('kubernetesversions'), await idsOf('talosversions')] as const;
      return ids.every((list) => list.length > 0) ? ids : undefined;
    }, 120_000);
    expect(seen).toEqual([[kubernetesVersion.slice(1)], talos.map((version) => version.slice(1))]);
  }

  async function startServe(
    { site } = outside,
    flags: readonly string[] = [
      ...['--external-url', factoryUrl],
      ...['--cert', service('factory-chain.pem'), '--key', service('factory-key.pem')],
    ],
  ): Promise<RunningCli> {
    const running = startCli(
      [
        ...['serve', ...site.media, '--listen', '127.0.0.1:8080', '--json', '--writable'],
        ...[temporaryFolder('writable'), ...flags],
      ],
      { within: inside.enter, timeoutMs: 600_000 },
    );
    onTestFinished(async () => {
      running.kill('SIGINT');
      await running.ended;
    });
    await running.until(() => running.stdout().includes('\n'));
    return running;
  }

  async function startFactory(): Promise<ServerProcess> {
    const folder = temporaryFolder('factory');
    const compose = composeService(handoff, 'image-factory', folder);
    const file = join(folder, 'image-factory.yaml');
    writeFileSync(file, compose.placed(readFileSync(compose.placeOf('/image-factory.yaml'), 'utf8')));
    const server = inside.start('image-factory', [programs['image-factory'], '--config', file], {
      folder,
      env: { TMPDIR: folder, SSL_CERT_FILE: compose.placeOf('/etc/ssl/certs/site-ca.pem') },
    });
    onTestFinished(() => server.stop());
    await server.until(async () => {
      const answer = await ask(`${factoryUrl}/readyz`).catch(() => undefined);
      return answer?.status === 200 ? true : undefined;
    }, 60_000);
    return server;
  }

  test('serve as its factory: versions, a cluster, and a schematic that becomes a wish without its secret', async () => {
    await startServe();
    const omni = startOmni();
    await expectVersions(omni);
    // The template as it is written, with machines filled in.
    const template = join(handoff, 'cluster-template.yaml');
    let next = 0;
    const filled = readFileSync(template, 'utf8').replaceAll(
      /^( *- )[0-9a-f]{8}-[0-9a-f-]{27}$/gm,
      (_, dash: string) => `${dash}${machineIds[next++]}`,
    );
    writeFileSync(template, filled);
    await omni.omnictl('cluster', 'template', 'validate', '--file', template);
    const synced = await omni.omnictl('cluster', 'template', 'sync', '--file', template);
    expect(synced).toContain('Clusters.omni.sidero.dev(air-gap-cluster)');
    expect(await omni.idsOf('clusters')).toEqual(['air-gap-cluster']);
    // H3: omnictl speaks HTTPS, and gets our own answer.
    const download = ['download', 'iso', '--arch', 'amd64', '--talos-version', talosVersion.slice(1)];
    await expect(omni.omnictl(...download)).rejects.toThrow(/the wish was recorded/);
    const wants = ['wants', '--from', factoryUrl, '--ca-cert', at('pki/ca.pem')];
    const { stdout } = await cli(wants, { within: inside.enter });
    expect(stdout).toContain('a join token');
    expect(stdout).not.toMatch(/jointoken=/);
    // H9: serve has its text until it is restarted.
    const url = /its text is at (https:\S+);/.exec(stdout)?.[1] ?? expect.fail(stdout);
    expect((await ask(url)).body.toString()).toMatch(/jointoken=/);
    expect(await inside.strangers()).toEqual([]);
  });

  test('a real Image Factory as its factory: the same versions, and a schematic that it keeps', async () => {
    await startFactory();
    const omni = startOmni();
    await expectVersions(omni);
    const check = await cliJson<{ readonly findings: readonly { readonly state: string }[] }>(
      [
        ...['egress', 'check', '--inside', '--site', at('site.yaml'), '--registry', registryHost],
        ...['--ca-cert', at('pki/ca.pem')],
      ],
      { within: inside.enter },
    );
    expect(check.findings.filter(({ state }) => state === 'failed')).toEqual([]);
    const before = await ask(`https://${registryHost}/v2/siderolabs/image-factory/schematics/tags/list`);
    await omni
      .omnictl('download', 'iso', '--arch', 'amd64', '--talos-version', talosVersion.slice(1))
      .catch(() => undefined);
    const after = await ask(`https://${registryHost}/v2/siderolabs/image-factory/schematics/tags/list`);
    const tagsOf = ({ body }: Answer): readonly string[] => JSON.parse(body.toString()).tags;
    expect(tagsOf(after)).toHaveLength(tagsOf(before).length + 1);
    expect(await inside.strangers()).toEqual([]);
  });

  test('the commands of installation-media.txt: what they make knows the token, the authority and the installer', async () => {
    await startFactory();
    const omni = startOmni();
    await expectVersions(omni);
    const text = readFileSync(join(handoff, 'installation-media.txt'), 'utf8');
    /** The commands of a way, up to the first empty line. */
    const commandsOf = (letter: string): readonly string[] => {
      const [, block = ''] = new RegExp(`^${letter}\\. .+\\n\\n((?:    .+\\n)+)`, 'm').exec(text) ?? [];
      return block.split('\n').map((line) => line.trim());
    };
    const run = (script: readonly string[]): Promise<string> => omni.shell(script.join('\n'), handoff);
    const schematicOf = async (id: string): Promise<string> =>
      (await ask(`${factoryUrl}/schematics/${id}`)).body.toString();
    // A: the ISO itself needs more than sample content, so another boot asset of the same media is built.
    const [umask = '', create = '', download = ''] = commandsOf('A');
    expect([umask, download]).toEqual(['umask 077', expect.stringContaining('omnictl media download site-')]);
    await run([umask, create]);
    const shown = await run(['omnictl media download site-1.13.9 --format pxe']);
    const [, made = ''] = /\/pxe\/([0-9a-f]{64})\//.exec(shown) ?? expect.fail(shown);
    const embedded = await schematicOf(made);
    expect(embedded).toContain('embeddedMachineConfiguration: |');
    expect(embedded).toContain('kind: TrustedRootsConfig');
    expect(embedded).toMatch(/jointoken/);
    expect((await ask(`${factoryUrl}/image/${made}/${talosVersion}/kernel-amd64`)).status).toBe(200);
    // C and D as they stand there.
    await run(commandsOf('C'));
    const script = readFileSync(join(handoff, 'join.ipxe'), 'utf8');
    expect(script).toMatch(/^kernel \S+\/kernel-amd64 talos\.platform=metal .*siderolink\.api=\S+jointoken/m);
    const [line = ''] = commandsOf('D').filter(
      (one) => one.includes('join-config.yaml') && !one.includes('talosctl'),
    );
    await run([umask, line]);
    const config = readFileSync(join(handoff, 'join-config.yaml'), 'utf8');
    expect(documents(config)).toMatchObject([
      { kind: 'TrustedRootsConfig' },
      { kind: 'SideroLinkConfig' },
      {},
      {},
    ]);
    const validate = [
      'validate',
      '--config',
      join(handoff, 'join-config.yaml'),
      '--mode',
      'metal',
      '--strict',
    ];
    expect(await command(programs.talosctl, validate)).toContain('is valid');
    for (const name of ['join.ipxe', 'join-config.yaml'])
      expect(statSync(join(handoff, name)).mode & 0o077, name).toBe(0);
  });

  describe('H10 three versions of Talos from a factory that offers them all', () => {
    const plainFactory = 'http://factory.site:8080';
    const target = `${registryHost}/three`;
    let three: Carried;
    beforeAll(async () => {
      three = await carriedVersions();
    });

    /** Omni of a hand-off for these versions, with serve by plain HTTP as its factory. */
    async function startThree(setting = ''): Promise<{ readonly omni: Omni; readonly template: string }> {
      await startServe(three, ['--external-url', plainFactory]);
      const offered = await ask(`${plainFactory}/versions`);
      expect(JSON.parse(offered.body.toString())).toEqual([deniedTalos, talosVersion, nextTalos]);
      const site = readFileSync(at('site.yaml'), 'utf8')
        .replace(/^factory: .*$/m, `factory: ${plainFactory}`)
        .replace(/^registry: .*$/m, `registry: https://${target}`);
      writeFileSync(at('three.yaml'), `${site}${setting}`);
      const flags = ['--ca-cert', at('pki/ca.pem'), '--site', at('three.yaml')];
      const folder = await load(three, target, flags, inside.enter);
      const template = readFileSync(join(folder, 'cluster-template.yaml'), 'utf8');
      return { omni: startOmni({}, folder), template };
    }

    test('Omni lists neither the denied one nor the pre-release; omnictl has no use for a plain factory (H3)', async () => {
      const { omni, template } = await startThree();
      await expectVersions(omni);
      expect(documents(template)[0]).toMatchObject({ talos: { version: talosVersion } });
      const download = ['download', 'iso', '--arch', 'amd64', '--talos-version', talosVersion.slice(1)];
      await expect(omni.omnictl(...download)).rejects.toThrow(
        /https:\/\/factory\.site:8080\/.*server gave HTTP response to HTTPS client/,
      );
      const check = ['egress', 'check', '--inside', '--site', at('three.yaml'), '--registry', target];
      const { stdout } = await cli([...check, '--ca-cert', at('pki/ca.pem'), '--json'], {
        within: inside.enter,
      });
      expect(JSON.parse(stdout).findings).toContainEqual(
        expect.objectContaining({
          ...{ what: 'factory for omnictl', state: 'note' },
          detail: expect.stringContaining('omnictl download speaks HTTPS whatever the URL says'),
        }),
      );
    });

    test('with the setting for pre-releases it lists that one, and never the denied one', async () => {
      const { omni, template } = await startThree('talosPreReleases: true\n');
      await expectVersions(omni, [talosVersion, nextTalos]);
      expect(documents(template)[0]).toMatchObject({ talos: { version: nextTalos } });
    });
  });

  describe('what site.yaml must not say, since Omni cannot work with it', () => {
    test('H6 a Kubernetes proxy without TLS: Omni does not start', async () => {
      const url = 'http://omni.site:8100';
      const { process: server } = startOmni({ '--advertised-kubernetes-proxy-url': url });
      await expect(server.until(() => undefined, 60_000)).rejects.toThrow(
        /ended early.*must start with 'https:/s,
      );
      writeFileSync(at('proxy.yaml'), `kubernetesProxy: ${url}\n`);
      const check = ['egress', 'check', '--inside', '--site', at('proxy.yaml')];
      const refused = await cli([...check, '--registry', registryHost], { within: inside.enter });
      expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('proxy.yaml:1:')]);
    });

    test('H1 a registry by name without TLS: Omni lists no version, and the check fails', async () => {
      const plain = await startRegistry({ within: inside.enter });
      onTestFinished(() => plain.stop());
      const host = plain.host.replace('127.0.0.1', 'plain.site');
      const { process: server } = startOmni({
        '--kubernetes-registry': `${host}/siderolabs/kubelet`,
      });
      await server.until(
        () => (/server gave HTTP response to HTTPS client/.test(server.output()) ? true : undefined),
        120_000,
      );
      const check = ['egress', 'check', '--inside', '--registry', host, '--plain-http', host, '--json'];
      const failed = await cli(check, { within: inside.enter });
      expect(failed.code).toBe(5);
      expect(failed.stdout).toContain('Omni speaks plain HTTP to private IPv4 addresses');
    });
  });
});

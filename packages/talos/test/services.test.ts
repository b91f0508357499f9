/** The services of a site: compose.yaml and the quadlets spell the same, by digests, with the trust of the site added. */
import { describe, expect, test } from 'vitest';
import { handoffFiles } from '../src/handoff/files.ts';
import type { HandoffInput } from '../src/handoff/input.ts';
import { registryUnit, systemdArgument } from '../src/handoff/systemd.ts';
import { parseSite } from '../src/inside/site-file.ts';
import { documents } from './documents.ts';
import { bare, full, withFiles } from './handoff-sample.ts';

interface ComposeService {
  readonly image: string;
  readonly command: readonly string[];
  readonly volumes: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly network_mode?: string;
  readonly cap_add?: readonly string[];
  readonly devices?: readonly string[];
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
}

function textOf(input: HandoffInput, name: string): string {
  return handoffFiles(input).find((one) => one.name === name)?.text ?? '';
}

function composeOf(input: HandoffInput): Readonly<Record<string, ComposeService>> {
  const [file] = documents(textOf(input, 'compose.yaml')) as [{ services: Record<string, ComposeService> }];
  return file.services;
}

/** Values of each key in a unit; lines that a backslash continues are one. */
function unit(text: string): (key: string) => readonly string[] {
  const lines = text.replaceAll(/\\\n\s*/g, '').split('\n');
  return (key) => lines.flatMap((line) => (line.startsWith(`${key}=`) ? [line.slice(key.length + 1)] : []));
}

const oidc = parseSite(
  'omni: https://omni.site\noidc: {issuer: "https://sso.site", clientId: omni, clientSecretFile: s}\n',
  'site.yaml',
);

describe('compose.yaml and the quadlets', () => {
  test.each([
    ['a full site', full],
    ['nothing known', bare],
    ['files of site init --pki', withFiles],
    ['a provider of the site', { ...full, site: oidc }],
  ])('are the same services: %s', (_, input) => {
    const compose = composeOf(input);
    const containers = handoffFiles(input).flatMap(({ name }) =>
      name.endsWith('.container') ? [name.slice('quadlets/'.length, -'.container'.length)] : [],
    );
    expect(containers).toEqual(Object.keys(compose).sort());
    for (const [name, service] of Object.entries(compose)) {
      const get = unit(textOf(input, `quadlets/${name}.container`));
      expect(get('Image')).toEqual([service.image]);
      const plain = service.command.map((one) => one.replaceAll(/:\?[^}]*\}/g, '}'));
      expect(get('Exec')).toEqual([plain.join(' ')]);
      expect(get('AddCapability')).toEqual(service.cap_add ?? []);
      expect(get('AddDevice').map((one) => `${one}:${one}`)).toEqual(service.devices ?? []);
      expect(get('PublishPort')).toEqual(service.ports ?? []);
      expect(get('Network')).toEqual([service.network_mode ?? 'omni-air-gap.network']);
      expect(get('PodmanArgs')).toEqual(Object.keys(service.environment ?? {}).map((one) => `--env ${one}`));
      expect(get('HealthCmd')).toEqual(
        service.healthcheck ? [service.healthcheck.test.slice(1).join(' ')] : [],
      );
      const seen = service.volumes.map((volume) => {
        const [source = '', ...rest] = volume.split(':');
        const path = source.startsWith('.')
          ? new URL(source, 'file:///srv/omni/handoff/').pathname
          : `${source}.volume`;
        return [path, ...rest].join(':');
      });
      expect(get('Volume')).toEqual(seen);
      for (const volume of seen.filter((one) => !one.startsWith('/')))
        expect(textOf(input, `quadlets/${volume.split(':')[0]}`)).toBe('[Volume]\n');
      expect(get('After')[0]?.split(' ')).toEqual([
        'network-online.target',
        ...Object.keys(service.depends_on ?? {}).map((one) => `${one}.service`),
      ]);
    }
  });

  test('images are named by their digests in the registry; what was not loaded stands out', () => {
    const images = (input: HandoffInput) => Object.values(composeOf(input)).map(({ image }) => image);
    expect(images(full)).toEqual([
      `registry.site:5000/siderolabs/image-factory@sha256:${'1b'.repeat(32)}`,
      `registry.site:5000/dexidp/dex@sha256:${'2c'.repeat(32)}`,
      `registry.site:5000/siderolabs/omni@sha256:${'0a'.repeat(32)}`,
    ]);
    expect(images(bare)).toEqual([
      '10.0.0.9:5000/air/gap/ghcr.io/dexidp/dex:FILL-IN',
      '10.0.0.9:5000/air/gap/ghcr.io/siderolabs/omni:FILL-IN',
    ]);
  });

  test('H10 the authority of the site is added to those of the image, and replaces none', () => {
    const { omni, 'image-factory': factory } = composeOf(full);
    for (const service of [omni, factory]) {
      expect(service?.volumes).toContain('./ca.pem:/etc/ssl/certs/site-ca.pem:ro,z');
      expect(service?.volumes.join(' ')).not.toContain('ca-certificates.crt');
    }
  });

  test('a file that two containers read belongs to no container alone (SELinux)', () => {
    const labels = (input: HandoffInput): ReadonlyMap<string, string> =>
      new Map(
        Object.values(composeOf(input)).flatMap(({ volumes }) =>
          volumes.map((volume) => [volume.split(':')[0] ?? '', /,([zZ])$/.exec(volume)?.[1] ?? ''] as const),
        ),
      );
    // One certificate for all.
    expect(labels(full).get('./server-key.pem')).toBe('z');
    expect(labels(full).get('./omni.asc')).toBe('Z');
    expect(labels(full).get('omni-etcd')).toBe('');
    // One for each.
    expect(labels(withFiles).get('../pki/services/omni-key.pem')).toBe('Z');
  });

  test('a missing variable stops compose; no file holds a secret', () => {
    const { dex, omni, 'image-factory': factory } = composeOf(full);
    expect(dex?.environment?.['OMNI_OIDC_SECRET']).toBe(
      '$' + '{OMNI_OIDC_SECRET:?is missing; see README.txt}',
    );
    expect(omni?.command[0]).toBe('--account-id=$' + '{OMNI_ACCOUNT_ID:?is missing; see README.txt}');
    expect(factory?.environment?.['AWS_ACCESS_KEY_ID']).toBe('$' + '{AWS_ACCESS_KEY_ID:-}');
    const get = unit(textOf(withFiles, 'quadlets/dex.container'));
    expect(get('EnvironmentFile')).toEqual(['/srv/omni/pki/services/omni.env']);
    expect(unit(textOf(full, 'quadlets/omni.container'))('EnvironmentFile')).toEqual([
      '/srv/omni/handoff/.env',
    ]);
  });

  test('Omni waits for dex, which answers for itself, and binds the port that machines are told', () => {
    const { omni, dex } = composeOf({ ...full, site: { ...full.site, wireguard: '10.0.0.5:51820' } });
    expect(omni?.depends_on).toEqual({
      'image-factory': { condition: 'service_started' },
      dex: { condition: 'service_healthy' },
    });
    const [config] = documents(textOf(full, 'dex.yaml')) as [{ telemetry: { http: string } }];
    expect(dex?.healthcheck?.test).toContain(`http://${config.telemetry.http}/healthz/ready`);
    expect(omni?.command).toEqual(
      expect.arrayContaining([
        '--siderolink-wireguard-advertised-addr=10.0.0.5:51820',
        '--siderolink-wireguard-bind-addr=0.0.0.0:51820',
      ]),
    );
  });
});

describe('README.txt', () => {
  const readme = (input: HandoffInput): string => textOf(input, 'README.txt');

  test('step 0: a registry that this host trusts', () => {
    const tls = readme(full);
    expect(tls).toMatch(/^0\. The registry\./m);
    for (const tool of ['docker', 'containers'])
      expect(tls).toContain(`cp ca.pem /etc/${tool}/certs.d/registry.site:5000/ca.crt`);
    expect(readme(bare)).toContain('Add it to insecure-registries in /etc/docker/daemon.json');
    expect(readme(bare)).toContain('location = "10.0.0.9:5000"');
    expect(readme(bare)).not.toContain('certs.d');
    const { ca: _, ...everyone } = full;
    expect(readme(everyone)).not.toContain('certs.d');
    const logIn = { ...full, registry: { ...full.registry, needsLogIn: true } };
    expect(readme(logIn)).toContain('docker login registry.site:5000');
  });

  test('what to keep copies of', () => {
    const [, list = ''] = readme(withFiles).split('Backups\n');
    for (const what of [
      'OMNI_ACCOUNT_ID in ../pki/services/omni.env',
      '../pki/services/omni.asc',
      'omni-etcd and omni-sqlite',
      'ca-key.pem',
      '../pki/services/signing-key.key',
      'SecureBoot keys',
    ])
      expect(list).toContain(what);
    // Compose wants its variables for every command.
    expect(list).toContain('docker compose --env-file ../pki/services/omni.env stop omni');
  });
});

describe('the registry as a unit', () => {
  const files = { chain: '/srv/pki/registry-chain.pem', key: '/srv/pki/registry-key.pem' };
  const unitOf = (registry: string): string | undefined =>
    registryUnit(parseSite(`registry: ${registry}\n`, 'site.yaml'), '/opt/50% of/omni-airgap', files);

  test.each([
    ['https://registry.site:5000/air', '0.0.0.0:5000'],
    ['https://registry.site', '0.0.0.0:443'],
    ['registry.site:5443', '0.0.0.0:5443'],
  ])('of %s', (registry, listen) => {
    expect(unit(unitOf(registry) ?? '')('ExecStart')).toEqual([
      `"/opt/50%% of/omni-airgap" serve --writable /var/lib/omni-airgap/registry --listen ${listen} --cert ${files.chain} --key ${files.key}`,
    ]);
  });

  test('with log-ins for pushes, or the word that there are none', () => {
    const site = parseSite('registry: https://registry.site\n', 'site.yaml');
    const htpasswd = '/srv/pki/registry.htpasswd';
    expect(registryUnit(site, '/opt/omni-airgap', { ...files, htpasswd })).toMatch(
      /^ExecStart=.* --htpasswd \/srv\/pki\/registry\.htpasswd$/m,
    );
    expect(registryUnit(site, '/opt/omni-airgap', files)).toMatch(/^# Anyone who can connect can push/m);
  });

  test('none for plain HTTP, which Omni cannot use by name', () => {
    expect(unitOf('http://registry.site:5000')).toBeUndefined();
    expect(registryUnit({}, '/opt/omni-airgap', files)).toBeUndefined();
  });

  test('arguments are read back as they were', () => {
    expect(systemdArgument('a"b\\c d%e')).toBe('"a\\"b\\\\c d%%e"');
    expect(systemdArgument(`--flag=$` + `{NAME}`)).toBe('--flag=$' + '{NAME}');
  });
});

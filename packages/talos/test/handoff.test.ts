/** The hand-off: configuration for a site, of all that is known about it. */
import { zstdDecompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { handoffFiles } from '../src/handoff/files.ts';
import type { HandoffInput } from '../src/handoff/input.ts';
import { earlyArgument } from '../src/handoff/machines.ts';
import { documents } from './documents.ts';
import { bare, ca, full, withFiles } from './handoff-sample.ts';

function filesOf(input: HandoffInput): ReadonlyMap<string, string> {
  return new Map(handoffFiles(input).map(({ name, text }) => [name, text]));
}

describe('hand-off', () => {
  test.each([
    ['a full site', full],
    ['nothing known', bare],
  ])('the files of %s', (_, input) => {
    for (const { name, text } of handoffFiles(input)) {
      expect(text).toMatchSnapshot(name);
      expect(text.endsWith('\n')).toBe(true);
      if (name.endsWith('.yaml')) expect(documents(text).length).toBeGreaterThan(0);
    }
  });

  test('what is not known stands out, and nothing secret is made', () => {
    const texts = [...filesOf(bare).values()].join('\n');
    expect(texts).toContain('FILL-IN-omni.invalid');
    expect(texts).toContain('FILL-IN-ntp.invalid');
    const known = [...filesOf(full)].filter(([name]) => name !== 'README.txt').map(([, text]) => text);
    expect(known.join('\n')).not.toContain('FILL-IN');
    expect(texts).not.toMatch(/PRIVATE KEY/);
  });

  test('files that the site file names are mounted where they are; users log in with their own variables', () => {
    const files = filesOf(withFiles);
    const [file] = documents(files.get('compose.yaml')) as [
      { services: Record<string, { volumes: string[]; environment?: object; command: string[] }> },
    ];
    const { omni, dex, 'image-factory': factory } = file.services;
    const at = '../pki/services';
    const pair = (name: string, to: string): readonly string[] => [
      `${at}/${name}-chain.pem:${to}/server-chain.pem:ro,Z`,
      `${at}/${name}-key.pem:${to}/server-key.pem:ro,Z`,
    ];
    expect(omni?.volumes).toEqual(
      expect.arrayContaining([...pair('omni', '/certs'), `${at}/omni.asc:/omni.asc:ro,Z`]),
    );
    expect(factory?.volumes).toEqual(
      expect.arrayContaining([...pair('factory', '/certs'), `${at}/signing-key.key:/signing-key.key:ro,Z`]),
    );
    expect(dex?.volumes).toEqual(['./dex.yaml:/etc/dex/dex.yaml:ro,Z', ...pair('login', '/etc/dex/tls')]);
    const variables = ['ADA', 'BOB'].map((name) => `OMNI_PASSWORD_HASH_${name}_SITE_EXAMPLE`);
    expect(Object.keys(dex?.environment ?? {})).toEqual(['OMNI_OIDC_SECRET', ...variables]);
    expect(omni?.command).toContain('--initial-users=ada@site.example,bob@site.example');
    const [{ staticPasswords }] = documents(files.get('dex.yaml')) as [{ staticPasswords: object[] }];
    expect(staticPasswords).toEqual([
      { email: 'ada@site.example', username: 'ada', preferredUsername: 'ada', hashFromEnv: variables[0] },
      { email: 'bob@site.example', username: 'bob', preferredUsername: 'bob', hashFromEnv: variables[1] },
    ]);
    const readme = files.get('README.txt') ?? '';
    expect(readme).toContain('docker compose --env-file ../pki/services/omni.env up -d');
    expect(readme).toContain('chown 1001 ../pki/services/login-key.pem');
    expect(readme).not.toMatch(/gpg --batch|> \.env/);
  });

  test("a site's own OIDC provider: no dex, its client, its secret by a command", () => {
    const { login: _, ...others } = full.site;
    const oidc = {
      issuer: 'https://sso.site/realms/x/',
      clientId: 'omni-inside',
      clientSecretFile: '../oidc secret.txt',
    };
    const files = filesOf({ ...full, site: { ...others, oidc } });
    expect(files.has('dex.yaml')).toBe(false);
    const [file] = documents(files.get('compose.yaml')) as [
      { services: Record<string, { command: string[] }> },
    ];
    expect(Object.keys(file.services)).toEqual(['image-factory', 'omni']);
    expect(file.services['omni']?.command).toEqual(
      expect.arrayContaining([
        '--auth-oidc-provider-url=https://sso.site/realms/x/',
        '--auth-oidc-client-id=omni-inside',
        '--auth-oidc-client-secret=$' + '{OMNI_OIDC_SECRET:?is missing; see README.txt}',
      ]),
    );
    const readme = files.get('README.txt') ?? '';
    expect(readme).toContain(`echo "OMNI_OIDC_SECRET=$(head -n 1 '../oidc secret.txt')"`);
    expect(readme).toContain('register https://omni.site/oidc/consume there as redirect URI of omni-inside');
    expect(readme).not.toMatch(/htpasswd -B|dex:|chown 1001|FILL-IN:/);
  });

  describe('the cluster template', () => {
    const template = (input: HandoffInput): readonly [cluster: object, ...machines: object[]] =>
      documents(filesOf(input).get('cluster-template.yaml')) as [object, ...object[]];
    const talosVersions = ['v1.13.0', 'v1.13.1', 'v1.14.0-rc.1'];

    test('H10 names different machines for control plane and workers', () => {
      const [, ...sets] = template(full) as unknown as [object, ...{ kind: string; machines: string[] }[]];
      expect(sets.map(({ kind }) => kind)).toEqual(['ControlPlane', 'Workers']);
      const machines = sets.flatMap((set) => set.machines);
      expect(new Set(machines).size).toBe(2);
      for (const id of machines) expect(id).toMatch(/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    });

    test('H10 takes versions that Omni offers, and says why not the others', () => {
      const input = { ...full, talosVersions };
      const [cluster] = template(input);
      expect(cluster).toMatchObject({ talos: { version: 'v1.13.0' }, kubernetes: { version: 'v1.36.1' } });
      for (const name of ['cluster-template.yaml', 'README.txt']) {
        const text = filesOf(input).get(name) ?? '';
        expect(text).toContain('Omni v1.10.4 never offers Talos v1.13.1 (kernel modules');
        expect(text).toContain('Omni v1.10.4 offers the pre-release Talos v1.14.0-rc.1 only when started');
      }
      const [none] = template({ ...full, talosVersions: ['v1.13.1'], kubernetesVersions: [] });
      expect(none).toMatchObject({ talos: { version: 'v0.0.0-FILL-IN' } });
    });

    test('H10 a pre-release, and the flag for it, only where the site file asks for it', () => {
      const input = { ...full, talosVersions };
      const flags = (one: HandoffInput): string => filesOf(one).get('compose.yaml') ?? '';
      expect(template(input)[0]).toMatchObject({ talos: { version: 'v1.13.0' } });
      expect(flags(input)).not.toContain('pre-release');
      const asked = { ...input, site: { ...full.site, talosPreReleases: true } };
      expect(template(asked)[0]).toMatchObject({ talos: { version: 'v1.14.0-rc.1' } });
      expect(flags(asked)).toContain('--enable-talos-pre-release-versions');
    });
  });

  test('mirrors of every host, no fallback, overridePath only below a prefix', () => {
    const mirrors = documents(filesOf(full).get('air-gap-patch.yaml')).filter(
      (one) => (one as { kind: string }).kind === 'RegistryMirrorConfig',
    );
    expect(mirrors.map((one) => (one as { name: string }).name)).toEqual([
      'docker.io',
      'factory.talos.dev',
      'gcr.io',
      'ghcr.io',
      'quay.io',
      'registry.k8s.io',
    ]);
    for (const mirror of mirrors) {
      expect(mirror).toMatchObject({
        endpoints: [{ url: 'https://registry.site:5000' }],
        skipFallback: true,
      });
    }
    const [below] = documents(filesOf(bare).get('air-gap-patch.yaml'));
    expect(below).toMatchObject({
      name: 'docker.io',
      endpoints: [{ url: 'http://10.0.0.9:5000/v2/air/gap/docker.io', overridePath: true }],
    });
  });

  test('a registry without TLS has no RegistryTLSConfig, which Talos would refuse', () => {
    const files = filesOf({ ...full, registry: { ...full.registry, plainHttp: true } });
    const kinds = documents(files.get('air-gap-patch.yaml')).map((one) => (one as { kind: string }).kind);
    expect(kinds).not.toContain('RegistryTLSConfig');
    expect(kinds).toContain('TrustedRootsConfig');
    const [older] = documents(files.get('air-gap-patch-1.11.yaml')) as [{ machine: { registries: object } }];
    expect(Object.keys(older.machine.registries)).toEqual(['mirrors']);
  });

  test('a factory without TLS has a mirror of its own: Talos speaks HTTPS to every other host', () => {
    const site = { ...full.site, factory: 'http://factory.site:8080' };
    const { factoryVersion: _, ...carried } = { ...full, site };
    const mirrorIn = (input: HandoffInput): unknown =>
      documents(filesOf(input).get('air-gap-patch.yaml')).find(
        (one) => (one as { name?: string }).name === 'factory.site:8080',
      );
    expect(mirrorIn({ ...full, site })).toMatchObject({ endpoints: [{ url: 'http://factory.site:8080' }] });
    expect(mirrorIn(full)).toBeUndefined();
    // Only what was carried is there, and that is in the registry.
    expect(mirrorIn(carried)).toMatchObject({ endpoints: [{ url: 'https://registry.site:5000' }] });
  });

  test('a factory URL with nothing behind /v2 is mirrored by its host and port', () => {
    const { factoryVersion: _, ...withoutFactory } = full;
    const names = documents(filesOf(withoutFactory).get('air-gap-patch.yaml')).map(
      (one) => (one as { name?: string }).name,
    );
    expect(names).toContain('factory.site:8080');
  });

  test('the older form for Talos 1.11: base64 authority, servers', () => {
    const [machine] = documents(filesOf(full).get('air-gap-patch-1.11.yaml')) as [
      { machine: { registries: { config: Record<string, { tls: { ca: string } }> }; time: object } },
    ];
    const held = machine.machine.registries.config['registry.site:5000']?.tls.ca ?? '';
    expect(Buffer.from(held, 'base64').toString()).toBe(ca);
    expect(machine.machine.time).toEqual({ servers: ['10.0.0.1', 'ntp.site'] });
    expect(filesOf({ ...full, talosVersions: ['v1.13.9'] }).has('air-gap-patch-1.11.yaml')).toBe(false);
  });

  test('flags follow Omni’s version', () => {
    const flagsOf = (omniVersion: string): readonly string[] => {
      const [file] = documents(filesOf({ ...full, omniVersion }).get('compose.yaml')) as [
        { services: { omni: { command: string[] } } },
      ];
      return file.services.omni.command;
    };
    expect(flagsOf('v1.10.0')).toEqual(
      expect.arrayContaining([
        '--primary-factory-url=https://factory.site:8080',
        '--primary-factory-pxe-url=http://pxe.site',
      ]),
    );
    expect(flagsOf('v1.9.3')).toEqual(
      expect.arrayContaining([
        '--image-factory-address=https://factory.site:8080',
        '--machine-api-bind-addr=0.0.0.0:8090',
      ]),
    );
    expect(flagsOf('v1.6.0').some((flag) => flag.startsWith('--eula'))).toBe(false);
    expect(flagsOf('v1.7.0')).toContain(
      '--eula-accept-name=$' + '{OMNI_EULA_NAME:?is missing; see README.txt}',
    );
  });

  test('the factory: no external installer registry, namespaces below a prefix, insecure only over plain HTTP', () => {
    const [plainly] = documents(filesOf(full).get('image-factory.yaml')) as [
      Record<string, Record<string, unknown>>,
    ];
    expect(plainly['artifacts']).toEqual({
      core: { registry: 'registry.site:5000' },
      schematic: { registry: 'registry.site:5000' },
      installer: { internal: { registry: 'registry.site:5000' } },
    });
    const [below] = documents(filesOf(bare).get('image-factory.yaml')) as [
      Record<string, Record<string, unknown>>,
    ];
    expect(below['artifacts']).toMatchObject({
      core: { namespace: 'air/gap/ghcr.io', insecure: true },
      schematic: { namespace: 'air/gap/factory.talos.dev/siderolabs/image-factory' },
    });
    expect(filesOf(bare).has('image-factory-s3.yaml')).toBe(false);
    const [cached] = documents(filesOf(full).get('image-factory-s3.yaml')) as [{ cache: { s3: object } }];
    expect(cached.cache.s3).toEqual({
      enabled: true,
      bucket: 'talos',
      endpoint: 's3.site:9000',
      region: 'us-east-1',
      insecure: true,
    });
  });
});

describe('the early argument', () => {
  test('is the authority, zstd, base64', () => {
    const { argument, fits } = earlyArgument(ca);
    expect(fits).toBe(true);
    const packed = Buffer.from(argument.slice('talos.config.early='.length), 'base64');
    expect(documents(zstdDecompressSync(packed).toString())).toEqual([
      { apiVersion: 'v1alpha1', kind: 'TrustedRootsConfig', name: 'site-ca', certificates: ca },
    ]);
  });
  test('one that the kernel would cut is called too long', () => {
    const noise = Array.from({ length: 2400 }, (_, i) => ((i * 7919) % 36).toString(36)).join('');
    const scattered = [...noise]
      .map((c, i) => (i % 3 === 0 ? String.fromCharCode(65 + ((i * i) % 26)) : c))
      .join('');
    const random = Array.from({ length: 60 }, (_, i) =>
      Buffer.from(String(Math.sin(i) * 1e16)).toString('base64'),
    ).join('');
    const { text, fits } = earlyArgument(
      `-----BEGIN CERTIFICATE-----\n${random}${scattered}\n-----END CERTIFICATE-----\n`,
    );
    expect(fits).toBe(false);
    expect(text).toContain('TOO LONG');
  });
});

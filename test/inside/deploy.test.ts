/** The files of deploy/, in the eyes of the programs that read them; and serve starts with the arguments that stand there. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { basename, join } from 'node:path';
import type { Deployment } from 'kubernetes-types/apps/v1.js';
import type { Service } from 'kubernetes-types/core/v1.js';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { passwordHash } from '../../packages/pki/src/log-ins.ts';
import { documents } from '../../packages/talos/test/documents.ts';
import { platforms } from '../../scripts/lib/release-platforms.ts';
import { read, root } from '../repository.ts';
import { command } from '../services/command.ts';
import { testWith } from '../services/service-test.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { type Certificates, makeCertificates } from '../services/tls.ts';
import { startCli } from '../support/cli.ts';

const folder = temporaryFolder('deploy');
const at = (name: string): string => join(folder, name);
const unit = read('deploy/omni-airgap.service');
let certificates: Certificates;

beforeAll(async () => {
  certificates = await makeCertificates('127.0.0.1');
  writeFileSync(at('tls.crt'), certificates.cert);
  writeFileSync(at('tls.key'), certificates.key, { mode: 0o600 });
  writeFileSync(at('registry.htpasswd'), `site:${await passwordHash('password of site')}\n`);
});
afterAll(() => certificates?.dispose());

/** The same arguments with paths and ports of this test; `serve` must ask for a log-in then. */
async function expectToServe(args: readonly string[]): Promise<void> {
  const here = args.map((arg, i) => {
    const flag = args[i - 1] ?? '';
    if (flag.endsWith('listen')) return '127.0.0.1:0';
    return arg.startsWith('/') ? at(basename(arg)) : arg;
  });
  const server = startCli([...here, '--json', '--quiet']);
  onTestFinished(async () => {
    server.kill('SIGINT');
    await server.ended;
  });
  await server.until(() => server.stdout().includes('\n'));
  const { url } = JSON.parse(server.stdout()) as { url: string };
  const status = await new Promise((resolve, reject) => {
    const sent = request(`${url}/v2/`, { ca: certificates.ca }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    sent.on('error', reject).end();
  });
  expect(status).toBe(401);
}

const argumentsOf = (line: string): readonly string[] => line.split(' ').slice(1);

describe('omni-airgap.service', () => {
  const start = /^ExecStart=(.*)$/m.exec(unit)?.[1] ?? '';

  testWith(['systemd-analyze'], 'is what systemd accepts, and lets the service do little', async () => {
    const path = at('omni-airgap.service');
    writeFileSync(path, unit.replace('/usr/local/bin/omni-airgap', join(root, 'scripts/omni-airgap')));
    // Prints nothing where it finds nothing.
    expect(await command('systemd-analyze', ['verify', '--man=no', path])).toBe('');
    // Of 100, where 0 is a service that can do nothing; it fails above the threshold.
    const limits = ['--offline=yes', '--threshold=20', '--no-pager'];
    expect(await command('systemd-analyze', ['security', ...limits, path])).toContain(
      'Overall exposure level',
    );
  });

  test('serve starts with its arguments', async () => {
    await expectToServe(argumentsOf(start));
    // What it writes to is what systemd makes for it.
    expect(start).toContain(' --writable /var/lib/omni-airgap/');
    expect(unit).toMatch(/^StateDirectory=omni-airgap$/m);
  });
});

describe('compose.yaml', () => {
  const [file] = documents(read('deploy/compose.yaml')) as unknown as [
    {
      readonly services: Record<
        string,
        { readonly command: readonly string[]; readonly volumes: readonly string[] }
      >;
    },
  ];
  const service = file.services['omni-airgap'];

  testWith(['docker-compose'], 'fits the schema of compose', async () => {
    const resolved = await command(
      'docker-compose',
      ['--file', join(root, 'deploy/compose.yaml'), 'config'],
      folder,
    );
    expect(resolved).toMatch(/^ {4}read_only: true$/m);
  });

  test('serve starts with its arguments, whose paths are in its volumes', async () => {
    const mounts = (service?.volumes ?? []).map((volume) => volume.split(':')[1] ?? '');
    for (const arg of service?.command ?? []) {
      if (arg.startsWith('/'))
        expect(
          mounts.some((mount) => arg.startsWith(`${mount}/`)),
          arg,
        ).toBe(true);
    }
    await expectToServe(service?.command ?? []);
  });
});

describe('kubernetes.yaml', () => {
  const all = documents(read('deploy/kubernetes.yaml')) as readonly Record<string, unknown>[];
  const ofKind = <T>(kind: string): T => all.find((document) => document['kind'] === kind) as T;
  const pod = ofKind<Deployment>('Deployment').spec?.template.spec;
  const [container] = pod?.containers ?? [];

  /** Types of the API, where each kind is. */
  const modules: Readonly<Record<string, string>> = {
    'v1 ServiceAccount': 'core/v1',
    'v1 PersistentVolumeClaim': 'core/v1',
    'v1 Service': 'core/v1',
    'apps/v1 Deployment': 'apps/v1',
    'networking.k8s.io/v1 NetworkPolicy': 'networking/v1',
  };

  /** A literal may have no field that its type does not know, at any depth. @returns what the compiler finds */
  function problemsOf(checked: readonly Record<string, unknown>[]): string {
    const source = checked.map((document, i) => {
      const kind = String(document['kind']);
      const module = modules[`${document['apiVersion']} ${kind}`];
      expect(module, `${document['apiVersion']} ${kind}`).toBeDefined();
      const from = JSON.stringify(join(root, 'node_modules/kubernetes-types', `${module}.js`));
      return `export const document${i}: import(${from}).${kind} = ${JSON.stringify(document)};`;
    });
    const path = at('documents.ts');
    writeFileSync(path, source.join('\n'));
    const flags = ['--ignoreConfig', '--noEmit', '--strict', '--module', 'nodenext', '--types', 'node'];
    try {
      execFileSync(join(root, 'node_modules/.bin/tsc'), [...flags, path], {
        encoding: 'utf8',
        stdio: 'pipe',
      });
      return '';
    } catch (error) {
      return (error as { stdout: string }).stdout;
    }
  }

  test('fits the types of the Kubernetes API', () => {
    expect(all.length).toBe(Object.keys(modules).length);
    expect(problemsOf(all)).toBe('');
    // The check itself: a misspelled field, deep inside, and a value of another type.
    const wrong = structuredClone(all);
    const deployment = wrong.find(({ kind }) => kind === 'Deployment') as unknown as {
      spec: { template: { spec: object } };
    };
    Object.assign(deployment.spec, { replicas: '1' });
    Object.assign(deployment.spec.template.spec, { serviceAcountName: 'x' });
    const problems = problemsOf(wrong);
    expect(problems).toContain("'string' is not assignable to type 'number'");
    expect(problems).toContain('serviceAcountName');
  });

  test('serve starts with its arguments, whose paths are in its volumes', async () => {
    const args = container?.args ?? [];
    const mounts = (container?.volumeMounts ?? []).map(({ mountPath }) => mountPath);
    for (const arg of args) {
      if (arg.startsWith('/'))
        expect(
          mounts.some((mount) => arg.startsWith(`${mount}/`)),
          arg,
        ).toBe(true);
    }
    await expectToServe(args);
  });

  test('names what it means: volumes, ports, labels, secrets of the commands at its head', () => {
    const volumes = (pod?.volumes ?? []).map(({ name }) => name).sort();
    expect((container?.volumeMounts ?? []).map(({ name }) => name).sort()).toEqual(volumes);
    const ports = (container?.ports ?? []).map(({ name }) => name);
    expect(ofKind<Service>('Service').spec?.ports?.map(({ targetPort }) => targetPort)).toEqual(['https']);
    expect(ports).toEqual(['https', 'metrics']);
    const deployment = ofKind<Deployment>('Deployment');
    const labels = deployment.spec?.template.metadata?.labels;
    expect(deployment.spec?.selector.matchLabels).toEqual(labels);
    expect(ofKind<Service>('Service').spec?.selector).toEqual(labels);
    const made = [...read('deploy/kubernetes.yaml').matchAll(/^# .* create secret \S+ (\S+)/gm)].map(
      ([, name]) => name,
    );
    expect((pod?.volumes ?? []).flatMap(({ secret }) => secret?.secretName ?? [])).toEqual(made);
  });
});

testWith(['podman'], 'the Containerfile makes an image of the executable of a release', async () => {
  const dist = temporaryFolder('dist');
  for (const { name } of platforms)
    writeFileSync(join(dist, `omni-airgap-${name}`), `executable for ${name}`);
  const podman = (...args: readonly string[]): Promise<string> =>
    command('podman', [
      '--root',
      join(dist, 'root'),
      '--storage-driver',
      'vfs',
      '--events-backend',
      'none',
      ...args,
    ]);
  const build = ['build', '--quiet', '--isolation', 'chroot', '--file', join(root, 'deploy/Containerfile')];
  // Its base comes from the Internet; the rest does not depend on it.
  const id = (
    await podman(...build, '--build-arg', 'BASE=scratch', '--build-arg', 'TARGETARCH=arm64', dist)
  ).trim();
  const [{ Config: config }] = JSON.parse(await podman('image', 'inspect', id)) as [
    { Config: { User: string; Entrypoint: readonly string[]; Cmd: readonly string[] } },
  ];
  expect(config).toMatchObject({ User: '65532:65532', Entrypoint: ['/usr/local/bin/omni-airgap'] });
  expect(config.Cmd.slice(0, 2)).toEqual(['serve', '--writable']);
});

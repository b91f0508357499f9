/**
 * compose.yaml and the quadlets in the eyes of those who read them: the schema of docker compose, and podman's generator
 * of units. The generator is no Debian package before Debian 13: it runs where QUADLET names it, podman has installed it,
 * or it is on PATH. To make it: `go build ./cmd/quadlet` in containers/podman, 4.5 or later.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { type HandoffInput, handoffFiles } from '../../packages/talos/src/index.ts';
import { documents } from '../../packages/talos/test/documents.ts';
import { bare, full, withFiles } from '../../packages/talos/test/handoff-sample.ts';
import { command } from '../services/command.ts';
import { testWith } from '../services/service-test.ts';
import { temporaryFolder } from '../services/temporary.ts';

/** As README.txt and site init make them. */
const environment = `OMNI_ACCOUNT_ID=f0f0
OMNI_OIDC_SECRET=0b
OMNI_ADMIN_PASSWORD_HASH='$2y$12$abc'
OMNI_PASSWORD_HASH_ADA_SITE_EXAMPLE='$2y$12$abc'
OMNI_PASSWORD_HASH_BOB_SITE_EXAMPLE='$2y$12$abc'
OMNI_EULA_NAME='Ada O Lovelace'
OMNI_EULA_EMAIL=ada@site.example
`;
const samples: readonly (readonly [string, HandoffInput])[] = [
  ['a full site', full],
  ['nothing known', bare],
  ['files of site init --pki', withFiles],
];

/** @returns the folder of the hand-off */
function written(input: HandoffInput): string {
  const folder = join(temporaryFolder('handoff-services'), 'handoff');
  for (const { name, text } of handoffFiles({ ...input, folder })) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  writeFileSync(join(folder, '.env'), environment);
  return folder;
}

interface Resolved {
  readonly services: Readonly<
    Record<string, { readonly command: readonly string[]; readonly environment?: Record<string, string> }>
  >;
}

/** What Debian's compose makes of the file. It is of version 1, which has no key for the name of the project. */
async function compose1(folder: string, variables: string): Promise<string> {
  const [{ name, ...file }] = documents(readFileSync(join(folder, 'compose.yaml'), 'utf8')) as [
    Record<string, unknown>,
  ];
  writeFileSync(join(folder, 'nameless.json'), JSON.stringify(file));
  const flags = ['--project-name', String(name), '--env-file', variables, '--file', 'nameless.json'];
  return command('docker-compose', [...flags, 'config'], folder);
}

function expectResolved({ services }: Resolved): void {
  const { omni, dex } = services;
  expect(omni?.command).toEqual(
    expect.arrayContaining(['--account-id=f0f0', '--eula-accept-name=Ada O Lovelace']),
  );
  // A dollar in what compose prints is doubled.
  expect(Object.values(dex?.environment ?? {})).toContain('$$2y$$12$$abc');
}

testWith(
  ['docker-compose'],
  'compose.yaml fits the schema of compose, and its variables are filled in',
  async () => {
    for (const [, input] of samples) {
      const [resolved] = documents(await compose1(written(input), '.env')) as unknown as [Resolved];
      expectResolved(resolved);
    }
  },
);

testWith(['docker-compose'], 'a missing variable stops compose before anything starts', async () => {
  const folder = written(full);
  writeFileSync(join(folder, 'empty.env'), '');
  await expect(compose1(folder, 'empty.env')).rejects.toThrow(/is missing; see README\.txt/);
});

test('docker compose 2 accepts the file as it is', async (context) => {
  if (spawnSync('docker', ['compose', 'version']).status !== 0)
    context.skip('docker compose is not installed');
  for (const [, input] of samples) {
    const folder = written(input);
    const [resolved] = documents(await command('docker', ['compose', 'config'], folder)) as unknown as [
      Resolved,
    ];
    expectResolved(resolved);
  }
});

const generators = [
  process.env['QUADLET'],
  '/usr/libexec/podman/quadlet',
  '/usr/lib/podman/quadlet',
  'quadlet',
];
const generator = generators.find(
  (program) => program !== undefined && spawnSync(program, ['-version']).status === 0,
);

test("podman's generator makes a unit of every quadlet", async (context) => {
  if (generator === undefined)
    context.skip('quadlet of podman 4.5 or later is not installed, and QUADLET does not name it');
  for (const [, input] of samples) {
    const folder = written(input);
    const { stdout, stderr, status } = spawnSync(generator ?? '', ['-dryrun'], {
      encoding: 'utf8',
      env: { ...process.env, QUADLET_UNIT_DIRS: join(folder, 'quadlets') },
    });
    expect(stderr).not.toMatch(/converting|unsupported|error/i);
    expect(status).toBe(0);
    const units = new Map(
      stdout.split(/^---(?=\S+\.service---$)/m).map((text) => [text.split('---')[0] ?? '', text] as const),
    );
    for (const { name, text } of handoffFiles({ ...input, folder })) {
      const [, stem, kind] = /^quadlets\/(.+)\.(container|volume|network)$/.exec(name) ?? [];
      if (stem === undefined) continue;
      const unit = units.get(`${stem}${kind === 'container' ? '' : `-${kind}`}.service`) ?? '';
      const [, start = ''] = /^ExecStart=(.*)$/m.exec(unit) ?? [];
      expect(start, name).toMatch(/podman (?:run|volume create|network create) /);
      const [, image = ''] = /^Image=(.*)$/m.exec(text) ?? [];
      const exec = (/^Exec=((?:.*\\\n)*.*)$/m.exec(text)?.[1] ?? '').replaceAll(/\\\n\s*/g, '');
      if (kind === 'container') expect(start.includes(` ${image} ${exec}`), start).toBe(true);
      // Podman 4 writes --network=host, podman 5 --network host.
      if (stem === 'omni')
        for (const part of [
          '--network host',
          '--cap-add net_admin',
          '--device /dev/net/tun',
          '-v systemd-omni-etcd:/_out/etcd',
        ])
          expect(start.replaceAll(/(--[a-z-]+)=/g, '$1 ')).toContain(part);
    }
  }
});

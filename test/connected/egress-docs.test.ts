/** What docs/egress.md, docs/mirror-yaml.md and docs/site.md show is what the commands print. */
import { expect, test } from 'vitest';
import { parseSite } from '../../packages/talos/src/index.ts';
import { read } from '../repository.ts';
import { cli, cliJson } from '../support/cli.ts';
import { workspace } from '../support/workspace.ts';

/** The indented block that begins with a line, without its indentation. */
function blockOf(page: string, first: string): string {
  const lines = read(page).split('\n');
  const start = lines.indexOf(`    ${first}`);
  const end = lines.findIndex((line, i) => i > start && line !== '' && !line.startsWith('    '));
  return lines
    .slice(start, end)
    .map((line) => line.slice(4))
    .join('\n')
    .trim();
}

test('egress rules: the table of an Omni site without Kubernetes', async () => {
  const site = await workspace(
    'media: [{schematic: {customization: {}}, versions: [v1.13.9], files: [metal-amd64.iso]}]\nimages: [ghcr.io/dexidp/dex:v2.41.1]\n',
  );
  const [call = '', ...shown] = blockOf(
    'docs/egress.md',
    '$ omni-airgap egress rules --config mirror.yaml',
  ).split('\n');
  const { code, stdout } = await cli(call.split(' ').slice(2), { cwd: site.root });
  expect(code).toBe(0);
  expect(stdout.trim()).toBe(shown.join('\n'));
});

test('mirror.yaml: the example is understood, and its slip is answered as it says', async () => {
  const site = await workspace();
  const example = blockOf('docs/mirror-yaml.md', 'apiVersion: omni-airgap/v1');
  site.write('images.txt', 'registry.k8s.io/pause:3.10.1\n');
  site.write('mirror.yaml', example);
  const rules = ['egress', 'rules', '--config', site.at('mirror.yaml')];
  const { hosts } = await cliJson<{ hosts: { pattern: string }[] }>(rules);
  expect(hosts.map((host) => host.pattern)).toContain('registry.k8s.io');
  const slip = blockOf(
    'docs/mirror-yaml.md',
    'mirror.yaml:5:3: talos.version is not known here; did you mean versions?',
  );
  site.write('mirror.yaml', example.replace('  versions: [v1.13.9]', '  version: [v1.13.9]'));
  const { code, stderr } = await cli(['egress', 'rules'], { cwd: site.root });
  expect(code).toBe(2);
  expect(stderr).toContain(slip);
});

test('site.yaml: the example is understood, and its slip is answered as it says', async () => {
  const site = await workspace();
  const example = blockOf('docs/site.md', 'omni: https://omni.site');
  expect(parseSite(example, 'site.yaml')).toMatchObject({ caFile: 'ca.pem', ntp: ['10.0.0.1'] });
  const slip = blockOf('docs/site.md', 'site.yaml:2:1: unknown key "factroy"; did you mean factory?');
  site.write('site.yaml', 'omni: https://omni.site\nfactroy: https://factory.site\n');
  const check = ['egress', 'check', '--inside', '--site', 'site.yaml', '--registry', '127.0.0.1:1'];
  const { code, stderr } = await cli(check, { cwd: site.root });
  expect(code).toBe(2);
  expect(stderr).toContain(`${slip} [CONFIG]`);
});

test('F4 a mirror.yaml that is nested too deep is a mistake in it, by line and column', async () => {
  const site = await workspace();
  const deep = '- '.repeat(5000);
  const texts = [
    `apiVersion: omni-airgap/v1\nimages:\n  ${deep}a\n`,
    `apiVersion: omni-airgap/v1\nmedia:\n  ${deep}schematic: x\n    files: [metal-amd64.iso]\n`,
  ];
  for (const text of texts) {
    site.write('mirror.yaml', text);
    const { code, stderr } = await cli(['plan', '--store', 'store'], { cwd: site.root });
    expect(code).toBe(2);
    expect(stderr).toMatch(/mirror\.yaml:3:\d+: nested deeper than 32 levels \[CONFIG\]/);
  }
});

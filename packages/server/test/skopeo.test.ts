/** Debian's skopeo as a client that is not ours: pushes into and pulls out of the registry. */
import { execFile, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { newLayout, putImage, putIndex, start, temporaryFolder } from './support.ts';

const run = promisify(execFile);
const present = process.env['CI'] === 'true' || spawnSync('skopeo', ['--version']).status === 0;
if (!present) console.log('skopeo is not installed: its tests are left out');

test.runIf(present)(
  'skopeo pushes an index into a writable registry and pulls it back, digests unchanged',
  async () => {
    const from = await newLayout();
    const children = [
      await putImage(from, 'ghcr.io/a/amd64:v1', Buffer.alloc(2_000_000, 'amd64 ')),
      await putImage(from, 'ghcr.io/a/arm64:v1', Buffer.alloc(300_000, 'arm64 ')),
    ];
    const index = await putIndex(
      from,
      'ghcr.io/a/b:v1',
      children.map(({ manifest }, i) => ({
        ...manifest,
        platform: { os: 'linux', architecture: i === 0 ? 'amd64' : 'arm64' },
      })),
    );
    const carried = await start({ source: from });
    const site = await newLayout();
    const registry = await start({ writable: site });
    const at = ({ url }: { readonly url: string }) => `docker://${new URL(url).host}`;
    const policy = ['--insecure-policy', '--tmpdir', await temporaryFolder()];
    const flags = [
      'copy',
      '--all',
      '--preserve-digests',
      '--src-tls-verify=false',
      '--dest-tls-verify=false',
    ];

    await run('skopeo', [...policy, ...flags, `${at(carried)}/a/b:v1`, `${at(registry)}/team/b:v1`]);
    const out = join(await temporaryFolder(), 'oci');
    await run('skopeo', [...policy, ...flags, `${at(registry)}/team/b:v1`, `oci:${out}:v1`]);
    const inspected = await run('skopeo', [
      'inspect',
      '--raw',
      '--tls-verify=false',
      `${at(registry)}/team/b:v1`,
    ]);
    expect(Buffer.byteLength(inspected.stdout)).toBe(index.size);
    const tags = await run('skopeo', ['list-tags', '--tls-verify=false', `${at(registry)}/team/b`]);
    expect(JSON.parse(tags.stdout)).toMatchObject({ Tags: ['v1'] });
    expect((await site.resolve('registry.local/team/b:v1'))?.digest).toBe(index.digest);
    const { manifests } = JSON.parse((await run('cat', [join(out, 'index.json')])).stdout) as {
      manifests: { digest: string }[];
    };
    expect(manifests[0]?.digest).toBe(index.digest);
  },
);

/** The sample in docs/serving.md runs as it stands there; only its places are those of the test. */
import { spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { writeTestBundle } from '../../packages/format/src/testing/index.ts';
import { newLayout, putImage } from '../../packages/server/test/support.ts';
import { read, root } from '../repository.ts';
import { temporaryFolder } from '../services/temporary.ts';

test('createServer as the documentation shows it', async () => {
  const folder = temporaryFolder('library');
  const medium = temporaryFolder('medium');
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const layout = await newLayout();
  const { manifest } = await putImage(layout, 'ghcr.io/a/b:v1', Buffer.from('layer'));
  await writeTestBundle(layout, medium, { key: privateKey });
  writeFileSync(join(folder, 'site.pub'), publicKey.export({ type: 'spki', format: 'pem' }));

  const [, sample = ''] = /^```ts\n(.*?)^```$/ms.exec(read('docs/serving.md')) ?? [];
  let program = sample;
  for (const [there, here] of [
    ['/mnt/usb', medium],
    ['0.0.0.0', '127.0.0.1'],
    ['5000', '0'],
    ['@omni-airgap/server', join(root, 'packages/server/src/index.ts')],
  ] as const) {
    expect(program).toContain(there);
    program = program.replace(there, here);
  }
  writeFileSync(join(folder, 'sample.ts'), program);
  const child = spawn(process.execPath, ['sample.ts'], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  await expect.poll(() => output, { timeout: 30_000 }).toMatch(/^http:\/\/127\.0\.0\.1:\d+ ok \[\] \[\]$/m);
  const [url = ''] = /^http\S+/m.exec(output) ?? [];
  const pulled = await fetch(`${url}/v2/a/b/manifests/v1`);
  expect(pulled.headers.get('docker-content-digest')).toBe(manifest.digest);
  await expect.poll(() => output).toContain("path: '/v2/a/b/manifests/v1'");
  child.kill('SIGTERM');
  expect(await new Promise((resolve) => child.once('exit', resolve))).toBe(0);
});

/** The media and certificates that doubles of the outside world hand out. */
import { statSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:tls';
import { expect, onTestFinished, test } from 'vitest';
import { command } from './command.ts';
import { makeMedia, mediaCommands } from './media.ts';
import { testWith } from './service-test.ts';
import { temporaryFolder } from './temporary.ts';
import { makeCertificates } from './tls.ts';

testWith(mediaCommands, 'media: an ISO that boots, with kernel and initramfs in it', async () => {
  const { files, dispose } = await makeMedia();
  onTestFinished(dispose);
  const iso = files['metal-amd64.iso'];
  const report = await command('xorriso', [
    '-indev',
    iso,
    '-report_el_torito',
    'plain',
    '-find',
    '/',
    '-type',
    'f',
  ]);
  expect(report).toMatch(/El Torito boot img.*BIOS/);
  expect(report).toContain("'/initramfs-amd64.xz'");
  const kernel = statSync(files['kernel-amd64']).size;
  expect(kernel).toBe(4 * 1024 * 1024);
  expect(statSync(iso).size).toBeGreaterThan(kernel + statSync(files['initramfs-amd64.xz']).size);
  expect(await command('bsdtar', ['-tf', files['initramfs-amd64.xz']])).toContain('bin/busybox');
});

testWith(
  ['openssl'],
  'certificates: a client that trusts the authority accepts the server by name',
  async () => {
    const certificates = await makeCertificates('factory.talos.dev', '127.0.0.1');
    onTestFinished(certificates.dispose);
    const server = createServer({ cert: certificates.cert, key: certificates.key });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    onTestFinished(() => void server.close());
    const { port } = server.address() as AddressInfo;
    const handshake = (servername: string, ca?: string): Promise<string> =>
      new Promise((resolve) => {
        const socket = connect({ host: '127.0.0.1', port, servername, ...(ca === undefined ? {} : { ca }) });
        socket
          .once('secureConnect', () => resolve('accepted'))
          .once('error', (error) => resolve(codeOf(error)));
        onTestFinished(() => void socket.destroy());
      });
    expect(await handshake('factory.talos.dev', certificates.ca)).toBe('accepted');
    expect(await handshake('ghcr.io', certificates.ca)).toBe('ERR_TLS_CERT_ALTNAME_INVALID');
    expect(await handshake('factory.talos.dev')).toMatch(/UNABLE_TO_VERIFY|SELF_SIGNED/);
  },
);

function codeOf(error: Error): string {
  return 'code' in error ? String(error.code) : error.message;
}

test('a service without its programs names the Debian packages', async () => {
  const path = process.env['PATH'];
  onTestFinished(() => {
    process.env['PATH'] = path;
  });
  process.env['PATH'] = temporaryFolder('no-programs');
  await expect(makeMedia()).rejects.toThrow(
    'not installed: xorriso, busybox-static, libarchive-tools (Debian packages)',
  );
});

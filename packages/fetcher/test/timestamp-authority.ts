/** An authority that stamps the time (RFC 3161): the openssl program, with a certificate of ours. */
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { certified, extension, keyId, pemOf, toBeSigned } from './certificate.ts';
import { bits, der, name, octets, oid, sequence, truth } from './der.ts';

const day = 24 * 60 * 60_000;
const timeStamping = '1.3.6.1.5.5.7.3.8';
const settings = `[tsa]
default_tsa = clock
[clock]
serial = serial
digests = sha256
signer_digest = sha256
default_policy = 1.2.3.4.1
ess_cert_id_alg = sha256
`;

export class TimestampAuthority {
  readonly #root = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  readonly #clock = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  /** What stamps, then the root. */
  readonly chain: readonly Buffer[];

  constructor() {
    const root = this.#root.publicKey.export({ type: 'spki', format: 'der' });
    const clock = this.#clock.publicKey.export({ type: 'spki', format: 'der' });
    const dates = { from: new Date('2024-01-01T00:00:00Z'), to: new Date(Date.now() + 365 * day) };
    const by = extension('2.5.29.35', sequence(der(0x80, keyId(root))));
    const clockExtensions = [
      extension('2.5.29.15', bits(Buffer.from([0x80]), 7), true),
      extension('2.5.29.37', sequence(oid(timeStamping)), true),
      extension('2.5.29.14', octets(keyId(clock))),
      by,
    ];
    const rootExtensions = [
      extension('2.5.29.15', bits(Buffer.from([0x06]), 1), true),
      extension('2.5.29.19', sequence(truth()), true),
      extension('2.5.29.14', octets(keyId(root))),
      by,
    ];
    const issued = { ...dates, issuer: 'time root' };
    this.chain = [
      toBeSigned({ ...issued, subject: name('clock'), key: clock, extensions: clockExtensions }),
      toBeSigned({ ...issued, subject: name('time root'), key: root, extensions: rootExtensions }),
    ].map((tbs) => certified(tbs, this.#root.privateKey));
  }

  /** That the bytes were there at this moment. */
  stamp(bytes: Buffer): Buffer {
    const folder = mkdtempSync(join(tmpdir(), 'omni-airgap-clock-'));
    try {
      const put = (file: string, content: string | Buffer): void =>
        writeFileSync(join(folder, file), content);
      const [clock, root] = this.chain.map(pemOf);
      put('settings', settings);
      put('serial', '01\n');
      put('bytes', bytes);
      put('clock.pem', clock ?? '');
      put('root.pem', root ?? '');
      put('key.pem', this.#clock.privateKey.export({ type: 'pkcs8', format: 'pem' }));
      const openssl = (...args: readonly string[]): void => {
        execFileSync('openssl', ['ts', ...args], { cwd: folder, stdio: 'pipe' });
      };
      openssl('-query', '-data', 'bytes', '-sha256', '-cert', '-out', 'query');
      const signer = ['-signer', 'clock.pem', '-inkey', 'key.pem', '-chain', 'root.pem'];
      openssl('-reply', '-config', 'settings', '-queryfile', 'query', ...signer, '-out', 'reply');
      return readFileSync(join(folder, 'reply'));
    } finally {
      rmSync(folder, { recursive: true });
    }
  }
}

/**
 * A Sigstore of our own: an authority that certifies identities (Fulcio), its certificate log, a signature log (Rekor, both versions),
 * a clock, and a trusted_root.json that says so. Every part of a signature can be made wrong, each on its own.
 * Sources: RFC 5280; RFC 6962 3.2; sigstore/fulcio docs/certificate-specification.md; sigstore/rekor pkg/types;
 * sigstore/protobuf-specs; C2SP tlog-checkpoint.
 */
import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { certified, extension, keyId, pemOf, toBeSigned } from './certificate.ts';
import { bits, der, name, octets, oid, sequence, truth, utf8 } from './der.ts';
import { TimestampAuthority } from './timestamp-authority.ts';

export const claimType = 'application/vnd.dev.cosign.simplesigning.v1+json';
export const bundleType = 'application/vnd.dev.sigstore.bundle.v0.3+json';

export interface Signing {
  /** A mail address, or a URI. */
  readonly identity?: string;
  readonly issuer?: string;
  /** When it is signed, and when the certificate is issued; the latter is good for ten minutes. */
  readonly at?: Date;
  readonly certifiedAt?: Date;
  readonly sct?: 'good' | 'bad' | 'none';
  /** Extended key usage of the certificate; default: signing code. */
  readonly usage?: string;
  /** What the log entry says instead. */
  readonly entry?: (body: string) => string;
  /** The log's signature on it. */
  readonly set?: (signature: Buffer) => Buffer;
  /** What is signed instead. */
  readonly signs?: (bytes: Buffer) => Buffer;
  /** Version of the signature log; default 1. The second promises no time, so a time stamp goes along. */
  readonly log?: 1 | 2;
  /** The kind of entry in the second log; default hashedrekord, the only one that it still takes. */
  readonly kind?: 'hashedrekord' | 'dsse';
  /** What the time stamp is over instead. */
  readonly stamps?: (signature: Buffer) => Buffer;
  /** Another authority's certificate. */
  readonly certifiedBy?: Authority;
}

interface Logged {
  readonly envelope: object;
  readonly payload: Buffer;
  readonly signed: Buffer;
  readonly certificate: Buffer;
  readonly signature: Buffer;
}
interface Pair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}
const pair = (): Pair => generateKeyPairSync('ec', { namedCurve: 'P-256' });
const sha256 = (...bytes: readonly Uint8Array[]): Buffer => {
  const hash = createHash('sha256');
  for (const one of bytes) hash.update(one);
  return hash.digest();
};
const spkiOf = ({ publicKey }: Pair): Buffer => publicKey.export({ type: 'spki', format: 'der' });
const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
const minutes = (n: number): number => n * 60_000;

const codeSigning = '1.3.6.1.5.5.7.3.3';

export class Authority {
  readonly #root = pair();
  readonly #intermediate = pair();
  readonly #certificateLog = pair();
  readonly #log = pair();
  readonly #clock = new TimestampAuthority();
  readonly #born = new Date('2024-01-01T00:00:00Z');

  /** trusted_root.json */
  trustedRoot(): Record<string, unknown> {
    const log = (baseUrl: string, key: Pair) => ({
      baseUrl,
      hashAlgorithm: 'SHA2_256',
      publicKey: {
        rawBytes: base64(spkiOf(key)),
        keyDetails: 'PKIX_ECDSA_P256_SHA_256',
        validFor: { start: this.#born.toISOString() },
      },
      logId: { keyId: base64(sha256(spkiOf(key))) },
    });
    return {
      mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
      tlogs: [log('https://rekor.example', this.#log)],
      certificateAuthorities: [
        {
          subject: { organization: 'example', commonName: 'root' },
          uri: 'https://fulcio.example',
          certChain: { certificates: this.#chain().map((raw) => ({ rawBytes: base64(raw) })) },
          validFor: { start: this.#born.toISOString() },
        },
      ],
      ctlogs: [log('https://ct.example', this.#certificateLog)],
      timestampAuthorities: [
        {
          subject: { organization: 'example', commonName: 'clock' },
          uri: 'https://time.example',
          certChain: { certificates: this.#clock.chain.map((raw) => ({ rawBytes: base64(raw) })) },
          validFor: { start: this.#born.toISOString() },
        },
      ],
    };
  }

  /** Annotations of the layer that holds the payload, as cosign 2 writes them. */
  annotations(payload: Buffer, options: Signing = {}): Record<string, string> {
    const { signature, certificate } = this.#signed(payload, options);
    const pem = pemOf(certificate);
    const entry = this.#entry(
      {
        apiVersion: '0.0.1',
        kind: 'hashedrekord',
        spec: {
          data: { hash: { algorithm: 'sha256', value: sha256(payload).toString('hex') } },
          signature: { content: base64(signature), publicKey: { content: base64(Buffer.from(pem)) } },
        },
      },
      options,
    );
    return {
      'dev.cosignproject.cosign/signature': base64(signature),
      'dev.sigstore.cosign/certificate': pem,
      'dev.sigstore.cosign/chain': this.#chain().map(pemOf).join(''),
      'dev.sigstore.cosign/bundle': JSON.stringify({
        SignedEntryTimestamp: base64(entry.set),
        Payload: {
          body: base64(entry.body),
          integratedTime: entry.seconds,
          logIndex: entry.index,
          logID: entry.logId.toString('hex'),
        },
      }),
    };
  }

  /** A bundle around a statement, as cosign 3 writes it. */
  bundle(statement: string, options: Signing = {}): Record<string, unknown> {
    const payloadType = 'application/vnd.in-toto+json';
    const payload = Buffer.from(statement);
    const head = `DSSEv1 ${payloadType.length} ${payloadType} ${payload.length} `;
    const { signature, certificate } = this.#signed(Buffer.concat([Buffer.from(head), payload]), options);
    const envelope = { payload: base64(payload), payloadType, signatures: [{ sig: base64(signature) }] };
    const logged = {
      envelope,
      payload,
      certificate,
      signature,
      signed: Buffer.concat([Buffer.from(head), payload]),
    };
    return {
      mediaType: bundleType,
      verificationMaterial: {
        certificate: { rawBytes: base64(certificate) },
        ...(options.log === 2 ? this.#secondLog(logged, options) : this.#firstLog(logged, options)),
      },
      dsseEnvelope: envelope,
    };
  }

  #firstLog(
    { envelope, payload, certificate, signature }: Logged,
    options: Signing,
  ): Record<string, unknown> {
    const hashOf = (bytes: Uint8Array) => ({ algorithm: 'sha256', value: sha256(bytes).toString('hex') });
    const entry = this.#entry(
      {
        apiVersion: '0.0.1',
        kind: 'dsse',
        spec: {
          envelopeHash: hashOf(Buffer.from(JSON.stringify(envelope))),
          payloadHash: hashOf(payload),
          signatures: [{ signature: base64(signature), verifier: base64(Buffer.from(pemOf(certificate))) }],
        },
      },
      options,
    );
    const tlogEntry = {
      logIndex: String(entry.index),
      logId: { keyId: base64(entry.logId) },
      kindVersion: { kind: 'dsse', version: '0.0.1' },
      integratedTime: String(entry.seconds),
      inclusionPromise: { signedEntryTimestamp: base64(entry.set) },
      inclusionProof: this.#proof(entry.body, 'rekor.example - 1'),
      canonicalizedBody: base64(entry.body),
    };
    return { tlogEntries: [tlogEntry] };
  }

  #secondLog({ payload, signed, certificate, signature }: Logged, options: Signing): Record<string, unknown> {
    const { kind = 'hashedrekord', stamps = (bytes) => bytes } = options;
    const verifier = {
      keyDetails: 'PKIX_ECDSA_P256_SHA_256',
      x509Certificate: { rawBytes: base64(certificate) },
    };
    const one = { content: base64(signature), verifier };
    const hashOf = (bytes: Uint8Array) => ({ algorithm: 'SHA2_256', digest: base64(sha256(bytes)) });
    const spec =
      kind === 'dsse'
        ? { dsseV002: { payloadHash: hashOf(payload), signatures: [one] } }
        : { hashedRekordV002: { data: hashOf(signed), signature: one } };
    const { body, logId } = this.#entry({ apiVersion: '0.0.2', kind, spec }, options);
    const tlogEntry = {
      logIndex: '1',
      logId: { keyId: base64(logId) },
      kindVersion: { kind, version: '0.0.2' },
      inclusionProof: this.#proof(body, 'rekor.example', options.set),
      canonicalizedBody: base64(body),
    };
    const signedTimestamp = base64(this.#clock.stamp(stamps(signature)));
    return {
      tlogEntries: [tlogEntry],
      timestampVerificationData: { rfc3161Timestamps: [{ signedTimestamp }] },
    };
  }

  /** Root, and what it lets certify identities; the latter comes first. */
  #chain(): readonly Buffer[] {
    const to = new Date(this.#born.getTime() + minutes(10 * 365 * 24 * 60));
    const authority = (issuer: string, subject: string, key: Pair, by: Pair): Buffer =>
      certified(
        toBeSigned({
          issuer,
          subject: name(subject),
          from: this.#born,
          to,
          key: spkiOf(key),
          extensions: [
            extension('2.5.29.15', bits(Buffer.from([0x06]), 1), true),
            extension('2.5.29.19', sequence(truth()), true),
            extension('2.5.29.14', octets(keyId(spkiOf(key)))),
            extension('2.5.29.35', sequence(der(0x80, keyId(spkiOf(by))))),
          ],
        }),
        by.privateKey,
      );
    return [
      authority('root', 'intermediate', this.#intermediate, this.#root),
      authority('root', 'root', this.#root, this.#root),
    ];
  }

  #certificate(key: Buffer, options: Signing): Buffer {
    const {
      identity = 'somebody@example.com',
      issuer = 'https://accounts.example',
      at = new Date(),
    } = options;
    const { certifiedAt = new Date(at.getTime() - minutes(1)), sct = 'good', usage = codeSigning } = options;
    const extensions = [
      extension('2.5.29.15', bits(Buffer.from([0x80]), 7), true),
      extension('2.5.29.37', sequence(oid(usage))),
      extension('2.5.29.14', octets(keyId(key))),
      extension('2.5.29.35', sequence(der(0x80, keyId(spkiOf(this.#intermediate))))),
      extension(
        '2.5.29.17',
        sequence(der(identity.includes('://') ? 0x86 : 0x81, Buffer.from(identity))),
        true,
      ),
      extension('1.3.6.1.4.1.57264.1.1', Buffer.from(issuer)),
      extension('1.3.6.1.4.1.57264.1.8', utf8(issuer)),
    ];
    const to = new Date(certifiedAt.getTime() + minutes(10));
    const draft = { issuer: 'intermediate', subject: sequence(), from: certifiedAt, to, key, extensions };
    const list = this.#certificateTimestamp(toBeSigned(draft), certifiedAt, sct === 'bad');
    const logged = extension('1.3.6.1.4.1.11129.2.4.2', octets(list));
    const all = sct === 'none' ? extensions : [...extensions, logged];
    return certified(toBeSigned({ ...draft, extensions: all }), this.#intermediate.privateKey);
  }

  /** What the certificate log promises, as the list that goes into the certificate. */
  #certificateTimestamp(tbs: Buffer, at: Date, isBad: boolean): Buffer {
    const milliseconds = Buffer.alloc(8);
    milliseconds.writeBigUInt64BE(BigInt(at.getTime()));
    const length = Buffer.alloc(4);
    length.writeUInt32BE(tbs.length);
    const issuer = sha256(spkiOf(this.#intermediate));
    const none = Buffer.alloc(2);
    const signed = [
      Buffer.alloc(2),
      milliseconds,
      Buffer.from([0, 1]),
      issuer,
      length.subarray(1),
      tbs,
      none,
    ];
    const signature = sign(
      'sha256',
      Buffer.concat(isBad ? signed.slice(1) : signed),
      this.#certificateLog.privateKey,
    );
    const logId = sha256(spkiOf(this.#certificateLog));
    const sha256WithEcdsa = Buffer.from([4, 3]);
    const version = Buffer.alloc(1);
    const promise = [version, logId, milliseconds, none, sha256WithEcdsa, withLength(signature)];
    return withLength(withLength(Buffer.concat(promise)));
  }

  #signed(bytes: Buffer, options: Signing): { signature: Buffer; certificate: Buffer } {
    const key = pair();
    const signature = sign('sha256', options.signs?.(bytes) ?? bytes, key.privateKey);
    const authority = options.certifiedBy ?? this;
    return { signature, certificate: authority.#certificate(spkiOf(key), options) };
  }

  #entry(
    body: object,
    { at = new Date(), entry = String, set = (signature) => signature }: Signing,
  ): { body: Buffer; seconds: number; index: number; logId: Buffer; set: Buffer } {
    const bytes = Buffer.from(entry(JSON.stringify(body)));
    const logId = sha256(spkiOf(this.#log));
    const seconds = Math.floor(at.getTime() / 1000);
    const index = 4711;
    const promised = {
      body: base64(bytes),
      integratedTime: seconds,
      logID: logId.toString('hex'),
      logIndex: index,
    };
    const signature = sign('sha256', Buffer.from(JSON.stringify(promised)), this.#log.privateKey);
    return { body: bytes, seconds, index, logId, set: set(signature) };
  }

  /** That the entry is the second of two in the log. */
  #proof(body: Buffer, origin: string, change = (signature: Buffer) => signature): Record<string, unknown> {
    const sibling = sha256(Buffer.from('the first'));
    const root = sha256(Buffer.from([1]), sibling, sha256(Buffer.from([0]), body));
    const note = `${origin}\n2\n${base64(root)}\n`;
    const hint = sha256(spkiOf(this.#log)).subarray(0, 4);
    const signature = Buffer.concat([hint, change(sign('sha256', Buffer.from(note), this.#log.privateKey))]);
    return {
      logIndex: '1',
      rootHash: base64(root),
      treeSize: '2',
      hashes: [base64(sibling)],
      checkpoint: { envelope: `${note}\n\u2014 rekor.example ${base64(signature)}\n` },
    };
  }
}

function withLength(bytes: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** What cosign 3 states of an image. */
export function signStatement(digest: string, predicateType = 'https://sigstore.dev/cosign/sign/v1'): string {
  const subject = [{ digest: { sha256: digest.replace('sha256:', '') } }];
  return JSON.stringify({ _type: 'https://in-toto.io/Statement/v1', predicateType, predicate: {}, subject });
}

/** What cosign 2 signs. */
export function claimOf(digest: string, repository: string): string {
  return `{"critical":{"identity":{"docker-reference":"${repository}"},"image":{"docker-manifest-digest":"${digest}"},"type":"cosign container image signature"},"optional":null}`;
}

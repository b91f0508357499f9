import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run, temporaryFolder } from '@omni-airgap/oci/testing';
import { describe, expect, test } from 'vitest';
import { fingerprintOf, parsePrivateKey, parsePublicKeys, signBytes, verifyBytes } from '../src/signature.ts';

const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const other = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const publicPem = pair.publicKey.export({ type: 'spki', format: 'pem' }).toString();
const privatePem = pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
const bytes = Buffer.from('{"kind":"omni-airgap/bundle"}\n');
const badSignature = expect.objectContaining({ code: 'BAD_SIGNATURE' });
const badKey = expect.objectContaining({ code: 'CONFIG' });
const verify = (signature: string, key: KeyObject = pair.publicKey, data: Uint8Array = bytes): KeyObject =>
  verifyBytes(data, signature, [key], 'bundle.json.sig');

describe('a signature', () => {
  test('verifies with the public key of the one who signed, and no other', () => {
    const signature = signBytes(bytes, pair.privateKey);
    expect(signature).toMatch(/^[A-Za-z0-9+/]+={0,2}\n$/);
    expect(() => verify(signature)).not.toThrow();
    expect(() => verify(signature, other.publicKey)).toThrow(badSignature);
    expect(() => verify(signature, pair.publicKey, Buffer.concat([bytes, Buffer.from(' ')]))).toThrow(
      badSignature,
    );
  });

  test('is what openssl verifies, and what openssl signs verifies', async () => {
    const folder = await temporaryFolder();
    const file = (name: string): string => join(folder, name);
    await writeFile(file('data'), bytes);
    await writeFile(file('key.pub'), publicPem);
    await writeFile(file('key'), privatePem);
    await writeFile(file('sig'), Buffer.from(signBytes(bytes, pair.privateKey), 'base64'));
    const openssl = (...args: string[]): string => run('openssl', args, { cwd: folder }).toString();
    const verified = openssl('dgst', '-sha256', '-verify', 'key.pub', '-signature', 'sig', 'data');
    expect(verified).toContain('Verified OK');
    openssl('dgst', '-sha256', '-sign', 'key', '-out', 'theirs', 'data');
    const theirs = run('base64', ['-w0', 'theirs'], { cwd: folder }).toString();
    expect(() => verify(theirs)).not.toThrow();
  });

  test.each([
    ['nothing', () => ''],
    ['text that is no base64', () => '!!!'],
    ['characters that decoders skip', (s: string) => `${s.slice(0, 10)}\n${s.slice(10)}`],
    ['characters after the end', (s: string) => `${s.trim()}####`],
    ['URL-safe base64 of the same bytes', (s: string) => s.trim().replace(/=*$/, '~')],
    [
      'a padding character left out or added',
      (s: string) => (s.includes('=') ? s.replace('=', '') : `${s.trim()}=`),
    ],
    ['the raw form of the signature', () => Buffer.alloc(64, 1).toString('base64')],
    ['twice the same', (s: string) => s.trim() + s.trim()],
    ['a megabyte', () => 'A'.repeat(1_000_000)],
  ])('is refused when it is %s', (_what, change) => {
    const signature = signBytes(bytes, pair.privateKey);
    expect(() => verify(change(signature))).toThrow(badSignature);
  });

  test('is refused when any bit of it is flipped', () => {
    const der = Buffer.from(signBytes(bytes, pair.privateKey), 'base64');
    for (let at = 0; at < der.byteLength; at++) {
      for (const bit of [1, 128]) {
        const flipped = Buffer.from(der);
        flipped[at] = (flipped[at] ?? 0) ^ bit;
        expect(() => verify(flipped.toString('base64'))).toThrow(badSignature);
      }
    }
  });
});

describe('a public key', () => {
  test('is a PEM block of a P-256 key; a file may hold several', () => {
    const otherPem = other.publicKey.export({ type: 'spki', format: 'pem' }).toString();
    const named = (pem: string): readonly string[] => parsePublicKeys(pem, 'site.pub').map(fingerprintOf);
    const [one, two] = [fingerprintOf(pair.publicKey), fingerprintOf(other.publicKey)];
    expect(named(publicPem)).toEqual([one]);
    expect(named(`a comment\n${publicPem}\n`)).toEqual([one]);
    expect(named(publicPem.replaceAll('\n', '\r\n'))).toEqual([one]);
    expect(named(`2025:\n${publicPem}2026:\n${otherPem}${publicPem}`)).toEqual([one, two]);
    const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey;
    const ed25519 = generateKeyPairSync('ed25519').publicKey;
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey;
    const pems = [p384, ed25519, rsa].map((key) => key.export({ type: 'spki', format: 'pem' }).toString());
    const damaged = publicPem.replace(/[A-Z]{3}/, '***');
    const cut = publicPem.slice(0, -40);
    for (const pem of [
      '',
      'x',
      privatePem,
      publicPem + privatePem,
      damaged,
      otherPem + damaged,
      cut,
      ...pems,
    ]) {
      expect(() => parsePublicKeys(pem, 'site.pub')).toThrow(badKey);
      expect(() => parsePublicKeys(pem, 'site.pub')).toThrow(/^site\.pub: /);
    }
  });

  test('is one of several that may have signed; the one that did is named', () => {
    const signature = signBytes(bytes, other.privateKey);
    const keys = [pair.publicKey, other.publicKey];
    expect(verifyBytes(bytes, signature, keys, 'bundle.json.sig')).toBe(other.publicKey);
    const neither = /with any of the keys [a-f0-9]{16}, [a-f0-9]{16};/;
    expect(() => verifyBytes(bytes.subarray(1), signature, keys, 'bundle.json.sig')).toThrow(neither);
  });

  test('is named by the hash of its DER form', () => {
    const der = pair.publicKey.export({ type: 'spki', format: 'der' });
    const expected = run('sha256sum', [], { input: der }).toString().slice(0, 64);
    expect(fingerprintOf(pair.publicKey)).toBe(expected);
    expect(fingerprintOf(pair.privateKey)).toBe(expected);
  });
});

describe('a private key', () => {
  test('may be PKCS#8, SEC 1, or as openssl ecparam writes it', () => {
    const sec1 = pair.privateKey.export({ type: 'sec1', format: 'pem' }).toString();
    const ecparam = run('openssl', ['ecparam', '-name', 'prime256v1', '-genkey']).toString();
    expect(ecparam).toContain('EC PARAMETERS');
    for (const pem of [privatePem, sec1]) {
      const key = parsePrivateKey(pem, 'site.key');
      expect(createPublicKey(key).equals(pair.publicKey)).toBe(true);
    }
    expect(() => parsePrivateKey(ecparam, 'site.key')).not.toThrow();
  });

  test('that is encrypted needs its passphrase', () => {
    const options = {
      type: 'pkcs8',
      format: 'pem',
      cipher: 'aes-256-cbc',
      passphrase: 'correct horse',
    } as const;
    const pem = pair.privateKey.export(options).toString();
    expect(createPublicKey(parsePrivateKey(pem, 'site.key', 'correct horse')).equals(pair.publicKey)).toBe(
      true,
    );
    for (const wrong of [undefined, '', 'battery staple']) {
      expect(() => parsePrivateKey(pem, 'site.key', wrong)).toThrow(badKey);
      expect(() => parsePrivateKey(pem, 'site.key', wrong)).toThrow('OMNI_AIRGAP_KEY_PASSPHRASE');
    }
  });

  test('of another kind is refused, and no message shows key material', () => {
    const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey;
    const ed25519 = generateKeyPairSync('ed25519').privateKey;
    const pems = [p384, ed25519].map((key) => key.export({ type: 'pkcs8', format: 'pem' }).toString());
    for (const pem of ['', 'hello', publicPem, privatePem.slice(0, 100), ...pems]) {
      let message = '';
      try {
        parsePrivateKey(pem, 'site.key');
      } catch (error) {
        expect(error).toMatchObject({ code: 'CONFIG' });
        message = String(error);
      }
      expect(message).toContain('site.key');
      for (const line of pem.split('\n').filter((text) => /^[A-Za-z0-9+/=]{16,}$/.test(text))) {
        expect(message).not.toContain(line);
      }
    }
  });
});

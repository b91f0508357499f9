/** keygen: the P-256 key pair that bundles are signed with. */
import { generateKeyPairSync } from 'node:crypto';
import { lstat, rm } from 'node:fs/promises';
import { fingerprintOf } from '@omni-airgap/format';
import { CodedError, systemCodeOf } from '@omni-airgap/oci/base';
import { diskError, writeNewFile } from '@omni-airgap/oci/fs';

export interface KeyPair {
  readonly privateKey: string;
  readonly publicKey: string;
  /** Hex sha256 of the public key's DER. */
  readonly fingerprint: string;
}

/**
 * Writes `NAME.key` (PKCS#8 PEM, readable by its owner only) and `NAME.pub` (PEM).
 * @param passphrase encrypts the private key with AES-256 when given
 * @returns the two paths
 * @throws CONFLICT when one of the files is there, DISK
 */
export async function keygen(name: string, passphrase?: string): Promise<KeyPair> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const cipher = passphrase === undefined ? {} : { cipher: 'aes-256-cbc', passphrase };
  const paths = { privateKey: `${name}.key`, publicKey: `${name}.pub` };
  for (const path of Object.values(paths)) await refuseThere(path);
  await writeNew(paths.privateKey, privateKey.export({ type: 'pkcs8', format: 'pem', ...cipher }), 0o600);
  try {
    await writeNew(paths.publicKey, publicKey.export({ type: 'spki', format: 'pem' }), 0o644);
  } catch (error) {
    // One half of a pair would be in the way of the next attempt.
    await rm(paths.privateKey, { force: true }).catch(() => {});
    throw error;
  }
  return { ...paths, fingerprint: fingerprintOf(publicKey) };
}

async function writeNew(path: string, text: string | Buffer, mode: number): Promise<void> {
  if (!(await writeNewFile(path, text, mode))) throw isThere(path);
}

/** Before anything is written, so that neither half of a pair is left alone. @throws CONFLICT, DISK */
async function refuseThere(path: string): Promise<void> {
  try {
    await lstat(path);
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return;
    throw diskError(error, path);
  }
  throw isThere(path);
}

function isThere(path: string): CodedError {
  return new CodedError(
    'CONFLICT',
    `${path}: already exists; keys are never overwritten, name another file with --out`,
  );
}

/** Keys that commands are given as files. */
import type { KeyObject } from 'node:crypto';
import { type BundleTrust, parsePrivateKey, parsePublicKey } from '@omni-airgap/format';
import { CodedError } from '@omni-airgap/oci/base';
import { readNamedFile } from '@omni-airgap/oci/fs';
import type { Session } from './session.ts';

/** Where the passphrase of a private key comes from: never the command line, which others can see. */
export const passphraseVariable = 'OMNI_AIRGAP_KEY_PASSPHRASE';

export async function readPrivateKey(flag: string, path: string, env: Session['env']): Promise<KeyObject> {
  return parsePrivateKey(await readPem(flag, path), path, passphraseOf(env));
}

/** @throws CONFIG when it is empty: whoever meant to set one would get a key that anybody can use */
export function passphraseOf(env: Session['env']): string | undefined {
  const passphrase = env[passphraseVariable];
  if (passphrase === '') throw new CodedError('CONFIG', `${passphraseVariable} is empty: set or unset it`);
  return passphrase;
}

/** The key of `--verify-key`. @throws CONFIG, NO_INPUT */
export async function readPublicKey(path: string): Promise<KeyObject> {
  return parsePublicKey(await readPem('--verify-key', path), path);
}

/** What a bundle is trusted by. @throws UNSIGNED when neither a key nor the permission is given */
export async function readTrust(verifyKey: string | undefined, allowUnsigned: boolean): Promise<BundleTrust> {
  if (verifyKey !== undefined) {
    return { mode: 'signed', key: await readPublicKey(verifyKey) };
  }
  if (allowUnsigned) return { mode: 'any' };
  throw new CodedError(
    'UNSIGNED',
    "the bundle's signature must be checked: pass --verify-key PUB, or --allow-unsigned to accept it from anyone",
  );
}

async function readPem(flag: string, path: string): Promise<string> {
  return (await readNamedFile(flag, path, 64 * 1024)).toString('latin1');
}

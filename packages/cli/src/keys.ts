/** Keys that commands are given as files. */
import type { KeyObject } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { type BundleTrust, fingerprintOf, parsePrivateKey, parsePublicKeys } from '@omni-airgap/format';
import { CodedError } from '@omni-airgap/oci/base';
import { readNamedFile } from '@omni-airgap/oci/fs';
import { type CommonFlags, passphraseOf, type Session } from './session.ts';

/** @param flags of the command: with `--quiet`, no note is written @throws CONFIG, NO_INPUT */
export async function readPrivateKey(
  flag: string,
  path: string,
  session: Session,
  flags: CommonFlags,
): Promise<KeyObject> {
  const key = parsePrivateKey(await readPem(flag, path), path, passphraseOf(session.env));
  await noteExposed(flag, path, session, flags, 0o077);
  return key;
}

/**
 * Notes a private key that other users of this host can access. Unlike ssh, which refuses it: on FAT every file is so.
 * @param path undefined where no key was specified
 * @param bits those of the mode that expose it; by default not those of its group, since TLS keys often have one of their own
 */
export async function noteExposed(
  flag: string,
  path: string | undefined,
  { output }: Session,
  { quiet }: CommonFlags,
  bits = 0o007,
): Promise<void> {
  if (path === undefined || quiet === true) return;
  const info = await stat(path).catch(() => undefined);
  if (info?.isFile() !== true || (info.mode & bits) === 0) return;
  const mode = (info.mode & 0o777).toString(8).padStart(4, '0');
  output.stderr(
    `omni-airgap: ${flag} ${path}: other users can access this private key (mode ${mode}); chmod 600 it\n`,
  );
}

/** The keys of `--verify-key`, each once. @param paths files that hold one or more @throws CONFIG, NO_INPUT */
export async function readPublicKeys(paths: readonly string[]): Promise<readonly KeyObject[]> {
  const keys = new Map<string, KeyObject>();
  for (const path of paths) {
    for (const key of parsePublicKeys(await readPem('--verify-key', path), path))
      keys.set(fingerprintOf(key), key);
  }
  return [...keys.values()];
}

/**
 * What bundles are trusted by.
 * @param verifyKeys paths of public keys, any of which may have signed
 * @throws UNSIGNED when neither a key nor the permission is given; CONFIG, NO_INPUT
 */
export async function readTrust(verifyKeys: readonly string[], allowUnsigned: boolean): Promise<BundleTrust> {
  if (verifyKeys.length > 0) return { mode: 'signed', keys: await readPublicKeys(verifyKeys) };
  if (allowUnsigned) return { mode: 'any' };
  throw new CodedError(
    'UNSIGNED',
    "the bundle's signature must be checked: pass --verify-key PUB, or --allow-unsigned to accept it from anyone",
  );
}

async function readPem(flag: string, path: string): Promise<string> {
  return (await readNamedFile(flag, path, 64 * 1024)).toString('latin1');
}

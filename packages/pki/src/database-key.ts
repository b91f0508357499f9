/**
 * The key that Omni encrypts its database with (`--private-key-source`): OpenPGP version 4, RSA-4096, a subkey for
 * encryption, no passphrase, no expiry, as the vendor's guide makes it with gpg. Omni asks for an identity in it.
 * Source: siderolabs/omni internal/backend/runtime/keyprovider; siderolabs/docs run-omni-airgapped; RFC 9580.
 */
import { generateKey } from 'openpgp';

const dayMs = 24 * 60 * 60 * 1000;

/** @param email of the identity @returns the private key, armored */
export async function databaseKey(email: string, now: Date): Promise<string> {
  const { privateKey } = await generateKey({
    type: 'rsa',
    rsaBits: 4096,
    userIDs: [{ name: 'Omni (etcd)', email }],
    format: 'armored',
    // Omni refuses a key from the future, and its host's clock may be behind.
    date: new Date(now.getTime() - dayMs),
    config: { v6Keys: false, aeadProtect: false },
  });
  return privateKey;
}

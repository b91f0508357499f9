/** omni-airgap sign */
import { type SignatureSource, type SignReport, signBundle } from '@omni-airgap/bundler';
import { fingerprintOf, maxSignatureBytes } from '@omni-airgap/format';
import { CodedError } from '@omni-airgap/oci/base';
import { readInput } from '@omni-airgap/oci/fs';
import { Command } from 'commander';
import { collected, withCommon, withExample } from '../flags.ts';
import { readPrivateKey, readPublicKeys } from '../keys.ts';
import { type CommonFlags, report, type Session } from '../session.ts';

interface Flags extends CommonFlags {
  readonly bundle: readonly string[];
  readonly signKey?: string;
  readonly signature?: string;
  readonly verifyKey?: string;
}

export function addSign(session: Session): Command {
  const command = new Command('sign')
    .option('--bundle <dir...>', 'folder of a medium (repeatable: media of one bundle)', collected, [])
    .option('--sign-key <file>', 'sign with this private key, as keygen makes it')
    .option(
      '--signature <file>',
      'write this signature of bundle.json instead: ECDSA P-256 with SHA-256, as DER or its base64',
    )
    .option(
      '--verify-key <file>',
      'the public key that the signature must verify with; required for --signature',
    )
    .addHelpText(
      'after',
      '\nA signature made by openssl:\n  openssl dgst -sha256 -sign site.key -out site.sig /mnt/usb/bundle.json\n  omni-airgap sign --bundle /mnt/usb --signature site.sig --verify-key site.pub\nOr by a device that keeps the key (PKCS#11), which signs the SHA-256:\n  openssl dgst -sha256 -binary -out bundle.sha256 /mnt/usb/bundle.json\n  pkcs11-tool --module MODULE --login --sign --mechanism ECDSA \\\n    --signature-format openssl --label site --input-file bundle.sha256 --output-file site.sig',
    )
    .action(async (flags: Flags) => {
      if (flags.bundle.length === 0) throw new CodedError('USAGE', 'sign needs --bundle DIR');
      const source = await readSource(session, flags);
      await report(session, flags, 'sign', () => signBundle(flags.bundle, source), describeSigned);
    });
  return withExample(withCommon(command), 'omni-airgap sign --bundle /mnt/usb --sign-key site.key');
}

/** @throws USAGE, CONFIG, NO_INPUT */
async function readSource(session: Session, flags: Flags): Promise<SignatureSource> {
  const { signKey, signature, verifyKey } = flags;
  if ((signKey === undefined) === (signature === undefined))
    throw new CodedError('USAGE', 'sign takes either --sign-key KEY or --signature FILE');
  const [verifying, another] = verifyKey === undefined ? [] : await readPublicKeys([verifyKey]);
  if (another !== undefined)
    throw new CodedError(
      'CONFIG',
      `--verify-key ${verifyKey}: holds several keys; sign needs the one that signed`,
    );
  if (signKey !== undefined) {
    const key = await readPrivateKey('--sign-key', signKey, session, flags);
    if (verifying !== undefined && fingerprintOf(verifying) !== fingerprintOf(key)) {
      throw new CodedError(
        'CONFIG',
        `--verify-key ${verifyKey}: is not the public key of --sign-key ${signKey}`,
      );
    }
    return { mode: 'key', key };
  }
  const path = signature ?? '';
  if (verifying === undefined) {
    throw new CodedError(
      'USAGE',
      'sign --signature needs --verify-key PUB: a signature that does not verify is never written',
    );
  }
  const bytes = await readInput('--signature', path, maxSignatureBytes);
  if (bytes === undefined) throw new CodedError('NO_INPUT', `--signature ${path}: no such file`);
  return { mode: 'made', signature: bytes, what: path, key: verifying };
}

function describeSigned({ id, sequence, signedBy, written, replaced }: SignReport): string {
  return [
    `Bundle ${id}, number ${sequence} of its store.`,
    ...replaced.map((folder) => `Replaced the signature of another key in ${folder}.`),
    ...(written.length === 0 ? ['Nothing to do: it has a signature of this key.'] : []),
    `Signed with key ${signedBy.slice(0, 16)}.`,
  ].join('\n');
}

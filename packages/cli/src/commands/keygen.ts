/** omni-airgap keygen */
import { keygen } from '@omni-airgap/bundler';
import { Command } from 'commander';
import { withCommon, withExample } from '../flags.ts';
import { type CommonFlags, passphraseOf, passphraseVariable, report, type Session } from '../session.ts';

export function addKeygen(session: Session): Command {
  const command = new Command('keygen')
    .requiredOption(
      '--out <name>',
      'writes NAME.key (keep it secret) and NAME.pub (carry it inside another way)',
    )
    .addHelpText('after', `\nA passphrase in ${passphraseVariable} encrypts the private key.`)
    .action(async (flags: CommonFlags & { out: string }) => {
      await report(
        session,
        flags,
        'keygen',
        () => keygen(flags.out, passphraseOf(session.env)),
        ({ privateKey, publicKey, fingerprint }) =>
          [
            `Wrote ${privateKey} and ${publicKey}, fingerprint`,
            `${fingerprint}.`,
            `${privateKey} is secret and stays where it signs; ${publicKey} goes to those who check, not on the media that it vouches for.`,
            `Next: omni-airgap bundle --out DIR --sign-key ${privateKey}`,
          ].join('\n'),
      );
    });
  return withExample(withCommon(command), 'omni-airgap keygen --out site');
}

/** omni-airgap bundle */
import { bundle, defaultVolumeSize, parseVolumeSize } from '@omni-airgap/bundler';
import { CodedError } from '@omni-airgap/content';
import { Command } from 'commander';
import { withCommon, withExample } from '../flags.ts';
import { count, formatBytes, formatDuration } from '../format.ts';
import { type CommonFlags, report, type Session } from '../session.ts';
import { tool } from '../version.ts';
import { readPrivateKey } from './keys.ts';

interface Flags extends CommonFlags {
  readonly store: string;
  readonly out: string;
  readonly volumeSize?: string;
  readonly signKey?: string;
  readonly readback: boolean;
}

export function addBundle(session: Session): Command {
  const command = new Command('bundle')
    .description('pack what the store is locked to into volumes on a medium')
    .option('--store <dir>', 'the store', './store')
    .requiredOption('--out <dir>', 'folder on the medium; becomes the bundle')
    .option('--volume-size <size>', 'most bytes of a volume: 4GiB, 700MB, fat32, dvd, bluray', '4GiB')
    .option('--sign-key <file>', 'sign with this private key, as keygen makes it')
    .option('--no-readback', 'do not read everything back after writing')
    .action(async (flags: Flags) => {
      const { store, out } = flags;
      const volumeSize =
        flags.volumeSize === undefined ? defaultVolumeSize : parseVolumeSize(flags.volumeSize);
      const signKey =
        flags.signKey === undefined ? undefined : await readPrivateKey(flags.signKey, session.env);
      await report(
        session,
        flags,
        'bundle',
        (progress) => {
          if (signKey === undefined)
            progress.note('not signed (no --sign-key): load will ask for --allow-unsigned');
          return bundle({
            store,
            out,
            volumeSize,
            ...(signKey === undefined ? {} : { signKey }),
            readBack: flags.readback,
            tool,
            now: creationTime(session.env),
            progress,
            signal: session.signal,
          });
        },
        (result, seconds) => {
          const what = `${count(result.volumes.length, 'volume')}, ${formatBytes(result.bytes)}, ${count(result.names, 'name')}`;
          return [
            result.written
              ? `Bundled ${what} in ${formatDuration(seconds)}.`
              : `Nothing to do: ${out} holds this very bundle already (${what}).`,
            `Id ${result.id}, number ${result.sequence} of this store, ${result.signed ? 'signed' : 'not signed'}.`,
            `Next: omni-airgap verify --bundle ${out}, then carry it across.`,
          ].join('\n');
        },
      );
    });
  return withExample(
    withCommon(command),
    'omni-airgap bundle --store ./store --out /mnt/usb --sign-key site.key',
  );
}

/** Source: reproducible-builds.org SOURCE_DATE_EPOCH specification 1.1: seconds since 1970. */
function creationTime(env: Session['env']): number {
  const text = env['SOURCE_DATE_EPOCH'];
  if (text === undefined) return Date.now();
  if (!/^[0-9]{1,11}$/.test(text))
    throw new CodedError('USAGE', 'SOURCE_DATE_EPOCH must be seconds since 1970');
  return Number(text) * 1000;
}

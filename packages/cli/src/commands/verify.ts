/** omni-airgap verify */
import { verifyStore } from '@omni-airgap/bundler';
import {
  BundleStore,
  CodedError,
  formatBytes,
  type NamedDamage,
  printable,
  verifyBundle,
} from '@omni-airgap/content';
import { Command } from 'commander';
import { withCommon, withExample } from '../flags.ts';
import { count, describeLeft, formatDuration } from '../format.ts';
import { report, type Session } from '../session.ts';
import { type BundleOrStoreFlags, storeToRead, withBundleOrStore } from './bundle-or-store.ts';
import { readTrust } from './keys.ts';

interface Flags extends BundleOrStoreFlags {
  readonly quick?: true;
}

export function addVerify(session: Session): Command {
  const command = withBundleOrStore(new Command('verify'))
    .description('read a bundle or a store completely, and say what is damaged')
    .option('--quick', 'only signature, structure and sizes; do not read the content')
    .action(async (flags: Flags) => {
      const store = storeToRead('verify', flags);
      if (store !== undefined) await checkStore(session, flags, store);
      else await checkBundle(session, flags);
    });
  return withExample(withCommon(command), 'omni-airgap verify --bundle /mnt/usb --verify-key site.pub');
}

async function checkBundle(session: Session, flags: Flags): Promise<void> {
  const trust = await readTrust(flags.verifyKey, true);
  const result = await report(
    session,
    flags,
    'verify',
    async (progress) => {
      const bundle = await BundleStore.open(flags.bundle, trust, { volumes: 'present' });
      const { id, volumes, roots, base } = bundle.document;
      const absent = new Set(bundle.problems.filter((p) => p.size === undefined).map((p) => p.volume));
      const size = volumes.reduce((sum, volume, i) => sum + (absent.has(i) ? 0 : volume.size), 0);
      const depth = flags.quick === true ? 'structure' : 'everything';
      if (depth === 'everything') progress.expect(size);
      const watch = { onBytes: (bytes: number) => progress.advance(bytes), signal: session.signal };
      const check = await verifyBundle(bundle, { depth, ...watch });
      const bases = (base ?? []).map((one) => one.id);
      return {
        id,
        names: roots.length,
        volumes: volumes.length,
        bases,
        size,
        signer: bundle.signer,
        ...check,
      };
    },
    (check, seconds) => {
      const signed =
        check.signer.mode === 'signed'
          ? `signed by ${check.signer.key.slice(0, 16)}`
          : 'signature not checked';
      const damages = check.damages.map(
        (d) => `Damaged: ${d.volume} at byte ${d.offset}: ${d.what}${itemOf(d)}`,
      );
      const absent = check.absent.map((name) => `Not here: ${name}`);
      const unusable =
        damages.length > 0 || absent.length === 0
          ? check.unusable.map((name) => `Not usable: ${printable(name)}`)
          : [`${check.unusable.length} of ${check.names} names need what is not here.`];
      const read =
        flags.quick === true ? 'structure only' : `${formatBytes(check.bytes)} in ${formatDuration(seconds)}`;
      const verdict =
        damages.length > 0
          ? 'DAMAGED'
          : unusable.length + absent.length > 0
            ? 'INCOMPLETE'
            : 'Whole and right';
      const relies = check.bases.map((id) => `Relies on bundle ${id}, which must have been loaded before.`);
      return [
        ...damages,
        ...absent,
        ...unusable,
        ...relies,
        `${verdict}: bundle ${check.id}, ${count(check.volumes, 'volume')}, ${count(check.names, 'name')}, ${read}, ${signed}.`,
      ].join('\n');
    },
  );
  const [damage] = result.damages;
  if (damage !== undefined) {
    const usable = `${result.names - result.unusable.length} of ${result.names} names are still usable`;
    throw new CodedError(
      'BAD_VOLUME',
      `${damage.volume}: ${damage.what}${itemOf(damage)} at byte ${damage.offset}; ${usable}; copy the volume again`,
    );
  }
  const [volume] = result.absent;
  if (volume !== undefined) {
    throw new CodedError(
      'BAD_VOLUME',
      `${volume} is in none of the given folders (what is here is right): add its medium with another --bundle`,
    );
  }
  const [name] = result.unusable;
  if (name !== undefined)
    throw new CodedError('MISSING_CONTENT', `${name}: its content is not all in the bundle`);
}

async function checkStore(session: Session, flags: Flags, store: string): Promise<void> {
  const result = await report(
    session,
    flags,
    'verify',
    (progress) => verifyStore(store, { quick: flags.quick === true, progress, signal: session.signal }),
    (check, seconds) =>
      [
        ...check.damages.map(({ path, what }) => `Damaged: ${path} ${what}`),
        ...check.unusable.map((name) => `Not usable: ${printable(name)}`),
        ...describeLeft(check.left),
        `${check.damages.length === 0 ? 'Whole and right' : 'DAMAGED'}: ${count(check.blobs, 'blob')}, ${formatBytes(check.bytes)} in ${formatDuration(seconds)}.`,
      ].join('\n'),
  );
  const [damage] = result.damages;
  if (damage !== undefined) {
    throw new CodedError(
      'DIGEST_MISMATCH',
      `${damage.path} ${damage.what}; ${count(result.unusable.length, 'name')} cannot be bundled; remove the file and run fetch again`,
    );
  }
}

/** What people know the damaged blob by. */
function itemOf({ names = [] }: NamedDamage): string {
  const [first] = names;
  if (first === undefined) return '';
  return ` of ${printable(first)}${names.length > 1 ? ` and ${names.length - 1} more` : ''}`;
}

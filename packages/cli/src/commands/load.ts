/** omni-airgap load */

import { dryRun, type LoadOptions, type LoadSource, load, openBundles, readSite } from '@omni-airgap/loader';
import { CodedError } from '@omni-airgap/oci/base';
import { Command, InvalidArgumentError, Option } from 'commander';
import {
  collected,
  insideProxy,
  maxAgeOption,
  verifyKeyOption,
  withClientCertificate,
  withCommon,
  withExample,
  withS3,
  withTransfers,
} from '../flags.ts';
import { noteExposed, readPrivateKey, readTrust } from '../keys.ts';
import { describeLoad, describePlan, requireComplete } from '../load-view.ts';
import type { ProgressView } from '../progress-view.ts';
import { boundGarbage, type CommonFlags, defaultState, report, type Session, tool } from '../session.ts';
import { readTargets, type TargetFlags } from '../targets.ts';

interface Flags extends CommonFlags, TargetFlags {
  readonly bundle: readonly string[];
  readonly store?: string;
  readonly verifyKey: readonly string[];
  readonly allowUnsigned?: true;
  readonly maxAge?: number;
  readonly allowRollback?: true;
  readonly newOrigin?: string;
  readonly overwriteTags?: true;
  readonly keepHost?: true;
  readonly flatten?: true;
  readonly trimIndexes?: true;
  readonly verify?: 'full' | 'quick';
  readonly only: readonly string[];
  readonly except: readonly string[];
  readonly dryRun?: true;
  readonly receipt?: string;
  readonly state?: string;
  readonly spool?: string;
  readonly resignKey?: string;
  readonly site?: string;
  readonly handoff: string;
}

export function addLoad(session: Session): Command {
  const command = new Command('load')
    .optionsGroup('What to load:')
    .option(
      '--bundle <dir...>',
      'folder of a medium (repeatable: several discs, or a bundle and its increments)',
      collected,
      [],
    )
    .option(
      '--store <dir>',
      'load straight from a store instead, where it can reach the site; needs --allow-unsigned',
    )
    .addOption(verifyKeyOption())
    .option('--allow-unsigned', 'accept an unsigned bundle (recorded in the receipt)')
    .addOption(maxAgeOption())
    .option(
      '--allow-rollback',
      'take a bundle that is older than one that was loaded here, or far ahead of it',
    )
    .addOption(
      new Option(
        '--new-origin <id>',
        'accept the first bundle of this store beside those of others (the ID that bundle printed outside; once)',
      ).argParser(parseOrigin),
    )
    .option(
      '--only <pattern>',
      'load only names and object keys that match; * stands for any text (repeatable)',
      collected,
      [],
    )
    .option('--except <pattern>', 'leave out names and object keys that match (repeatable)', collected, [])
    .option('--spool <dir>', 'keep parts of files that lie on two discs here until the other disc is mounted')
    .optionsGroup('Targets:')
    .option('--registry <host[/prefix]>', 'registry for images and artifacts')
    .option('--keep-host', 'keep the registry host in the path: REGISTRY/ghcr.io/siderolabs/omni')
    .option('--object-store <url>', 'place for Talos media: s3://BUCKET[/PREFIX] or file:///DIR');
  withS3(command)
    .optionsGroup('How to load:')
    .option('--overwrite-tags', 'replace image tags that stand for something else in the registry')
    .option(
      '--flatten',
      'where one platform of an index is carried, tag that image (its digest is not the index’s)',
    )
    .option(
      '--trim-indexes',
      'where some platforms of an index are carried, tag an index of these (its digest is another one)',
    )
    .addOption(
      new Option(
        '--verify <depth>',
        'full: pull everything back and hash it; quick: do not read objects back, believe their metadata',
      ).choices(['full', 'quick'] as const),
    )
    .option(
      '--resign-key <file>',
      'sign the images that an Image Factory inside checks, with this key (omni-airgap keygen)',
    )
    .option('--dry-run', 'show what would go where; changes nothing')
    .optionsGroup('Records and configuration:')
    .option('--receipt <file>', 'write what was placed where to this file')
    .option(
      '--state <dir>',
      'what this host remembers of loads: accepted bundles, uploads, read-backs (default: $XDG_STATE_HOME/omni-airgap or ~/.local/state/omni-airgap)',
    )
    .option(
      '--site <file>',
      'YAML with what only this site knows: URLs, WireGuard address, CA file, NTP servers',
    )
    .option('--handoff <dir>', 'write ready-to-use configuration files to this folder', './handoff')
    .action(async (flags: Flags) => {
      boundGarbage();
      const options = await loadOptions(session, flags);
      await noteExposed('--client-key', flags.clientKey, session, flags);
      const trust = await readTrust(flags.verifyKey, flags.allowUnsigned === true);
      const from = async <T>(
        progress: ProgressView,
        work: (source: LoadSource) => Promise<T>,
      ): Promise<T> => {
        if (flags.store === undefined) return work(await openBundles(flags.bundle, trust, flags.spool));
        // Loaded here: store and bundler are a tenth of the program, and most loads are from media.
        const { withStoreSource } = await import('../store-source.ts');
        return withStoreSource(flags.store, (text) => progress.note(text), session.signal, work);
      };
      if (flags.dryRun === true) {
        await report(
          session,
          flags,
          'load --dry-run',
          (progress) => from(progress, (source) => dryRun({ ...options, source, progress })),
          describePlan,
        );
      } else {
        const { missing } = await report(
          session,
          flags,
          'load',
          (progress) => from(progress, (source) => load({ ...options, source, progress })),
          describeLoad,
        );
        requireComplete(missing);
      }
    });
  return withExample(
    withCommon(withClientCertificate(withTransfers(command)).option(...insideProxy)),
    'omni-airgap load --bundle /mnt/usb --verify-key site.pub --registry registry.site:5000 \\',
    '    --object-store s3://talos --s3-endpoint https://s3.site:9000 --receipt receipt.json',
  );
}

async function loadOptions(session: Session, flags: Flags): Promise<Omit<LoadOptions, 'source'>> {
  if ((flags.bundle.length === 0) === (flags.store === undefined)) {
    throw new CodedError('USAGE', 'load needs --bundle DIR, or --store DIR instead');
  }
  if (flags.store !== undefined && flags.allowUnsigned !== true) {
    throw new CodedError(
      'USAGE',
      '--store: a store has no signature that could be checked; add --allow-unsigned',
    );
  }
  if (flags.registry === undefined && flags.objectStore === undefined) {
    throw new CodedError('USAGE', 'load needs --registry HOST, --object-store URL, or both');
  }
  const file = flags.site === undefined ? undefined : await readSite(flags.site);
  const { concurrency, receipt, resignKey, maxAge } = flags;
  return {
    ...(await readTargets(session, flags, file?.site)),
    keepHost: flags.keepHost === true,
    overwriteTags: flags.overwriteTags === true,
    flatten: flags.flatten === true,
    trimIndexes: flags.trimIndexes === true,
    allowRollback: flags.allowRollback === true,
    newOrigin: flags.newOrigin,
    only: flags.only,
    except: flags.except,
    maxAgeDays: maxAge,
    verify: flags.verify,
    state: flags.state ?? defaultState(session.env),
    ...(resignKey === undefined
      ? {}
      : { resignKey: await readPrivateKey('--resign-key', resignKey, session, flags) }),
    ...file,
    handoff: flags.handoff,
    receipt,
    concurrency,
    tool,
    signal: session.signal,
  };
}

function parseOrigin(text: string): string {
  if (!/^[a-f0-9]{32}$/i.test(text)) throw new InvalidArgumentError('Must be 32 hex characters.');
  return text.toLowerCase();
}

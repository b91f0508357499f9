/** omni-airgap load */
import { CodedError } from '@omni-airgap/content';
import { load, parseObjectStore, parseRegistryTarget } from '@omni-airgap/loader';
import { Command } from 'commander';
import { collected, withCommon, withConcurrency, withExample, withNetwork } from '../flags.ts';
import { count, formatBytes, formatDuration } from '../format.ts';
import { type CommonFlags, type NetworkFlags, networkSettings, report, type Session } from '../session.ts';
import { tool } from '../version.ts';
import { readTrust } from './keys.ts';

interface Flags extends CommonFlags, NetworkFlags {
  readonly bundle: readonly string[];
  readonly registry?: string;
  readonly objectStore?: string;
  readonly s3Endpoint?: string;
  readonly verifyKey?: string;
  readonly allowUnsigned?: true;
  readonly overwriteTags?: true;
  readonly keepHost?: true;
  readonly receipt?: string;
}

export function addLoad(session: Session): Command {
  const command = new Command('load')
    .description('bring a bundle into the registry and the object store of this site')
    .option('--bundle <dir>', 'folder of the bundle (repeatable when it is spread over media)', collected, [])
    .option('--registry <host[/prefix]>', 'registry for images and artifacts')
    .option('--object-store <url>', 'place for Talos media: s3://BUCKET[/PREFIX] or file:///DIR')
    .option(
      '--s3-endpoint <url>',
      'where the object store answers; credentials come from the AWS variables or files',
    )
    .option('--verify-key <file>', 'the public key the bundle must be signed with')
    .option('--allow-unsigned', 'take a bundle from anybody (said in the receipt)')
    .option('--overwrite-tags', 'replace image tags that stand for something else in the registry')
    .option('--keep-host', 'keep the registry host in the path: REGISTRY/ghcr.io/siderolabs/omni')
    .option('--receipt <file>', 'write what was placed where to this file')
    .action(async (flags: Flags) => {
      const { concurrency, receipt } = flags;
      if (flags.bundle.length === 0) throw new CodedError('USAGE', 'load needs --bundle DIR');
      if (flags.registry === undefined && flags.objectStore === undefined) {
        throw new CodedError('USAGE', 'load needs --registry HOST, --object-store URL, or both');
      }
      const registry = flags.registry === undefined ? undefined : parseRegistryTarget(flags.registry);
      const objectStore =
        flags.objectStore === undefined
          ? undefined
          : await parseObjectStore(flags.objectStore, flags.s3Endpoint, session.env);
      const plainHttp = [...flags.plainHttp];
      if (objectStore?.kind === 's3' && objectStore.settings.endpoint.protocol === 'http:') {
        // Naming an http endpoint is permission to use it.
        plainHttp.push(objectStore.settings.endpoint.host);
      }
      const network = networkSettings({ ...flags, plainHttp }, session.env, false);
      const trust = await readTrust(flags.verifyKey, flags.allowUnsigned === true);
      await report(
        session,
        flags,
        'load',
        (progress) =>
          load({
            bundles: flags.bundle,
            trust,
            ...(registry === undefined ? {} : { registry }),
            ...(objectStore === undefined ? {} : { objectStore }),
            keepHost: flags.keepHost === true,
            overwriteTags: flags.overwriteTags === true,
            ...(receipt === undefined ? {} : { receipt }),
            network,
            ...(concurrency === undefined ? {} : { concurrency }),
            tool,
            progress,
            signal: session.signal,
          }),
        (result, seconds) => {
          const { images, objects, bundle } = result.receipt;
          const lines = [`Loaded bundle ${bundle} in ${formatDuration(seconds)}.`];
          const { registry: moved } = result;
          if (moved !== undefined) {
            lines.push(
              `Registry ${result.receipt.registry}: ${count(images.length, 'name')}, ${formatBytes(moved.storedBytes)} stored, ${count(moved.presentBlobs, 'blob')} there already, ${moved.mountedBlobs} mounted.`,
            );
          }
          if (result.receipt.objectStore !== undefined) {
            lines.push(
              `Object store ${result.receipt.objectStore}: ${count(objects.length, 'object')}, ${result.objectsStored} stored, ${result.objectsPresent} there already.`,
            );
          }
          const did = (moved?.storedBlobs ?? 0) + result.objectsStored;
          if (did === 0) lines.push('Nothing to do: all of it was there already.');
          return lines.join('\n');
        },
      );
    });
  return withExample(
    withNetwork(withConcurrency(withCommon(command))),
    'omni-airgap load --bundle /mnt/usb --verify-key site.pub --registry registry.site:5000 \\',
    '    --object-store s3://talos --s3-endpoint https://s3.site:9000 --receipt receipt.json',
  );
}

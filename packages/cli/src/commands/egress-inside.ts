/** omni-airgap egress check --inside */

import { checkInside, type InsideReport, parseRegistryTarget, readSite } from '@omni-airgap/loader';
import { parseObjectStore } from '@omni-airgap/objects';
import { CodedError } from '@omni-airgap/oci/base';
import type { Command } from 'commander';
import { table } from '../format.ts';
import { type CommonFlags, type NetworkFlags, networkSettings, report, type Session } from '../session.ts';

export interface InsideFlags extends CommonFlags, NetworkFlags {
  readonly inside?: true;
  readonly site?: string;
  readonly registry?: string;
  readonly objectStore?: string;
  readonly s3Endpoint?: string;
  readonly keepHost?: true;
}

/** The flags of the checks that are made at the site. */
export function withInside(command: Command): Command {
  return command
    .option('--inside', 'at the site: registry, object store, factory, Omni, time, WireGuard, names')
    .option('--site <file>', 'with --inside: YAML with the URLs of this site, as for load')
    .option('--registry <host[/prefix]>', 'with --inside: the registry that load brings images to')
    .option('--object-store <url>', 'with --inside: s3://BUCKET[/PREFIX] or file:///DIR')
    .option('--s3-endpoint <url>', 'with --inside: where the object store answers')
    .option('--keep-host', 'with --inside: repositories have their host in the path')
    .option(
      '--proxy <url>',
      'with --inside: reach registry, object store and factory through this forward proxy',
    );
}

/** @throws NETWORK when anything failed; USAGE when nothing was named */
export async function runInside(session: Session, flags: InsideFlags): Promise<void> {
  const file = flags.site === undefined ? { site: {} } : await readSite(flags.site);
  const named = flags.registry ?? file.site.registry;
  const registry = named === undefined ? undefined : parseRegistryTarget(named);
  const objectStore =
    flags.objectStore === undefined
      ? undefined
      : await parseObjectStore(flags.objectStore, flags.s3Endpoint, session.env);
  const plainHttp = [...flags.plainHttp];
  for (const url of [
    objectStore?.kind === 's3' ? objectStore.settings.endpoint : undefined,
    file.site.factory === undefined ? undefined : new URL(file.site.factory),
  ]) {
    // Naming an http URL is permission to use it.
    if (url?.protocol === 'http:') plainHttp.push(url.host);
  }
  const network = networkSettings({ ...flags, plainHttp }, session.env, false);
  const result = await report(
    session,
    flags,
    'egress',
    () =>
      checkInside({
        ...file,
        ...(registry === undefined ? {} : { registry }),
        ...(objectStore === undefined ? {} : { objectStore }),
        keepHost: flags.keepHost === true,
        network,
        signal: session.signal,
      }),
    describeInside,
  );
  if (result.ok) return;
  const failed = result.findings.filter(({ state }) => state === 'failed');
  throw new CodedError(
    'NETWORK',
    `not everything works: ${failed.map(({ subject, what }) => `${subject} (${what})`).join(', ')}`,
  );
}

function describeInside({ findings }: InsideReport): string {
  const rows = findings.map(({ subject, what, state, detail }) => [subject, what, state, detail]);
  return table([['WHERE', 'WHAT', 'STATE', 'DETAIL'], ...rows]);
}

/** The flags of `serve` that make it a replica over registry and object store, and what they mean. */
import { CodedError, printable } from '@omni-airgap/oci/base';
import { readNamedFile } from '@omni-airgap/oci/fs';
import { type Backend, openReplica, type ReplicaOptions, stateKeyBytes } from '@omni-airgap/server';
import type { Command } from 'commander';
import { insideProxy, withClientCertificate, withNetwork, withS3 } from './flags.ts';
import { noteExposed } from './keys.ts';
import type { ServeLog } from './serve-log.ts';
import type { CommonFlags, Session } from './session.ts';
import type { TargetFlags } from './targets.ts';

export interface ReplicaFlags extends CommonFlags, TargetFlags {
  readonly keepHost?: true;
  readonly stateKey?: string;
  readonly redirect?: true;
  readonly s3PublicEndpoint?: string;
}

/** Flags that need --registry, by the names of their values. */
const ofRegistry = [
  'keepHost',
  'objectStore',
  's3Endpoint',
  's3Addressing',
  'stateKey',
  'redirect',
  's3PublicEndpoint',
] as const;
const maxKeyBytes = 4096;

export function withReplica(command: Command): Command {
  command
    .optionsGroup('A registry and a bucket instead, by any number of servers:')
    .option('--registry <host[/prefix]>', 'serve what load brought into this registry, and keep nothing here')
    .option('--keep-host', 'load was run with --keep-host')
    .option(
      '--object-store <url>',
      's3://BUCKET[/PREFIX] that load filled: boot assets, and what clients make and ask for',
    );
  withS3(command)
    .option(
      '--state-key <file>',
      'encrypt schematics that hold a secret with this key, the same for all replicas (openssl rand -hex 32)',
    )
    .option(
      '--redirect',
      'send clients to registry and object store where they can read content themselves (default: pass it on)',
    )
    .option('--s3-public-endpoint <url>', 'with --redirect: how clients reach the object store');
  return withClientCertificate(withNetwork(command)).option(...insideProxy);
}

/**
 * @returns undefined without --registry
 * @throws USAGE for flags that do not belong together; CONFIG, NO_INPUT for files that cannot be used
 */
export async function openReplicaOf(
  session: Session,
  flags: ReplicaFlags & {
    readonly bundle: readonly string[];
    readonly store?: string;
    readonly writable?: string;
  },
  log: ServeLog,
): Promise<Backend | undefined> {
  const { bundle, store, writable, registry } = flags;
  if (registry === undefined) {
    const flag = ofRegistry.find((name) => flags[name] !== undefined);
    if (flag === undefined) return undefined;
    throw new CodedError(
      'USAGE',
      `--${flag.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)} needs --registry HOST[/PREFIX]`,
    );
  }
  if (bundle.length > 0 || store !== undefined || writable !== undefined) {
    const other = bundle.length > 0 ? '--bundle' : store === undefined ? '--writable' : '--store';
    throw new CodedError('USAGE', `--registry and ${other} cannot be combined: start a second serve`);
  }
  await noteExposed('--client-key', flags.clientKey, session, flags);
  await noteExposed('--state-key', flags.stateKey, session, flags);
  // Whoever serves files loads none of it.
  const { readTargets } = await import('./targets.ts');
  const targets = await readTargets(session, flags);
  if (targets.registry === undefined) return undefined;
  if (flags.stateKey === undefined) {
    log.event(
      'warn',
      'replica',
      'without --state-key, schematics that hold a secret are refused; those that Omni makes hold its join token',
    );
  }
  return openReplica({
    registry: { ...targets.registry, keepHost: flags.keepHost === true },
    objectStore: targets.objectStore,
    network: targets.network,
    stateKey: flags.stateKey === undefined ? undefined : await readStateKey(flags.stateKey),
    redirect: redirectOf(flags),
    onProblem: (message) => log.event('warn', 'upstream', message),
  });
}

/** @throws USAGE */
function redirectOf({ redirect, s3PublicEndpoint, objectStore }: ReplicaFlags): ReplicaOptions['redirect'] {
  if (s3PublicEndpoint === undefined) return redirect === true ? {} : undefined;
  if (redirect !== true) throw new CodedError('USAGE', '--s3-public-endpoint needs --redirect');
  if (objectStore === undefined) throw new CodedError('USAGE', '--s3-public-endpoint needs --object-store');
  const url = URL.parse(s3PublicEndpoint);
  const isPlain = url?.username === '' && url.password === '' && url.search === '' && url.hash === '';
  if (url !== null && isPlain && /^https?:$/.test(url.protocol)) return { publicEndpoint: url };
  const example = 'https://s3.site.example:9000';
  throw new CodedError(
    'USAGE',
    `--s3-public-endpoint ${printable(s3PublicEndpoint)}: write it like ${example}`,
  );
}

/** 32 bytes as they are, or their 64 hex digits. */
async function readStateKey(path: string): Promise<Uint8Array> {
  const bytes = await readNamedFile('--state-key', path, maxKeyBytes);
  if (bytes.byteLength === stateKeyBytes) return bytes;
  const text = bytes.toString('latin1').trim();
  if (/^[0-9a-fA-F]+$/.test(text) && text.length === 2 * stateKeyBytes) return Buffer.from(text, 'hex');
  throw new CodedError(
    'CONFIG',
    `--state-key ${printable(path)}: not ${stateKeyBytes} bytes or ${2 * stateKeyBytes} hex digits; make one with openssl rand -hex ${stateKeyBytes}`,
  );
}

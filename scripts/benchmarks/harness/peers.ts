/** The clients to compare with: used where they are found on PATH or in the folder that PEERS_BIN names. */
import { findProgram, versionOf } from '../../../test/services/found-program.ts';

const versionFlags = { oras: 'version', crane: 'version', regctl: 'version' } as const;

type PeerName = keyof typeof versionFlags;
/** Paths of those that were found. */
export type Peers = Partial<Readonly<Record<PeerName, string>>>;

export interface FoundPeers {
  readonly peers: Peers;
  readonly versions: Readonly<Record<string, string>>;
  /** A line for each that is missing. */
  readonly missing: readonly string[];
}

export function findPeers(): FoundPeers {
  const peers: Partial<Record<PeerName, string>> = {};
  const versions: Record<string, string> = {};
  const missing: string[] = [];
  for (const name of Object.keys(versionFlags) as PeerName[]) {
    const path = findProgram(name, 'PEERS_BIN');
    if (path === undefined) {
      missing.push(`${name}: neither on PATH nor in the folder PEERS_BIN`);
      continue;
    }
    peers[name] = path;
    versions[name] = versionOf(path, versionFlags[name]);
  }
  return { peers, versions, missing };
}

/** Connections that only show whether somebody answers: TLS with its certificate chain, time, UDP, names. */
import type { DetailedPeerCertificate } from 'node:tls';
import { CodedError, isCoded, messageOf } from '@omni-airgap/oci/base';
import { addressesOf, askDatagram, openTcp, openTls } from '@omni-airgap/oci/http';

const timeoutMs = 10_000;
/** How long a refusal of UDP may take to come back. */
const udpWaitMs = 1500;
/** Seconds between 1900, where NTP counts from, and 1970. */
const ntpEpoch = 2_208_988_800;
/** Certificates that are looked at one behind the other. */
const maxChain = 8;
/** Clocks that are further apart break certificates and log-ins: ms. */
const maxSkewMs = 5000;

export async function resolveName(host: string): Promise<string> {
  try {
    return (await addressesOf(host)).join(', ');
  } catch (cause) {
    throw new CodedError('NETWORK', `${host} does not resolve; add it to the site's DNS`, { cause });
  }
}

/**
 * @param ca PEM certificates trusted besides the usual ones
 * @returns who the certificate is for, the chain of who issued it and until when it holds
 */
export async function tlsCertificate(
  host: string,
  port: number,
  ca: readonly string[],
  signal?: AbortSignal,
): Promise<string> {
  const certificate = await peerCertificate(host, port, ca, signal).catch((cause: unknown) => {
    if (isCoded(cause)) throw cause;
    const hint =
      "if the authority is the site's own, name it as caFile in the site file: the hand-off gives it to all who connect";
    throw new CodedError('NETWORK', `${host}:${port}: ${messageOf(cause)}; ${hint}`, { cause });
  });
  const [name, ...issuers] = chainOf(certificate);
  return `certificate of ${name}, issued by ${issuers.join(', by ')}, good until ${certificate.valid_to}`;
}

async function peerCertificate(
  host: string,
  port: number,
  ca: readonly string[],
  signal: AbortSignal | undefined,
): Promise<DetailedPeerCertificate> {
  const socket = await openTcp(host, port, timeoutMs, { signal });
  const secure = await openTls(socket, { host, ca, verify: true, timeoutMs, signal });
  const certificate = secure.getPeerCertificate(true);
  secure.end();
  return certificate;
}

/** Names from the certificate to its authority. */
function chainOf(certificate: DetailedPeerCertificate): readonly string[] {
  const names = [nameOf(certificate.subject)];
  let at = certificate;
  while (names.length < maxChain) {
    names.push(nameOf(at.issuer));
    const next = at.issuerCertificate;
    // An authority is its own issuer; of what the other side did not send, only the name is known.
    if (next === undefined || next === at || next.fingerprint256 === at.fingerprint256) break;
    if (nameOf(next.issuer) === nameOf(next.subject)) break;
    at = next;
  }
  return names;
}

function nameOf(part: DetailedPeerCertificate['subject'] | undefined): string {
  const name = part?.CN ?? part?.O;
  return (Array.isArray(name) ? name[0] : name) ?? 'an unnamed subject';
}

/** Asks a time server once. Source: RFC 5905 section 7.3. @returns how far this host's clock is off */
export async function askTime(server: string, port = 123): Promise<string | { readonly note: string }> {
  const request = Buffer.alloc(48);
  // Version 4, client.
  request[0] = 0x23;
  const sentAt = Date.now();
  const answer = await askDatagram(server, port, request, timeoutMs / 2);
  if (answer === undefined || answer.byteLength < 48) {
    throw new CodedError(
      'NETWORK',
      `${server} did not answer on 123/udp; machines without time do not start etcd`,
    );
  }
  const seconds = answer.readUInt32BE(40) - ntpEpoch;
  const there = seconds * 1000 + (answer.readUInt32BE(44) / 2 ** 32) * 1000;
  const offset = Math.round(there - (sentAt + Date.now()) / 2);
  return clockVerdict(server, offset);
}

/** @param behindMs how far the clock of this host is behind the server's */
export function clockVerdict(server: string, behindMs: number): string | { readonly note: string } {
  const direction = behindMs < 0 ? 'ahead of' : 'behind';
  const off = Math.abs(behindMs);
  if (off <= maxSkewMs) return `this clock is ${off} ms ${direction} it`;
  return {
    note: `the clock of this host is ${Math.round(off / 1000)} s ${direction} ${server}; set it first`,
  };
}

/** Sends one datagram. All that can be said of WireGuard, which never answers strangers, is that nobody refused. */
export async function probeUdp(host: string, port: number): Promise<string> {
  await askDatagram(host, port, Buffer.alloc(1), udpWaitMs);
  return 'no refusal seen; WireGuard answers nobody without a key, so run this on the host of Omni too';
}

/**
 * Connections that only show whether somebody answers, step by step: name, TCP, TLS, UDP. They carry
 * no request, so they pass the gate by; they are made here because every socket of the program is.
 */
import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { connect, isIP, type LookupFunction, type Socket } from 'node:net';
import { connect as connectTls, getCACertificates, type TLSSocket } from 'node:tls';
import { CodedError } from '../base/errors.ts';

/** @returns the addresses of a name @throws what DNS fails with, as the system names it (`ENOTFOUND`) */
export async function addressesOf(host: string): Promise<readonly string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address);
}

/**
 * A TCP connection, to be destroyed by the caller.
 * @param host a name, or an address without brackets
 * @throws the error of the socket; ABORTED
 */
export function openTcp(
  host: string,
  port: number,
  timeoutMs: number,
  { signal, lookup }: { readonly signal?: AbortSignal | undefined; readonly lookup?: LookupFunction } = {},
): Promise<Socket> {
  const options = lookup === undefined ? { host, port } : { host, port, lookup };
  return opened(connect(options), 'connect', timeoutMs, signal);
}

export interface TlsProbe {
  /** A name, or an address without brackets. */
  readonly host: string;
  /** PEM certificates trusted besides the usual ones. */
  readonly ca: readonly string[];
  /** False to learn what the other side presents also when nobody vouches for it: see `authorized`. */
  readonly verify: boolean;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** TLS over a connection, which is destroyed when it fails. @throws the error of the socket or of TLS; ABORTED */
export function openTls(
  socket: Socket,
  { host, ca, verify, timeoutMs, signal }: TlsProbe,
): Promise<TLSSocket> {
  const secure = connectTls({
    socket,
    rejectUnauthorized: verify,
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(ca.length === 0 ? {} : { ca: [...getCACertificates('default'), ...ca] }),
  });
  return opened(secure, 'secureConnect', timeoutMs, signal);
}

/**
 * Sends one datagram.
 * @returns the first answer; undefined when there is none in `waitMs`
 * @throws NETWORK when the name does not resolve or the port is refused
 */
export async function askDatagram(
  host: string,
  port: number,
  message: Uint8Array,
  waitMs: number,
): Promise<Buffer | undefined> {
  const { address, family } = await lookup(host).catch((cause: unknown) => {
    throw new CodedError('NETWORK', `${host} does not resolve`, { cause });
  });
  const socket = createSocket(family === 6 ? 'udp6' : 'udp4');
  try {
    return await new Promise<Buffer | undefined>((resolve, reject) => {
      const timer = setTimeout(() => resolve(undefined), waitMs);
      socket.once('message', (answer) => {
        clearTimeout(timer);
        resolve(answer);
      });
      socket.once('error', (cause) => {
        clearTimeout(timer);
        reject(new CodedError('NETWORK', `${host}:${port}/udp is refused (${cause.message})`, { cause }));
      });
      // Connected, so that a refusal is told to us.
      socket.connect(port, address, () => socket.send(message));
    });
  } finally {
    socket.close();
  }
}

async function opened<T extends Socket>(
  socket: T,
  event: 'connect' | 'secureConnect',
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(() => reject(new Error(`no answer in ${timeoutMs / 1000} s`)), timeoutMs);
  const onAbort = (): void => reject(new CodedError('ABORTED', 'stopped'));
  socket.once(event, resolve).once('error', reject);
  socket.once('close', () => reject(new Error('the connection was closed')));
  if (signal?.aborted === true) onAbort();
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    await promise;
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
    // A later error of the socket is of no interest any more.
    socket.on('error', () => {});
  }
}

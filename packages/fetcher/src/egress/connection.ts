/**
 * One connection to a host, step by step, for `egress check`: name, TCP, TLS. It says where it breaks, and who
 * vouches for the other side: a firewall that looks inside shows itself by its own issuer.
 */
import { isIP, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { messageOf, printable, systemCodeOf } from '@omni-airgap/oci/base';
import {
  addressesOf,
  openTcp,
  openTls,
  openTunnel,
  type ProxySettings,
  proxyFor,
} from '@omni-airgap/oci/http';

export interface ConnectionReport {
  /** What the name stands for; empty behind a proxy, which looks it up. */
  readonly addresses: readonly string[];
  readonly tcp: 'ok' | 'failed' | 'not tried';
  /** `none` where the operator mapped the host to plain HTTP. */
  readonly tls: 'ok' | 'failed' | 'not tried' | 'none';
  /** Organization or name of whoever signed the certificate. */
  readonly issuer?: string;
  readonly via?: 'proxy';
  /** The first thing that went wrong, in words. */
  readonly problem?: string;
}

export interface ConnectionSettings {
  /** PEM, besides the usual authorities. */
  readonly ca: string | undefined;
  readonly proxy: ProxySettings | undefined;
  /** For each step, in ms. */
  readonly timeoutMs: number;
}

/** @param url where the host's requests go; its path is not used. Never throws. */
export async function tryConnection(url: URL, settings: ConnectionSettings): Promise<ConnectionReport> {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80));
  const proxy = proxyFor(settings.proxy, url);
  let report: ConnectionReport = {
    addresses: [],
    tcp: 'not tried',
    tls: 'not tried',
    ...(proxy === undefined ? {} : { via: 'proxy' as const }),
  };
  let socket: Socket | undefined;
  try {
    if (proxy === undefined) {
      report = { ...report, addresses: isIP(host) ? [host] : await addressesOf(host) };
    }
    report = { ...report, tcp: 'failed' };
    socket =
      proxy === undefined
        ? await openTcp(host, port, settings.timeoutMs)
        : await openTunnel(proxy, `${url.hostname}:${port}`, settings.timeoutMs);
    report = { ...report, tcp: 'ok' };
    if (url.protocol !== 'https:') return { ...report, tls: 'none' };
    report = { ...report, tls: 'failed' };
    const secure = await openTls(socket, {
      host,
      ca: settings.ca === undefined ? [] : [settings.ca],
      // What it says about itself is wanted also when nobody trusts it; the request itself is made elsewhere.
      verify: false,
      timeoutMs: settings.timeoutMs,
    });
    socket = secure;
    const issuer = issuerOf(secure);
    report = { ...report, ...(issuer === undefined ? {} : { issuer }) };
    if (secure.authorized) return { ...report, tls: 'ok' };
    const why = String(secure.authorizationError);
    return {
      ...report,
      problem: `the certificate, issued by ${issuer ?? 'nobody'}, is not trusted (${printable(why)}); if the firewall looks inside TLS, name its CA with --ca-cert FILE`,
    };
  } catch (error) {
    return { ...report, problem: explain(error, report, host, port) };
  } finally {
    socket?.destroy();
  }
}

function explain(error: unknown, report: ConnectionReport, host: string, port: number): string {
  const code = systemCodeOf(error);
  if (report.tcp === 'not tried') return `DNS has no address for ${host} (${code ?? messageOf(error)})`;
  const step = report.tls === 'failed' ? 'TLS' : 'TCP';
  return `${step} to ${host} port ${port}: ${printable(code ?? messageOf(error))}`;
}

function issuerOf(socket: TLSSocket): string | undefined {
  const { issuer } = socket.getPeerCertificate();
  const name = issuer?.O ?? issuer?.CN;
  return name === undefined ? undefined : printable(String(name), 80);
}

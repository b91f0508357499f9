/**
 * Whose request it is, behind proxies that the operator named. X-Forwarded-For is text that anyone can send, so it is only
 * believed as far as a trusted proxy has written it: from its end, each entry is the address that the next proxy saw.
 * Source: what nginx calls real_ip_recursive (nginx.org/en/docs/http/ngx_http_realip_module.html).
 */
import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';
import { CodedError, printable } from '@omni-airgap/oci/base';

/** @returns the IP address of the client; of the nearest proxy where that does not say it */
export type ClientAddress = (incoming: IncomingMessage) => string;

/**
 * @param proxies addresses and networks: `10.0.0.7`, `10.0.0.0/24`, `fd00::/64`; none: the header is never read
 * @throws USAGE for a text that is no address or network
 */
export function clientAddressBehind(proxies: readonly string[]): ClientAddress {
  const trusted = new BlockList();
  for (const proxy of proxies) trust(trusted, proxy);
  const isTrusted = (address: string): boolean =>
    trusted.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
  return ({ socket, headers }) => {
    let client = socket.remoteAddress ?? '';
    // Repeated headers are one list, in the order they came.
    const forwarded = [headers['x-forwarded-for'] ?? []].flat().join(',').split(',').toReversed();
    for (const entry of forwarded) {
      const address = entry.trim();
      if (isIP(client) === 0 || !isTrusted(client) || isIP(address) === 0) break;
      client = address;
    }
    return client;
  };
}

function trust(trusted: BlockList, proxy: string): void {
  const [address = '', length, ...rest] = proxy.split('/');
  const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
  const bits = family === 'ipv6' ? 128 : 32;
  const prefix = length === undefined ? bits : Number(length);
  const isPrefix = length === undefined || (/^[0-9]{1,3}$/.test(length) && prefix > 0 && prefix <= bits);
  if (isIP(address) === 0 || address.includes('%') || !isPrefix || rest.length > 0) {
    throw new CodedError(
      'USAGE',
      `trusted proxy ${printable(proxy)}: write an IP address or network, such as 10.0.0.7 or 10.0.0.0/24`,
    );
  }
  trusted.addSubnet(address, prefix, family);
}

/** Whose request it is behind proxies: nobody chooses an address of their own, in the log or against the limit of wrong passwords. */
import { request } from 'node:http';
import bcrypt from 'bcryptjs';
import { describe, expect, test } from 'vitest';
import { createServer, type ServerOptions } from '../src/index.ts';
import { newLayout, start } from './support.ts';

interface Sent {
  /** Where the connection comes from: 127.0.0.1 is a proxy, 127.0.0.2 is none. */
  readonly from?: string;
  readonly forwarded?: string | string[];
  readonly authorization?: string;
}

async function behind(
  trustedProxies: readonly string[],
  more: Partial<ServerOptions> = {},
  host = '127.0.0.1',
) {
  const server = await start({ source: await newLayout(), trustedProxies, ...more }, host);
  const port = Number(new URL(server.url).port);
  const send = (path: string, { from = '127.0.0.1', forwarded, authorization }: Sent): Promise<number> =>
    new Promise((resolve, reject) => {
      const headers = {
        ...(forwarded === undefined ? {} : { 'x-forwarded-for': forwarded }),
        ...(authorization === undefined ? {} : { authorization }),
      };
      const sent = request(
        { host: '127.0.0.1', port, path, localAddress: from, headers, agent: false },
        (response) => {
          response.resume().on('end', () => resolve(response.statusCode ?? 0));
        },
      );
      sent.on('error', reject).end();
    });
  const clientOf = async (sent: Sent): Promise<string | undefined> => {
    const before = server.log.length;
    await send('/readyz', sent);
    await expect.poll(() => server.log.length).toBe(before + 1);
    return server.log.at(-1)?.remote;
  };
  return { server, send, clientOf };
}

describe('the client is', () => {
  test.each([
    ['the connection, without the header', {}, '127.0.0.1'],
    ['what the proxy says', { forwarded: '10.1.1.1' }, '10.1.1.1'],
    ['what the proxy says, not what its client said before', { forwarded: '10.9.9.9, 10.1.1.1' }, '10.1.1.1'],
    ['behind two proxies', { forwarded: '10.9.9.9, 10.1.1.1, 192.0.2.7' }, '10.1.1.1'],
    ['in several headers', { forwarded: ['10.9.9.9', '10.1.1.1', '192.0.2.7'] }, '10.1.1.1'],
    ['with IPv6', { forwarded: 'fd00::1, 2001:db8::1' }, 'fd00::1'],
    ['the furthest proxy, where all are trusted', { forwarded: '192.0.2.8, 192.0.2.7' }, '192.0.2.8'],
    ['the proxy, where it names no address', { forwarded: '10.1.1.1, unknown' }, '127.0.0.1'],
    ['the proxy, for something long', { forwarded: 'x,'.repeat(6000) }, '127.0.0.1'],
    ['the connection, for who is no proxy', { from: '127.0.0.2', forwarded: '10.1.1.1' }, '127.0.0.2'],
    [
      'the connection, for who pretends one',
      { from: '127.0.0.2', forwarded: '10.1.1.1, 127.0.0.1' },
      '127.0.0.2',
    ],
  ])('%s', async (_what, sent, expected) => {
    const { clientOf } = await behind(['127.0.0.1', '192.0.2.0/24', '2001:db8::/32']);
    expect(await clientOf(sent)).toBe(expected);
  });

  test('the connection, where no proxy is trusted', async () => {
    const { clientOf } = await behind([]);
    expect(await clientOf({ forwarded: '10.1.1.1' })).toBe('127.0.0.1');
  });

  test('what the proxy says, also where IPv4 comes in the form of IPv6', async () => {
    const { clientOf } = await behind(['127.0.0.1'], {}, '::');
    expect(await clientOf({ forwarded: '10.1.1.1' })).toBe('10.1.1.1');
    expect(await clientOf({ from: '127.0.0.2', forwarded: '10.1.1.1' })).toBe('::ffff:127.0.0.2');
  });
});

test('wrong passwords are limited for each client behind a proxy, whatever else the header says', async () => {
  const logIns = new Map([['site', bcrypt.hashSync('right password', 4)]]);
  const access = { logIns, attempts: { burst: 2, everyMs: 1e9 } };
  const { send } = await behind(['127.0.0.1'], { access });
  const wrong = (i: number, forwarded: string): Promise<number> => {
    const authorization = `Basic ${Buffer.from(`site:wrong ${i}`).toString('base64')}`;
    return send('/token', { authorization, forwarded });
  };
  expect([await wrong(0, '10.1.1.1'), await wrong(1, '10.5.5.5, 10.1.1.1')]).toEqual([401, 401]);
  expect(await wrong(2, '10.6.6.6, 10.1.1.1')).toBe(429);
  expect(await wrong(3, '10.1.1.2')).toBe(401);
});

test.each(['proxy.site', '10.0.0.0/33', '10.0.0.0/0', '10.0.0.0/8/8', '10.0.0.1/x', 'fe80::1%eth0', ''])(
  'a trusted proxy that is no address is refused: %s',
  async (proxy) => {
    const refused = createServer({ source: await newLayout(), trustedProxies: [proxy] });
    await expect(refused).rejects.toMatchObject({ code: 'USAGE' });
  },
);

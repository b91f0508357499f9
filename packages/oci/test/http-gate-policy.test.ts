/** What the gate refuses on the way: hosts, schemes, addresses, headers that must not travel. */
import { expect, test } from 'vitest';
import { gateTo, plainPolicy, server } from './gate.ts';

test('F10 T29 redirects to hosts that are not listed are refused, before any connection', async () => {
  const evil = await server((_, response) => response.end('evil'));
  for (const status of [301, 302, 303, 307, 308]) {
    for (const target of [
      'https://evil.net/',
      evil.url,
      `https://ghcr.io@${evil.host}/`,
      `//${evil.host}/`,
    ]) {
      const origin = await server((_, response) => response.writeHead(status, { location: target }).end());
      const { gate, records } = gateTo({ 'ghcr.io': origin });
      const request = gate.request({ method: 'GET', url: 'https://ghcr.io/' });
      await expect(request).rejects.toMatchObject({ code: 'EGRESS_DENIED' });
      expect(records.at(-1)?.refused).toMatch(/refused/);
    }
  }
  expect(evil.connections).toBe(0);
});
test('T33 a redirect from https to http is refused even where plain HTTP is allowed', async () => {
  const plain = await server((_, response) => response.end());
  const origin = await server((_, response) => response.writeHead(307, { location: `${plain.url}/` }).end());
  const { gate } = gateTo(
    {},
    {
      policy: {
        ...plainPolicy(plain.host),
        hosts: ['ghcr.io', plain.host],
        upstreams: [{ host: 'ghcr.io', url: new URL(origin.url) }],
      },
    },
  );
  const request = gate.request({ method: 'GET', url: 'https://ghcr.io/' });
  await expect(request).rejects.toMatchObject({
    code: 'EGRESS_DENIED',
    message: /https may not become http/,
  });
  expect(plain.connections).toBe(0);
});
test('T30 nothing but harmless headers crosses an origin, and they do not come back', async () => {
  const b = await server((_, response) => response.writeHead(307, { location: 'https://a.io/end' }).end());
  const a = await server((request, response) => {
    if (request.url === '/end') response.end('ok');
    else response.writeHead(307, { location: 'https://b.io/mid' }).end();
  });
  const { gate } = gateTo({ 'a.io': a, 'b.io': b });
  const response = await gate.request({
    method: 'GET',
    url: 'https://a.io/start',
    authorization: 'Bearer s3cret',
    headers: { cookie: 's3cret', 'x-api-key': 's3cret', accept: 'x/y', range: 'bytes=1-' },
  });
  expect(await response.text()).toBe('ok');
  expect(response.url.href).toBe('https://a.io/end');
  expect(a.requests[0]?.headers).toMatchObject({ authorization: 'Bearer s3cret', 'x-api-key': 's3cret' });
  for (const request of [b.requests[0], a.requests[1]]) {
    expect(JSON.stringify(request?.headers)).not.toContain('s3cret');
    expect(request?.headers).toMatchObject({ accept: 'x/y', range: 'bytes=1-' });
  }
});
test('T30 another port of the same host is another origin', async () => {
  const b = await server((_, response) => response.end('ok'));
  const a = await server((_, response) => response.writeHead(302, { location: `${b.url}/` }).end());
  const { gate } = gateTo({}, { policy: plainPolicy(a.host, b.host) });
  const response = await gate.request({ method: 'GET', url: a.url, authorization: 'Basic s3cret' });
  expect(await response.text()).toBe('ok');
  expect(a.requests[0]?.headers['authorization']).toBe('Basic s3cret');
  expect(b.requests[0]?.headers['authorization']).toBeUndefined();
});
test('redirects end after ten hops, and are not followed when not wanted', async () => {
  const origin = await server((_, response) => response.writeHead(302, { location: '/again' }).end());
  const { gate } = gateTo({ 'ghcr.io': origin });
  await expect(gate.request({ method: 'GET', url: 'https://ghcr.io/' })).rejects.toMatchObject({
    code: 'UPSTREAM',
  });
  expect(origin.requests).toHaveLength(11);
  expect((await gate.request({ method: 'GET', url: 'https://ghcr.io/', follow: false })).status).toBe(302);
  expect((await gate.request({ method: 'POST', url: 'https://ghcr.io/', follow: true })).status).toBe(302);
});
test.each([307, 308])('S5 a %i of a request with a body is followed where that is wanted', async (status) => {
  const received: string[] = [];
  const b = await server(async (request, response) => {
    const body: Uint8Array[] = [];
    for await (const chunk of request) body.push(chunk as Uint8Array);
    received.push(`${request.method} ${request.url} ${Buffer.concat(body).toString()}`);
    response.end('ok');
  });
  const a = await server((_, response) => {
    response.writeHead(status, { location: 'https://b.io/new?x=1' }).end();
  });
  const { gate, records } = gateTo({ 'a.io': a, 'b.io': b });
  let opened = 0;
  const open = async function* () {
    opened++;
    yield Buffer.from('stream');
  };
  for (const [method, body] of [
    ['POST', undefined],
    ['PUT', Buffer.from('bytes')],
    ['PATCH', { size: 6, open }],
  ] as const) {
    const request = {
      method,
      body,
      url: 'https://a.io/old',
      authorization: 'Bearer s3cret',
      headers: { 'content-type': 'a/b', 'content-range': '0-5', cookie: 's3cret' },
    };
    expect((await gate.request(request)).status).toBe(status);
    const response = await gate.request({ ...request, follow: true });
    expect(await response.text()).toBe('ok');
    expect(response.url.href).toBe('https://b.io/new?x=1');
  }
  expect(received).toEqual(['POST /new?x=1 ', 'PUT /new?x=1 bytes', 'PATCH /new?x=1 stream']);
  expect(opened).toBe(3);
  for (const { headers } of b.requests) {
    expect(headers).toMatchObject({ 'content-type': 'a/b', 'content-range': '0-5' });
    expect(JSON.stringify(headers)).not.toContain('s3cret');
  }
  expect(records.filter(({ host }) => host === 'b.io').map(({ method }) => method)).toEqual([
    'POST',
    'PUT',
    'PATCH',
  ]);
});
test('S5 a redirected body goes neither to hosts that are not listed, nor to http, nor round for ever', async () => {
  const evil = await server((_, response) => response.end('evil'));
  for (const target of ['https://evil.net/', `${evil.url}/`]) {
    const origin = await server((_, response) => response.writeHead(308, { location: target }).end());
    const { gate } = gateTo({ 'ghcr.io': origin });
    const request = gate.request({
      method: 'PUT',
      url: 'https://ghcr.io/',
      body: Buffer.from('x'),
      follow: true,
    });
    await expect(request).rejects.toMatchObject({ code: 'EGRESS_DENIED' });
  }
  expect(evil.connections).toBe(0);
  const around = await server((_, response) => response.writeHead(308, { location: '/again' }).end());
  const { gate } = gateTo({ 'ghcr.io': around });
  const request = gate.request({
    method: 'PUT',
    url: 'https://ghcr.io/',
    body: Buffer.from('x'),
    follow: true,
  });
  await expect(request).rejects.toMatchObject({ code: 'UPSTREAM' });
  expect(around.requests).toHaveLength(11);
});
test('F11 T34 a name that resolves to an inside address is refused when connecting', async () => {
  const inside = await server((_, response) => response.end());
  for (const address of ['127.0.0.1', '10.0.0.1', '169.254.169.254', '::1', 'fc00::1', '::ffff:10.0.0.1']) {
    const { gate, records } = gateTo(
      {},
      {
        policy: { ...plainPolicy('rebind.example'), allowPrivate: false },
        lookup: async () => [
          { address: '8.8.8.8', family: 4 },
          { address, family: address.includes(':') ? 6 : 4 },
        ],
      },
    );
    const request = gate.request({ method: 'GET', url: 'http://rebind.example/' });
    await expect(request).rejects.toMatchObject({ code: 'EGRESS_DENIED' });
    expect(records[0]?.refused).toContain('rebind.example');
  }
  expect(inside.connections).toBe(0);
});
test('the address that was checked is the one that is used', async () => {
  const inside = await server((_, response) => response.end('inside'));
  const lookups: string[] = [];
  const port = new URL(inside.url).port;
  const { gate } = gateTo(
    {},
    {
      policy: plainPolicy(`lab.example:${port}`),
      lookup: async (hostname) => {
        lookups.push(hostname);
        return [{ address: '127.0.0.1', family: 4 }];
      },
    },
  );
  const response = await gate.request({ method: 'GET', url: `http://lab.example:${port}/` });
  expect(await response.text()).toBe('inside');
  expect(lookups).toEqual(['lab.example']);
});
test('T15 a content encoding that was not asked for is refused', async () => {
  const origin = await server((_, response) =>
    response.writeHead(200, { 'content-encoding': 'gzip' }).end('x'),
  );
  const { gate } = gateTo({ 'ghcr.io': origin });
  const request = gate.request({ method: 'GET', url: 'https://ghcr.io/' });
  await expect(request).rejects.toMatchObject({ code: 'UPSTREAM' });
});

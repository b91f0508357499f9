/** Requests that nobody means well with, as raw bytes: client libraries would tidy them up (T38, T54, F51). */
import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { ContentSource } from '../src/index.ts';
import { newLayout, putFiles, putSchematic, raw, start } from './support.ts';

const v = 'v1.13.9';

async function served() {
  const layout = await newLayout();
  const id = await putSchematic(layout, 'customization: {}\n');
  const files = await putFiles(layout, `factory.talos.dev/talos-media/${id}:${v}`, {
    'metal-amd64.iso': 'iso bytes',
    '../../../../etc/passwd': 'a title that is a path',
    'a"\r\nX-Evil: 1.iso': 'a title that breaks a header',
    '<script>alert(1)</script>.iso': 'a title that is HTML',
  });
  const known = new Set([...files.values()].map(({ digest }) => digest));
  const asked: string[] = [];
  /** Notes what is looked up of content that no manifest names. */
  const source: ContentSource = {
    stat: (digest) => layout.stat(digest),
    names: () => layout.names(),
    fetch: (descriptor, signal) => layout.fetch(descriptor, signal),
    locate: (descriptor) => {
      if (!known.has(descriptor.digest)) asked.push(descriptor.digest);
      return layout.locate(descriptor);
    },
  };
  return { server: await start({ source }), id, asked };
}

const x = '0'.repeat(64);

describe('T54 serve.path, F51 serve.path.raw: refused, nothing outside the index is looked up, the server lives', () => {
  test.each([
    ['dot segments', `GET /image/${x}/${v}/../../../../etc/passwd`],
    ['encoded dot segments', `GET /image/%2e%2e/%2e%2e/etc%2fpasswd`],
    ['doubly encoded', `GET /image/%252e%252e/${v}/%252e%252e%252fetc`],
    ['NUL in the name', `GET /image/${x}/${v}/metal-amd64.iso%00.txt`],
    ['an encoded slash', `GET /image/${x}/${v}%2f..%2f/metal-amd64.iso`],
    ['a backslash', `GET /image/${x}/${v}/..%5c..%5cetc`],
    ['two slashes', `GET //image/${x}/${v}/metal-amd64.iso`],
    ['absolute form', `GET http://other.example/versions`],
    ['authority form', 'GET other.example:80'],
    ['no UTF-8', `GET /schematics/%ff%fe`],
    ['a talosctl that is a path', `GET /talosctl/${v}/..%2f..%2fetc%2fpasswd`],
    ['a title that is a path', `GET /image/ID/${v}/..%2f..%2f..%2f..%2fetc%2fpasswd`],
    ['a list that is a path', `GET /version/..%2f..%2f/extensions/official`],
    ['a PXE target that is a path', `GET /pxe/ID/${v}/..%2f..%2fmetal-amd64`],
    ['header injection by the target', `GET /image/ID/${v}/metal-amd64.iso?filename=a%0d%0aX-Evil:%201`],
    ['a huge target', `GET /image/${'a'.repeat(40_000)}`],
  ])('%s', async (_what, line) => {
    const { server, id, asked } = await served();
    const target = line.replace('/ID/', `/${id}/`);
    const answer = await raw(server.url, `${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`).catch(
      (error: Error) => error.message,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 4\d\d |ECONNRESET|EPIPE/);
    expect(answer).not.toMatch(/^x-evil/im);
    expect(asked).toEqual([]);
    expect((await fetch(`${server.url}/versions`)).status).toBe(200);
  });

  test('headers: too many, too long, a line break, a bad host', async () => {
    const { server } = await served();
    for (const head of [
      `X-A: ${'a'.repeat(20_000)}`,
      Array.from({ length: 3000 }, (_, i) => `X-${i}: a`).join('\r\n'),
      'X-Request-ID: a\r\n\tb\u0001',
      'Host: y',
    ]) {
      const answer = await raw(
        server.url,
        `GET /versions HTTP/1.1\r\nHost: x\r\n${head}\r\nConnection: close\r\n\r\n`,
      ).catch((error: Error) => error.message);
      expect(answer).toMatch(/^HTTP\/1\.1 (?:4\d\d|200) |ECONNRESET|EPIPE/);
      expect((await fetch(`${server.url}/versions`)).status).toBe(200);
    }
  });
});

describe('T38: text of the content itself', () => {
  test('titles of a carried artifact never become a header, a path or markup', async () => {
    const { server, id } = await served();
    const base = `${server.url}/image/${id}/${v}`;
    for (const title of ['a"\r\nX-Evil: 1.iso', '<script>alert(1)</script>.iso', '../../../../etc/passwd']) {
      const response = await fetch(`${base}/${encodeURIComponent(title)}`);
      expect(response.status).toBe(400);
      expect(response.headers.get('x-evil')).toBe(null);
    }
    const page = await (await fetch(`${server.url}/`)).text();
    expect(page.match(/<script/g)).toHaveLength(1);
    expect(page).toContain('&lt;script&gt;');
  });

  test('a schematic that is looked up is shown as text', async () => {
    const { server } = await served();
    const body = new URLSearchParams({ schematic: '</textarea><script>alert(1)</script>' });
    const page = await (await fetch(`${server.url}/lookup`, { method: 'POST', body })).text();
    expect(page.match(/<script/g)).toHaveLength(1);
    expect(page).toContain('No schematic:');
  });

  test('what is searched for is shown as text', async () => {
    const { server } = await served();
    const page = await (
      await fetch(`${server.url}/?q=${encodeURIComponent('"><script>alert(1)</script>')}`)
    ).text();
    expect(page.match(/<script/g)).toHaveLength(1);
    expect(page).toContain('value="&quot;&gt;&lt;script&gt;');
  });

  test('the page lets nothing be loaded from elsewhere or framed, and no script run but its own', async () => {
    const { server } = await served();
    const response = await fetch(server.url);
    const [, hash] =
      /^default-src 'none'; img-src data:; style-src 'sha256-[^']+'; script-src '(sha256-[^']+)'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'$/.exec(
        response.headers.get('content-security-policy') ?? '',
      ) ?? [];
    const [, script = ''] = /<script>(.*)<\/script>/s.exec(await response.text()) ?? [];
    expect(hash).toBe(`sha256-${createHash('sha256').update(script).digest('base64')}`);
  });
});

test('a form that is too large is refused', async () => {
  const { server } = await served();
  const body = new URLSearchParams({ schematic: 'x'.repeat(300_000) });
  const response = await fetch(`${server.url}/lookup`, { method: 'POST', body });
  expect(response.status).toBe(413);
  expect((await fetch(server.url)).status).toBe(200);
});

/** The registry double of the end-to-end tests, with each way to log in, and the images that are pushed to it. */
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { type Registry, startRegistry } from './docker-registry.ts';
import { imageCommands, publishImages } from './images.ts';
import { describeWith } from './service-test.ts';
import { startTokenServer } from './token-server.ts';

const accept = {
  Accept: [
    'application/vnd.oci.image.index.v1+json',
    'application/vnd.oci.image.manifest.v1+json',
    'application/vnd.docker.distribution.manifest.v2+json',
  ].join(', '),
};

const basic = (user: string, password: string): Record<string, string> => ({
  Authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
});

describeWith(['docker-registry', ...imageCommands], 'plain registry', () => {
  let registry: Registry;
  beforeAll(async () => {
    registry = await startRegistry();
  });
  afterAll(() => registry?.stop());

  test('holds an index of two platforms with the digest it was built with', async () => {
    const { index } = await publishImages(registry);
    const answer = await fetch(`${registry.url}/v2/${index.repository}/manifests/${index.tag}`, {
      headers: accept,
    });
    expect(answer.headers.get('content-type')).toBe('application/vnd.oci.image.index.v1+json');
    expect(answer.headers.get('docker-content-digest')).toBe(index.digest);
    expect(index.manifests).toHaveLength(2);
    const layers = await Promise.all(
      index.manifests.map(async ({ digest }) => {
        const child = await fetch(`${registry.url}/v2/${index.repository}/manifests/${digest}`, {
          headers: accept,
        });
        const manifest = (await child.json()) as { layers: { digest: string }[] };
        return new Set(manifest.layers.map((layer) => layer.digest));
      }),
    );
    expect(layers.map((set) => set.size)).toEqual([3, 3]);
    expect([...(layers[0] ?? [])].filter((digest) => layers[1]?.has(digest)).length).toBeGreaterThan(0);
  });

  test('holds a Docker image of schema 2', async () => {
    const { docker } = await publishImages(registry);
    const answer = await fetch(`${registry.url}/v2/${docker.repository}/manifests/${docker.tag}`, {
      headers: accept,
    });
    expect(answer.headers.get('content-type')).toBe('application/vnd.docker.distribution.manifest.v2+json');
    expect(answer.headers.get('docker-content-digest')).toBe(docker.digest);
    expect(docker.config.mediaType).toBe('application/vnd.docker.container.image.v1+json');
    expect(docker.layers).toHaveLength(3);
  });
});

describeWith(['docker-registry', ...imageCommands], 'registry with htpasswd', () => {
  test('lets in who has the password', async () => {
    const registry = await startRegistry({ auth: 'htpasswd' });
    onTestFinished(() => registry.stop());
    const { user = '', password = '' } = registry.login ?? {};
    const ping = async (headers: Record<string, string>): Promise<number> =>
      (await fetch(`${registry.url}/v2/`, { headers })).status;
    expect(await ping({})).toBe(401);
    expect(await ping(basic(user, 'wrong'))).toBe(401);
    expect(await ping(basic(user, password))).toBe(200);
    await expect(publishImages(registry)).resolves.toBeDefined();
  });
});

describeWith(['docker-registry', 'openssl', ...imageCommands], 'registry with a token server', () => {
  test('gives anyone a token to pull, and only the publisher one to push', async () => {
    const tokens = await startTokenServer({ lifeSeconds: 60 });
    onTestFinished(() => tokens.stop());
    const registry = await startRegistry({ auth: tokens });
    onTestFinished(() => registry.stop());
    const { index } = await publishImages(registry);
    expect(tokens.requests.some(({ user, status }) => user === 'publisher' && status === 200)).toBe(true);

    const challenge = (await fetch(`${registry.url}/v2/`)).headers.get('www-authenticate');
    expect(challenge).toBe(`Bearer realm="${tokens.url}",service="${tokens.service}"`);
    const ask = async (headers: Record<string, string>): Promise<Response> =>
      fetch(`${tokens.url}?service=${tokens.service}&scope=repository:${index.repository}:pull,push`, {
        headers,
      });
    expect((await ask(basic('publisher', 'wrong'))).status).toBe(401);

    const before = tokens.requests.length;
    const { token, expires_in: life } = (await (await ask({})).json()) as {
      token: string;
      expires_in: number;
    };
    expect(life).toBe(60);
    expect(tokens.requests.slice(before)).toEqual([
      {
        service: tokens.service,
        scopes: [`repository:${index.repository}:pull,push`],
        user: undefined,
        status: 200,
      },
    ]);
    const headers = { ...accept, Authorization: `Bearer ${token}` };
    const name = `${registry.url}/v2/${index.repository}`;
    expect((await fetch(`${name}/manifests/${index.tag}`, { headers })).status).toBe(200);
    expect((await fetch(`${name}/blobs/uploads/`, { method: 'POST', headers })).status).toBe(401);
    expect((await fetch(`${name}-other/manifests/${index.tag}`, { headers })).status).toBe(401);
  });
});

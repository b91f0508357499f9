/**
 * Inside is silent: load and serve in a network namespace where the kernel writes down whom they try to reach. A
 * proxy in the environment, metadata services and name servers are all there to be asked, and nobody asks them.
 */
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { type CephGateway, cephCommands, startCeph } from '../services/ceph.ts';
import { command } from '../services/command.ts';
import { type Registry, startRegistry } from '../services/docker-registry.ts';
import { describeWith } from '../services/service-test.ts';
import { cli, cliJson, startServe } from '../support/cli.ts';
import { type MadeBundle, makeBundle } from '../support/made-bundle.ts';
import {
  linkAddress,
  namespaceCommands,
  type WatchedNamespace,
  watchedNamespace,
} from '../support/watched-namespace.ts';
import { type Workspace, workspace } from '../support/workspace.ts';

const mebibyte = 1024 * 1024;

describeWith([...namespaceCommands, ...cephCommands, 'docker-registry', 'curl'], 'inside is silent', () => {
  let namespace: WatchedNamespace | undefined;
  let registry: Registry;
  let gateway: CephGateway;
  let bundle: MadeBundle;
  let site: Workspace;

  beforeAll(async () => {
    namespace = await watchedNamespace();
    if (namespace === undefined) return;
    registry = await startRegistry();
    gateway = await startCeph();
    await gateway.createBucket('talos');
    bundle = await makeBundle(
      { 'ghcr.io/siderolabs/imager:v1.13.9': [mebibyte], 'quay.io/acme/tool:v1': [5000] },
      { 'kernel-amd64': mebibyte, 'metal-amd64.iso': 70 * mebibyte },
    );
    site = await workspace();
  });
  afterAll(async () => {
    await gateway?.stop();
    await registry?.stop();
    await namespace?.close();
  });

  const inside = (context: { skip(note: string): void }): WatchedNamespace => {
    if (namespace === undefined) context.skip('network namespaces cannot be made here (needs root)');
    return namespace as WatchedNamespace;
  };
  const temptations = {
    HTTP_PROXY: `http://${linkAddress}:3128`,
    HTTPS_PROXY: `http://${linkAddress}:3128`,
    ALL_PROXY: `http://${linkAddress}:3128`,
  };

  test('load reaches the registry and the object store that were named, and tries nobody else', async (context) => {
    const { enter, relay, contacted } = inside(context);
    const [registryHost, storeHost] = [await relay(registry.host), await relay(new URL(gateway.url).host)];
    const load = [
      ...['load', ...bundle.flags, '--registry', registryHost, '--plain-http', registryHost],
      ...['--object-store', 's3://talos', '--s3-endpoint', `http://${storeHost}`],
      ...['--state', site.at('state'), '--handoff', site.at('handoff'), '--verify', 'full'],
    ];
    const env = {
      ...temptations,
      AWS_ACCESS_KEY_ID: gateway.accessKeyId,
      AWS_SECRET_ACCESS_KEY: gateway.secretAccessKey,
    };
    const loaded = await cliJson<{ readonly objectsStored: number }>(load, { env, within: enter });
    expect(loaded.objectsStored).toBe(2);
    expect(await contacted()).toEqual([`tcp ${registryHost}`, `tcp ${storeHost}`].sort());
  });

  test('with --proxy nobody but the proxy', async (context) => {
    const { enter, relay, contacted } = inside(context);
    const before = new Set(await contacted());
    const asked: string[] = [];
    const proxy = createServer((incoming, response) => {
      const url = new URL(incoming.url ?? '');
      asked.push(url.host);
      const { method, headers } = incoming;
      const outgoing = request(url, { ...(method === undefined ? {} : { method }), headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.pipe(response);
      });
      incoming.pipe(outgoing.on('error', () => response.destroy()));
    });
    proxy.listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    onTestFinished(() => void proxy.close());
    const proxyHost = await relay(`127.0.0.1:${(proxy.address() as AddressInfo).port}`);
    const load = [
      ...['load', ...bundle.flags, '--registry', registry.host, '--plain-http', registry.host],
      ...['--state', site.at('state'), '--handoff', site.at('handoff')],
    ];
    await cliJson([...load, '--proxy', `http://${proxyHost}`], { env: temptations, within: enter });
    expect((await contacted()).filter((one) => !before.has(one))).toEqual([`tcp ${proxyHost}`]);
    expect([...new Set(asked)]).toEqual([registry.host]);
    const wrong = await cli([...load, '--proxy', 'ftp://canary:word@there'], { within: enter });
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toContain('--proxy must be an http or https URL');
    expect(wrong.stderr).not.toContain('canary');
  });

  test('serve answers, and opens no connection of its own', async (context) => {
    const { enter, contacted } = inside(context);
    const before = new Set(await contacted());
    const server = await startServe([...bundle.flags], { env: temptations, within: enter });
    const [program = '', ...rest] = enter;
    for (const path of ['/healthz', '/versions', '/v2/siderolabs/imager/manifests/v1.13.9']) {
      await command(program, [...rest, 'curl', '--silent', '--show-error', `http://${server.host}${path}`]);
    }
    await server.stop();
    const after = await contacted();
    // Only curl's way to it.
    expect(after.filter((one) => !before.has(one))).toEqual([`tcp ${server.host}`]);
  });

  test('whoever asks a name server or a metadata service here is seen', async (context) => {
    const { enter, contacted } = inside(context);
    const [program = '', ...rest] = enter;
    const ask = ['curl', '--silent', '--max-time', '1', 'http://169.254.169.254/'];
    await command(program, [...rest, ...ask]).catch(() => undefined);
    expect(await contacted()).toContain('tcp 169.254.169.254:80');
  });
});

import type { Layout } from '@omni-airgap/oci/layout';
import { beforeEach, describe, expect, test } from 'vitest';
import { answer, carried, cmdline, other, post, v } from './carried.ts';
import { putFiles, putSchematic, type Running, start } from './support.ts';

let layout: Layout;
let id: string;

beforeEach(async () => {
  ({ layout, id } = await carried());
});

const serve = (): Promise<Running> => start({ source: layout });

describe('/pxe', () => {
  const script = (base: string, schematic: string, extra = ''): string =>
    `#!ipxe\n\nimgfree\nkernel ${base}/image/${schematic}/${v}/kernel-amd64 ${cmdline}${extra}\ninitrd ${base}/image/${schematic}/${v}/initramfs-amd64.xz\nboot\n`;

  test('a script with the address the client asked', async () => {
    const { url } = await serve();
    for (const target of ['metal-amd64', 'metal-x86_64']) {
      expect(await answer(await fetch(`${url}/pxe/${id}/1.13.9/${target}`))).toEqual([200, script(url, id)]);
    }
  });

  test('with the external URL; SecureBoot boots the UKI', async () => {
    const base = 'http://pxe.example:8080';
    const { url } = await start({ source: layout, externalUrl: `${base}/` });
    expect((await answer(await fetch(`${url}/pxe/${id}/${v}/metal-amd64`)))[1]).toBe(script(base, id));
    expect((await answer(await fetch(`${url}/pxe/${id}/${v}/metal-amd64-secureboot`)))[1]).toBe(
      `#!ipxe\n\nimgfree\nkernel ${base}/image/${id}/${v}/metal-amd64-secureboot-uki.efi ${cmdline} lockdown=confidentiality\nboot\n`,
    );
  });

  test('the kernel of another schematic does; its initramfs never', async () => {
    const made = await putSchematic(layout, other);
    await putFiles(layout, `factory.talos.dev/talos-media/${made}:${v}`, { 'initramfs-amd64.xz': 'own' });
    const { url } = await serve();
    const extra = ' siderolink.api=grpc://omni:8090 net.ifnames=0';
    expect(await answer(await fetch(`${url}/pxe/${made}/${v}/metal-amd64`))).toEqual([
      200,
      script(url, made, extra),
    ]);
    const third = 'customization:\n    extraKernelArgs:\n        - a=b\n';
    const { id: thirdId } = (await (await post(url, third)).json()) as { id: string };
    const refused = await answer(await fetch(`${url}/pxe/${thirdId}/${v}/metal-amd64`));
    expect(refused).toEqual([404, expect.stringContaining('initramfs-amd64.xz')]);
  });

  test('T38: a Host header that is no host is not repeated', async () => {
    const server = await serve();
    const { request } = await import('node:http');
    const body = await new Promise<string>((resolve, reject) => {
      const sent = request(
        `${server.url}/pxe/${id}/${v}/metal-amd64`,
        { headers: { host: 'evil/$(x)' } },
        (response) => {
          let text = '';
          response.on('data', (chunk) => {
            text += chunk;
          });
          response.on('end', () => resolve(text));
        },
      );
      sent.on('error', reject).end();
    });
    expect(body).toBe(script(server.url, id));
  });

  test.each([
    ['latest', 'metal-amd64', 400],
    [v, 'metal', 400],
    [v, 'metal-riscv64', 400],
    [v, 'aws-amd64', 404],
  ])('%s/%s: %i', async (version, target, status) => {
    expect((await fetch(`${(await serve()).url}/pxe/${id}/${version}/${target}`)).status).toBe(status);
  });
});

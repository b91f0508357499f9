/** A site that was brought a little of everything the Image Factory has: what its API is tested with. */
import type { Layout } from '@omni-airgap/oci/layout';
import { newLayout, putFiles, putImage, putSchematic } from './support.ts';

export const v = 'v1.13.9';
export const plain = 'customization: {}\n';
/** Not carried. */
export const other =
  'customization:\n    extraKernelArgs:\n        - siderolink.api=grpc://omni:8090\n        - net.ifnames=0\n';
export const cmdline = 'talos.platform=metal console=tty0 init_on_alloc=1 slab_nomerge pti=on';
/** @returns the layout, and the ID of the schematic whose builds are in it */
export async function carried(): Promise<{ readonly layout: Layout; readonly id: string }> {
  const layout = await newLayout();
  const id = await putSchematic(layout, plain);
  await putFiles(layout, `factory.talos.dev/talos-media/${id}:${v}`, {
    'metal-amd64.iso': 'iso bytes',
    'kernel-amd64': 'kernel bytes',
    'initramfs-amd64.xz': 'initramfs bytes',
    'cmdline-metal-amd64': cmdline,
    'metal-amd64-secureboot-uki.efi': 'uki bytes',
    'cmdline-metal-amd64-secureboot': `${cmdline} lockdown=confidentiality`,
  });
  await putFiles(layout, 'factory.talos.dev/talos-catalog/versions:latest', { versions: `["${v}"]\n` });
  await putFiles(layout, `factory.talos.dev/talos-catalog/extensions:${v}`, {
    'extensions.json':
      '[{"name":"siderolabs/iscsi-tools","ref":"r","digest":"d","author":"a","description":"e"}]\n',
  });
  await putFiles(layout, `factory.talos.dev/talos-catalog/overlays:${v}`, { 'overlays.json': '[]\n' });
  await putFiles(layout, `factory.talos.dev/talos-catalog/talosctl:${v}`, { 'talosctl-linux-amd64': 'ELF' });
  await putFiles(layout, 'factory.talos.dev/talos-catalog/cosign:latest', { 'signing-key.pub': 'PEM\n' });
  await putFiles(layout, 'factory.talos.dev/talos-catalog/secureboot:latest', {
    'signing-cert.pem': 'CERT\n',
  });
  await putImage(layout, `factory.talos.dev/metal-installer/${id}:${v}`, Buffer.from('installer'));
  await putImage(layout, `factory.talos.dev/metal-installer/${id}:v1.12.10`, Buffer.from('older installer'));
  await putImage(
    layout,
    `factory.talos.dev/metal-installer/${id}:v1.14.0-rc.1`,
    Buffer.from('newer installer'),
  );
  return { layout, id };
}

export async function post(url: string, body: string): Promise<Response> {
  return fetch(`${url}/schematics`, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/yaml' },
  });
}

export async function answer(response: Response): Promise<readonly [number, string]> {
  return [response.status, await response.text()];
}

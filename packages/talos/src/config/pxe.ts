/**
 * iPXE scripts for machines that boot Talos over the network.
 * Source: siderolabs/image-factory docs/api.md, "/pxe"; ipxe.org/cmd.
 */

export interface PxeBoot {
  /** URL of the kernel; with SecureBoot, of the one signed file that holds all of it. */
  readonly kernel: string;
  /** URL; not with SecureBoot. */
  readonly initramfs?: string;
  /** Kernel arguments, as the factory gives them. */
  readonly cmdline: string;
}

/** The script; URLs and arguments are those of the caller. */
export function pxeScript({ kernel, initramfs, cmdline }: PxeBoot): string {
  const lines = [
    'imgfree',
    `kernel ${kernel} ${cmdline.trim().replaceAll(/\s+/g, ' ')}`,
    ...(initramfs === undefined ? [] : [`initrd ${initramfs}`]),
    'boot',
  ];
  return `#!ipxe\n\n${lines.join('\n')}\n`;
}

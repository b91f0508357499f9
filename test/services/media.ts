/**
 * Real Talos-like media for the factory double: a kernel, an initramfs with busybox as its init, their command
 * line, and an ISO that boots (BIOS, El Torito) and holds all three.
 */
import { chmodSync, copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { command } from './command.ts';
import { requireCommands } from './require.ts';
import { remove, temporaryFolder } from './temporary.ts';

/** File name as the Image Factory calls it -> path. */
type MediaFiles = Readonly<
  Record<'metal-amd64.iso' | 'kernel-amd64' | 'initramfs-amd64.xz' | 'cmdline-metal-amd64', string>
>;

export interface Media {
  readonly files: MediaFiles;
  /** Removes the files. */
  dispose(): void;
}

/** The programs it needs, for `describeWith`. */
export const mediaCommands: readonly string[] = ['xorriso', 'busybox', 'bsdtar'];

/** @throws MissingService without xorriso, busybox-static or bsdtar */
export async function makeMedia(): Promise<Media> {
  requireCommands(...mediaCommands);
  const folder = temporaryFolder('media');
  const boot = join(folder, 'boot');
  mkdirSync(boot);
  const kernel = join(boot, 'kernel-amd64');
  const initramfs = join(boot, 'initramfs-amd64.xz');
  const commandLine = join(boot, 'cmdline-metal-amd64');
  writeFileSync(kernel, bootSector('omni-airgap test kernel', 4 * 1024 * 1024));
  await makeInitramfs(join(folder, 'initramfs'), initramfs);
  writeFileSync(commandLine, 'talos.platform=metal console=tty0 init_on_alloc=1\n');
  writeFileSync(join(boot, 'boot.img'), bootSector('omni-airgap test media', 2048));
  const iso = join(folder, 'metal-amd64.iso');
  const elTorito = ['-b', 'boot.img', '-no-emul-boot', '-boot-load-size', '4', '-c', 'boot.cat'];
  await command('xorriso', [
    '-as',
    'mkisofs',
    '-quiet',
    '-r',
    '-V',
    'TALOS_TEST',
    ...elTorito,
    '-o',
    iso,
    boot,
  ]);
  const files: MediaFiles = {
    'metal-amd64.iso': iso,
    'kernel-amd64': kernel,
    'initramfs-amd64.xz': initramfs,
    'cmdline-metal-amd64': commandLine,
  };
  return { files, dispose: () => remove(folder) };
}

/** A cpio archive as the kernel unpacks it, compressed with xz. */
async function makeInitramfs(tree: string, target: string): Promise<void> {
  mkdirSync(join(tree, 'bin'), { recursive: true });
  copyFileSync('/bin/busybox', join(tree, 'bin', 'busybox'));
  writeFileSync(join(tree, 'init'), '#!/bin/busybox sh\nexec /bin/busybox sh\n');
  chmodSync(join(tree, 'init'), 0o755);
  await command('bsdtar', ['--format', 'newc', '--xz', '-cf', target, '-C', tree, '.']);
}

/**
 * A file that a BIOS starts: real-mode code that prints `text` and halts; the rest are bytes that do not compress.
 * @param size bytes
 */
function bootSector(text: string, size: number): Buffer {
  const code = [
    ...[0x31, 0xc0, 0x8e, 0xd8], // xor ax,ax; mov ds,ax
    ...[0xbe, 0x18, 0x7c], // mov si,0x7c18 (the text)
    ...[0xac, 0x84, 0xc0, 0x74, 0x06], // next: lodsb; test al,al; jz halt
    ...[0xb4, 0x0e, 0xcd, 0x10, 0xeb, 0xf5], // mov ah,14; int 0x10; jmp next
    ...[0xf4, 0xeb, 0xfd], // halt: hlt; jmp halt
  ];
  const sector = Buffer.alloc(size);
  for (let i = 512, state = size; i + 4 <= size; i += 4) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    sector.writeUInt32LE(state, i);
  }
  sector.set(code);
  sector.write(`${text}\r\n`, 0x18, 'latin1');
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
}

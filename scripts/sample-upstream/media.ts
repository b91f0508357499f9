/**
 * Media files as the factory builds them: what depends on the schematic does (all but the kernel), so that mixing
 * up two schematics shows.
 */
import { createWriteStream } from 'node:fs';
import { mkdir, rename, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type IsoFile, iso } from './iso.ts';
import { Random } from './random.ts';
import { fullSize, mediaShare, peMagic, programMagics, zstdMagic } from './versions.ts';

const mebibyte = 1024 * 1024;
/** First bytes by the end of the name; of an archive, up to the mark in its first header. */
const magics: readonly (readonly [end: string, magic: Buffer])[] = [
  ['.xz', Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00])],
  ['.zst', zstdMagic],
  ['.gz', Buffer.from([0x1f, 0x8b, 0x08])],
  ['.qcow2', Buffer.from('QFI\xfb\0\0\0\x03', 'latin1')],
  ['.efi', peMagic],
  ['.ova', tarHeader('disk.vmdk')],
  ['.tar', tarHeader('manifest.json')],
];
const kernelArguments =
  'console=tty0 init_on_alloc=1 slab_nomerge pti=on consoleblank=0 nvme_core.io_timeout=4294967295 printk.devkmsg=on selinux=1';

export interface MediaRequest {
  readonly schematic: string;
  /** Canonical YAML. */
  readonly canonical: string;
  readonly extraKernelArgs: readonly string[];
  readonly version: string;
  readonly file: string;
}

export class Media {
  readonly #folder: string;
  readonly #seed: number;
  readonly #scale: number;
  readonly #given: Readonly<Record<string, string>>;

  /** @param given paths by file name: served as they are, whatever the schematic, instead of generated ones */
  constructor(folder: string, seed: number, sizeMiB: number, given: Readonly<Record<string, string>> = {}) {
    this.#folder = folder;
    this.#seed = seed;
    this.#scale = sizeMiB / fullSize;
    this.#given = given;
  }

  /** The file, made when it is not there yet; undefined for a name that the factory does not know. */
  async file(request: MediaRequest): Promise<{ readonly path: string; readonly size: number } | undefined> {
    const given = this.#given[request.file];
    if (given !== undefined) return { path: given, size: (await stat(given)).size };
    const chunks = this.#content(request);
    if (chunks === undefined) return undefined;
    const path = join(this.#folder, request.schematic, request.version, request.file);
    const there = await stat(path).catch(() => undefined);
    if (there !== undefined) return { path, size: there.size };
    await mkdir(dirname(path), { recursive: true });
    const temporary = `${path}.${process.pid}.${Math.random()}.tmp`;
    await pipeline(Readable.from(chunks), createWriteStream(temporary));
    await rename(temporary, path);
    return { path, size: (await stat(path)).size };
  }

  /** A talosctl binary: the same whatever the schematic. */
  async talosctl(version: string, file: string): Promise<{ readonly path: string; readonly size: number }> {
    const path = join(this.#folder, 'talosctl', version, file);
    await mkdir(dirname(path), { recursive: true });
    const size = this.#bytes(4);
    const magic = programMagics[file.split('-')[1] ?? ''] ?? Buffer.alloc(0);
    const noise = new Random(this.#seed, version, file).noise(size - magic.byteLength);
    const bytes = Buffer.concat([magic, ...noise]);
    await writeFile(path, bytes);
    return { path, size };
  }

  #bytes(share: number): number {
    return Math.max(4096, Math.round(share * this.#scale * mebibyte));
  }

  #content(request: MediaRequest): Iterable<Uint8Array> | undefined {
    const { file, extraKernelArgs, canonical } = request;
    const arch = /-(amd64|arm64)(?:[.-]|$)/.exec(file)?.[1];
    if (arch === undefined || !/^[a-z0-9][a-z0-9.-]*$/.test(file)) return undefined;
    const platform = /^cmdline-([a-z]+)-/.exec(file)?.[1];
    if (platform !== undefined) {
      return [Buffer.from([`talos.platform=${platform} ${kernelArguments}`, ...extraKernelArgs].join(' '))];
    }
    const kernel = this.#part(request, `kernel-${arch}`, mediaShare.kernel, peMagic);
    if (file === `kernel-${arch}`) return kernel.chunks();
    const initramfs = this.#part(request, `initramfs-${arch}.xz`, mediaShare.initramfs, zstdMagic);
    if (file === `initramfs-${arch}.xz`) return initramfs.chunks();
    const text = Buffer.from(canonical);
    const schematic = { name: 'SCHEMA.YML', size: text.byteLength, chunks: () => [text] };
    const files = [{ ...kernel, name: 'VMLINUZ.BIN' }, { ...initramfs, name: 'INITRD.XZ' }, schematic];
    if (file.endsWith('.iso')) return iso('TALOS', files);
    const magic = magics.find(([end]) => file.endsWith(end))?.[1];
    return magic === undefined ? undefined : this.#part(request, file, mediaShare.initramfs, magic).chunks();
  }

  #part({ schematic, version }: MediaRequest, name: string, share: number, magic: Buffer): IsoFile {
    const size = this.#bytes(share);
    const owner = name.startsWith('kernel-') ? '' : schematic;
    const seed = this.#seed;
    function* chunks(): Generator<Uint8Array> {
      yield magic;
      yield* new Random(seed, owner, version, name).noise(size - magic.byteLength);
    }
    return { name, size, chunks };
  }
}

/** The beginning of a tar archive: enough for its mark at byte 257. */
function tarHeader(name: string): Buffer {
  const header = Buffer.alloc(512);
  header.write(name);
  header.write('ustar\x0000', 257, 'latin1');
  return header;
}

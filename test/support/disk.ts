/**
 * A disk that can fail, without a fault being made up: ext4 on a partition of a loop device whose file lies on a tmpfs.
 * When the tmpfs is full, or the partition is made shorter than the file system is, the kernel's own block layer
 * refuses what is read or written there.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished, type TestContext } from 'vitest';
import { remove, temporaryFolder } from '../services/temporary.ts';

const mebibyte = 1024 * 1024;
const sector = 512;
/** Where the partition begins: sectors. */
const begin = 2048;

export interface DiskSize {
  /** What the disk says of itself: MiB. */
  readonly size: number;
  /** What there is behind it: MiB; default enough. */
  readonly room?: number;
}

export class Disk {
  /** Where it is mounted. */
  readonly folder: string;
  readonly #below: string;
  readonly #device: string;
  readonly #sectors: number;
  #isMounted = false;

  private constructor(folder: string, below: string, device: string, sectors: number) {
    this.folder = folder;
    this.#below = below;
    this.#device = device;
    this.#sectors = sectors;
  }

  /** A mounted, empty one, until the test ends; without the right to make one the test is left out and says why. */
  static make(context: TestContext, { size, room = size + 16 }: DiskSize): Disk {
    const root = temporaryFolder('disk');
    const [below, folder] = [join(root, 'below'), join(root, 'mounted')];
    for (const path of [below, folder]) mkdirSync(path);
    onTestFinished(() => remove(root));
    const orSkip = (program: string, ...args: string[]): string => {
      try {
        return run(program, ...args);
      } catch {
        return context.skip('a loop device with a partition cannot be mounted here (it takes root)');
      }
    };
    orSkip('mount', '-t', 'tmpfs', '-o', `size=${room}M`, 'tmpfs', below);
    atTheEnd('umount', '-l', below);
    const image = join(below, 'image');
    run('truncate', '-s', `${size}M`, image);
    const device = orSkip('losetup', '--find', '--show', image).trim();
    atTheEnd('losetup', '--detach', device);
    const sectors = (size * mebibyte) / sector - begin;
    orSkip('addpart', device, '1', String(begin), String(sectors));
    atTheEnd('delpart', device, '1');
    const disk = new Disk(folder, below, device, sectors);
    orSkip('mkfs.ext4', '-q', '-m', '0', disk.#partition);
    orSkip('mount', disk.#partition, folder);
    disk.#isMounted = true;
    atTheEnd('umount', '-l', folder);
    return disk;
  }

  /** Reading and writing beyond here is an input/output error from now on. @param kept bytes */
  fail(kept: number): void {
    run('resizepart', this.#device, '1', String(Math.max(8, Math.floor(kept / sector))));
  }

  /** Where on the disk a file ends that was synced: bytes. */
  endOf(path: string): number {
    // As in `0: 0.. 3583: 34816.. 38399: 3584: last,eof`, a line for each extent, in blocks.
    const extents = run('filefrag', '-v', `-b${sector}`, path).matchAll(/^ +\d+:[^:]+: +\d+\.\. +(\d+):/gm);
    return Math.max(...[...extents].map(([, last]) => Number(last) + 1)) * sector;
  }

  /** What was read is read from the device again. */
  forget(): void {
    run('sync', '-f', this.folder);
    run('sh', '-c', 'echo 3 > /proc/sys/vm/drop_caches');
  }

  /** As after plugging it in again: whole, with all the room that it says it has, its file system repaired. */
  plugIn(): void {
    this.#unmount();
    run('mount', '-o', `remount,size=${this.#sectors}k`, this.#below);
    run('resizepart', this.#device, '1', String(this.#sectors));
    // -f: to replay the journal is not enough where blocks were lost. 1: errors were corrected.
    run('sh', '-c', 'fsck.ext4 -fy "$0" || [ $? = 1 ]', this.#partition);
    run('mount', this.#partition, this.folder);
    this.#isMounted = true;
  }

  get #partition(): string {
    return `${this.#device}p1`;
  }

  #unmount(): void {
    if (this.#isMounted) run('umount', this.folder);
    this.#isMounted = false;
  }
}

/** Whatever became of the test, and of what was to be undone before: the rest is undone all the same. */
function atTheEnd(program: string, ...args: string[]): void {
  onTestFinished(() => {
    try {
      run(program, ...args);
    } catch (error) {
      console.error(String(error));
    }
  });
}

function run(program: string, ...args: string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

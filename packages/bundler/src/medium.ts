/**
 * The folder on a medium that becomes a bundle. While it is being written a journal `bundle.unfinished` says by which
 * plan, and which volumes are done, so that an interrupted run goes on; the folder is a bundle once bundle.json is in
 * it, and that comes last.
 */
import { lstat, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type BundleDocument,
  checksumLines,
  documentName,
  isProgramFile,
  maxBundleDocumentBytes,
  parseBundleDocument,
  signatureName,
  signatureNames,
  volumeName,
  volumePrefix,
} from '@omni-airgap/format';
import { CodedError, formatBytes, systemCodeOf } from '@omni-airgap/oci/base';
import {
  acquireLock,
  checkOutputFolder,
  diskError,
  freeBytes,
  Journal,
  type Lock,
  readSmallFile,
  removeFile,
  removeTemporaries,
  syncFolder,
} from '@omni-airgap/oci/fs';
import { digestOf, hexOf } from '@omni-airgap/oci/model';
import type { IssuedBundle } from '@omni-airgap/store';
import {
  hasSize,
  holds,
  isFile,
  isThere,
  type Modes,
  makeFolder,
  readable,
  setMode,
  writeChanged,
} from './medium-files.ts';
import { type CopyOptions, copyExecutable, type ProgramFile } from './program.ts';

/** There while a process works on the folder. */
const lockName = 'bundle.lock';
/** A thousand volumes take 82 kB. */
const maxSumsBytes = 1024 * 1024;
/** What the small files of any bundle may take: bytes; those of a large one are counted by whoever writes it. */
const reserve = 4 * 1024 * 1024;
/** Of every bundle, beside bundle.json. */
const namesOfBundles =
  /^(?:content\.tar\.[0-9]{3}(?:\.partial)?|bundle\.json\.sig|bundle\.json\.sigstore\.json|README\.txt|report\.html|bom\.cdx\.json|SHA256SUMS)$/;
/** A volume, whole or while it is written. */
const volumeFile = /^content\.tar\.([0-9]{3})(\.partial)?$/;
const sumLine = /^[a-f0-9]{64} {2}content\.tar\.([0-9]{3})$/;

export class Medium {
  readonly folder: string;
  /** What bundle.json there says, if it is a bundle already. */
  readonly document: BundleDocument | undefined;
  /** Hex hash of another plan whose volumes were being written there. */
  readonly begun: string | undefined;
  readonly #plan: string;
  readonly #sizes: readonly number[];
  readonly #done: Set<number>;
  readonly #unfinished: Journal;
  readonly #lock: Lock;
  readonly #modes: Modes;

  private constructor(
    folder: string,
    document: BundleDocument | undefined,
    begun: string | undefined,
    plan: string,
    sizes: readonly number[],
    done: Set<number>,
    lock: Lock,
    modes: Modes,
  ) {
    this.folder = folder;
    this.document = document;
    this.begun = begun;
    this.#plan = plan;
    this.#sizes = sizes;
    this.#done = done;
    this.#unfinished = unfinishedIn(folder);
    this.#lock = lock;
    this.#modes = modes;
  }

  /**
   * Locks the folder, then looks what it holds; `close` frees it.
   * @param plan hex hash of what is to be written
   * @param sizes of its volumes
   * @param isPrivate only the account that writes it may read it
   * @throws BUSY while another process has it; DISK, BAD_DOCUMENT; CONFLICT when files would be replaced that no run of
   * ours is known to have written
   */
  static async open(
    folder: string,
    plan: string,
    sizes: readonly number[],
    isPrivate = false,
  ): Promise<Medium> {
    const modes = isPrivate ? readable.owner : readable.everyone;
    await makeFolder(folder, modes.folder);
    const lock = await lockMedium(folder, 'omni-airgap bundle');
    try {
      return await Medium.#look(folder, plan, sizes, lock, modes);
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  /**
   * Looks whether a folder can become a bundle, before the work that it is for; writes nothing.
   * @throws USAGE for what is no folder; CONFLICT as open; DISK, BAD_DOCUMENT
   */
  static async check(folder: string): Promise<void> {
    await checkOutputFolder('--out', folder);
    if ((await stat(join(folder, documentName)).catch(() => undefined)) !== undefined) return;
    await refuseFilesIn(folder, (await planBegunIn(folder)) !== undefined);
  }

  static async #look(
    folder: string,
    plan: string,
    sizes: readonly number[],
    lock: Lock,
    modes: Modes,
  ): Promise<Medium> {
    const path = join(folder, documentName);
    const bytes = await readSmallFile(path, maxBundleDocumentBytes);
    const document = bytes === undefined ? undefined : parseBundleDocument(bytes, path);
    const unfinished = await readUnfinished(folder);
    await refuseFilesIn(folder, document !== undefined || unfinished.plan !== undefined);
    const begun = unfinished.plan === plan ? undefined : unfinished.plan;
    const listed = new Set(begun === undefined ? unfinished.volumes : []);
    if (document !== undefined) for (const volume of await volumesInSums(folder)) listed.add(volume);
    const done = new Set<number>();
    for (const [volume, size] of sizes.entries()) {
      if (listed.has(volume) && (await hasSize(join(folder, volumeName(volume)), size))) done.add(volume);
    }
    return new Medium(folder, document, begun, plan, sizes, done, lock, modes);
  }

  /** True when the volume is there and was synced (and read back, if that was asked for) when it was written. */
  has(volume: number): boolean {
    return this.#done.has(volume);
  }

  /**
   * Removes what an interrupted run of another plan left, and begins.
   * @param needed bytes that will be written
   * @throws DISK, also when they do not fit
   */
  async begin(needed: number): Promise<void> {
    try {
      for (const name of await readdir(this.folder)) {
        const [, index, partial] = volumeFile.exec(name) ?? [];
        if (index === undefined) continue;
        const isOld = this.document === undefined && !this.has(Number(index));
        if (partial !== undefined || isOld) await rm(join(this.folder, name));
      }
      const free = await freeBytes(this.folder);
      if (free < needed + (needed > 0 ? reserve : 0)) {
        const last = this.#lastThatFits(free);
        const advice =
          last > 0
            ? `use a larger medium, or several: --volumes 0-${last} here and the others elsewhere`
            : 'use a larger medium, or several and a smaller --volume-size';
        throw new CodedError(
          'DISK',
          `${this.folder}: ${formatBytes(needed + reserve)} are needed and ${formatBytes(free)} are free; ${advice}`,
        );
      }
      await this.#unfinished.begin({ plan: this.#plan }, ...[...this.#done].map((volume) => ({ volume })));
    } catch (error) {
      throw diskError(error, this.folder);
    }
  }

  /** The volume is whole there. */
  async done(volume: number): Promise<void> {
    await this.#unfinished.append({ volume });
    this.#done.add(volume);
  }

  /** @throws CONFLICT when there is another file under the name of an executable, and no bundle here ever named it */
  async refuseOtherFile({ name, size, sha256 }: ProgramFile): Promise<void> {
    const path = join(this.folder, name);
    const isOurs = this.document?.files.some((file) => file.name === name) === true;
    if (isOurs || !(await isThere(path)) || (await isFile(path, size, sha256))) return;
    throw new CodedError(
      'CONFLICT',
      `${path} already exists and is another file than that of --with-program; move it away`,
    );
  }

  /**
   * Copies an executable here, unless it is here already.
   * @returns whether it was copied
   * @throws as copyExecutable
   */
  writeProgram(file: ProgramFile, options: CopyOptions): Promise<boolean> {
    return copyExecutable(file, this.folder, this.#modes.program, options);
  }

  /** Takes a volume away that is not what it should be. */
  async remove(volume: number): Promise<void> {
    await removeFile(join(this.folder, volumeName(volume)));
  }

  /**
   * Writes the small files, and bundle.json last: from then on the folder is a bundle.
   * @throws DISK
   */
  async finish({ document, bytes, files }: IssuedBundle): Promise<void> {
    await removeTemporaries(this.folder);
    const path = join(this.folder, documentName);
    await this.#removeOtherSignature(await holds(path, bytes), files);
    for (const { name, bytes: content } of files) await writeChanged(join(this.folder, name), content);
    const here: { readonly name: string; readonly sha256: string }[] = document.volumes.filter((_, volume) =>
      this.#done.has(volume),
    );
    for (const file of document.files) {
      if (!isProgramFile(file.name)) continue;
      await removeFile(join(this.folder, `${file.name}.partial`));
      if (await hasSize(join(this.folder, file.name), file.size)) here.push(file);
    }
    const small = [
      ...files.filter(({ name }) => !signatureNames.includes(name)),
      { name: documentName, bytes },
    ];
    const sums = [
      ...here,
      ...small.map((file) => ({ name: file.name, sha256: hexOf(digestOf(file.bytes)) })),
    ];
    await writeChanged(join(this.folder, 'SHA256SUMS'), Buffer.from(checksumLines(sums)));
    for (const { name } of [...here, ...files, { name: 'SHA256SUMS' }]) {
      const mode = isProgramFile(name) ? this.#modes.program : this.#modes.file;
      await setMode(join(this.folder, name), mode);
    }
    for (const name of signatureNames) {
      const signature = join(this.folder, name);
      if (await isThere(signature)) await setMode(signature, this.#modes.file);
    }
    await writeChanged(path, bytes);
    await setMode(path, this.#modes.file);
    try {
      await this.#unfinished.remove();
      await syncFolder(this.folder);
    } catch (error) {
      throw diskError(error, this.folder);
    }
  }

  /** One of a bundle.json that was here before, or of another key: no two files that differ are ever here. */
  async #removeOtherSignature(hasDocument: boolean, files: IssuedBundle['files']): Promise<void> {
    const signature = files.find(({ name }) => name === signatureName);
    if (signature === undefined && hasDocument) return;
    const path = join(this.folder, signatureName);
    if (signature !== undefined && (await holds(path, signature.bytes))) return;
    for (const name of [...signatureNames].reverse()) await removeFile(join(this.folder, name));
  }

  /** Whether the medium has a signature. Until `finish`, that may be of another bundle.json. */
  isSigned(): Promise<boolean> {
    return isSigned([this.folder]);
  }

  /** Lets others write there. */
  async close(): Promise<void> {
    await this.#lock.release();
  }

  /** True when the folder is on the file system of that path: what is removed there makes room here. */
  async sharesDiskWith(path: string): Promise<boolean> {
    return (await stat(path)).dev === (await stat(this.folder)).dev;
  }

  #lastThatFits(free: number): number {
    let left = free - reserve;
    let volume = 0;
    while (volume < this.#sizes.length - 1 && left >= (this.#sizes[volume] ?? 0))
      left -= this.#sizes[volume++] ?? 0;
    return Math.max(0, volume - 1);
  }
}

/** For as long as files of the folder are written. @throws BUSY while another process has it; DISK */
export function lockMedium(folder: string, purpose: string): Promise<Lock> {
  return acquireLock(join(folder, lockName), 'exclusive', { purpose, temporary: true });
}

/** Whether one of the media has a signature, checked or not. */
export async function isSigned(folders: readonly string[]): Promise<boolean> {
  const found = folders.map((folder) =>
    lstat(join(folder, signatureName)).then(
      () => true,
      () => false,
    ),
  );
  return (await Promise.all(found)).includes(true);
}

/**
 * @param isOurs a run of ours has begun to write there: what only looks like a volume is nobody's
 * @throws CONFLICT, DISK
 */
async function refuseFilesIn(folder: string, isOurs: boolean): Promise<void> {
  const names = await readdir(folder).catch((error: unknown) => {
    if (systemCodeOf(error) === 'ENOENT') return [];
    throw diskError(error, folder);
  });
  const isStranger = (name: string): boolean => name.startsWith(volumePrefix) && !volumeFile.test(name);
  const taken = names.find((name) => isStranger(name) || (!isOurs && namesOfBundles.test(name)));
  if (taken === undefined) return;
  throw new CodedError(
    'CONFLICT',
    `${join(folder, taken)} already exists and was not written by omni-airgap; use an empty folder or move it away`,
  );
}

/** Hex hash of the plan that a folder has been begun with, and is not finished; undefined when there is none. */
export async function planBegunIn(folder: string): Promise<string | undefined> {
  return (await readUnfinished(folder)).plan;
}

function unfinishedIn(folder: string): Journal {
  return new Journal(join(folder, 'bundle.unfinished'));
}

/** The plan that an unfinished medium is for, and which of its volumes are done. */
async function readUnfinished(
  folder: string,
): Promise<{ readonly plan: string | undefined; readonly volumes: readonly number[] }> {
  const records = await unfinishedIn(folder).read();
  const plan = records[0]?.['plan'];
  return {
    plan: typeof plan === 'string' ? plan : undefined,
    volumes: records.flatMap(({ volume }) => (typeof volume === 'number' ? [volume] : [])),
  };
}

/** Volumes on a finished medium. */
async function volumesInSums(folder: string): Promise<readonly number[]> {
  const bytes = await readSmallFile(join(folder, 'SHA256SUMS'), maxSumsBytes);
  const lines = Buffer.from(bytes ?? [])
    .toString('latin1')
    .split('\n');
  return lines.flatMap((line) => sumLine.exec(line)?.[1] ?? []).map(Number);
}

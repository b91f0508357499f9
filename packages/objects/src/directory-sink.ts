/** Objects as files below a folder, for any static web server. Each is whole and synced before it has its name. */
import { constants } from 'node:fs';
import { chmod, lstat, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Bytes } from '@omni-airgap/oci';
import { CodedError, formatBytes, isCoded, systemCodeOf } from '@omni-airgap/oci/base';
import {
  BlockWriter,
  diskError,
  eachBlock,
  ensureFolder,
  freeBytes,
  Runs,
  readPieces,
  runPattern,
  syncFolder,
} from '@omni-airgap/oci/fs';
import { checkFinished, type Digest, digestOf, Hasher } from '@omni-airgap/oci/model';
import {
  checkObjectKey,
  type NewObject,
  type ObjectInfo,
  type ObjectSink,
  type ProbeStep,
  probeKey,
  type StaleUpload,
  type WantedObject,
} from './object-sink.ts';

const temporaryPattern = new RegExp(`^\\.(${runPattern})\\.[0-9]+\\.tmp$`);

export class DirectorySink implements ObjectSink {
  readonly url: string;
  readonly #root: string;
  readonly #runs: Runs;
  #temporaries = 0;

  /** @param root absolute path; made when it is not there */
  constructor(root: string) {
    this.#root = root;
    this.#runs = new Runs(root, '.');
    this.url = `file://${root}`;
  }

  async head(key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined> {
    const path = this.#path(key);
    try {
      const info = await lstat(path);
      if (!info.isFile()) return undefined;
      // A folder keeps no digests: the bytes themselves say whether they are the right ones.
      return { size: info.size, digest: await digestOfFile(path, info.size, signal) };
    } catch (error) {
      const code = systemCodeOf(error);
      if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
      throw diskError(error, path);
    }
  }

  async holds({ key, descriptor }: WantedObject, signal?: AbortSignal): Promise<boolean> {
    const there = await this.head(key, signal);
    return there?.size === descriptor.size && there.digest === descriptor.digest;
  }

  async *get(key: string, signal?: AbortSignal): Bytes {
    const path = this.#path(key);
    const info = await lstat(path).catch((error: unknown) => {
      throw diskError(error, path);
    });
    yield* readPieces([{ path, offset: 0, size: info.size }], signal);
  }

  async put(
    object: NewObject,
    onBytes: (bytes: number) => void,
    signal?: AbortSignal,
  ): Promise<'stored' | 'present'> {
    const { key, descriptor, content } = object;
    const path = this.#path(key);
    const before = await lstat(path).catch(() => undefined);
    if (before?.isFile() === true && before.size === descriptor.size) {
      if ((await digestOfFile(path, before.size, signal)) === descriptor.digest) return 'present';
    }
    let folder = this.#root;
    await ensureFolder(folder);
    for (const segment of key.split('/').slice(0, -1)) {
      folder = join(folder, segment);
      await ensureFolder(folder);
    }
    const run = await this.#runs.begin();
    const temporary = join(folder, `.${run}.${this.#temporaries++}.tmp`);
    try {
      await this.#removeAbandoned(folder);
      const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
      const file = await open(temporary, flags, 0o644);
      const writer = new BlockWriter(file);
      const hasher = new Hasher();
      try {
        const use = async (block: Uint8Array): Promise<void> => {
          hasher.update(block);
          await writer.write(block);
          onBytes(block.byteLength);
        };
        if (content.kind === 'bytes') await use(content.bytes);
        else if (content.kind === 'pieces') await eachBlock(content.pieces, use, signal);
        else for await (const chunk of this.get(content.key, signal)) await use(chunk);
        checkFinished(hasher, { mediaType: object.contentType, ...descriptor }, key);
        await writer.sync();
      } finally {
        await writer.release();
        await file.close().catch(() => {});
      }
      await chmod(temporary, 0o644);
      await rename(temporary, path);
      await syncFolder(dirname(path));
      return 'stored';
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => {});
      if (signal?.aborted === true) throw error;
      throw diskError(error, path);
    } finally {
      await this.#runs.end();
    }
  }

  async remove(key: string): Promise<void> {
    const path = this.#path(key);
    await rm(path, { force: true }).catch((error: unknown) => {
      throw diskError(error, path);
    });
  }

  /** What lies there in the same size is not written again. */
  async requireRoom(objects: readonly { readonly key: string; readonly size: number }[]): Promise<void> {
    let needed = 0;
    for (const { key, size } of objects) {
      const there = await lstat(this.#path(key)).catch(() => undefined);
      if (there?.isFile() !== true || there.size !== size) needed += size;
    }
    const free = await freeBytes(this.#root);
    if (free >= needed) return;
    throw new CodedError(
      'DISK',
      `${this.#root}: ${formatBytes(needed)} are needed and ${formatBytes(free)} are free; make room, or name another folder with --object-store`,
    );
  }

  async preflight(_copies: boolean, signal?: AbortSignal): Promise<readonly ProbeStep[]> {
    const what = 'write and read';
    const key = probeKey();
    const bytes = Buffer.from('omni-airgap\n');
    const descriptor = { digest: digestOf(bytes), size: bytes.byteLength };
    try {
      const content = { kind: 'bytes', bytes } as const;
      await this.put({ key, descriptor, contentType: 'text/plain', content }, () => {}, signal);
      await this.remove(key);
      return [{ what, state: 'ok', detail: this.url }];
    } catch (error) {
      if (!isCoded(error, 'DISK')) throw error;
      return [{ what, state: 'failed', detail: error.message, error }];
    }
  }

  async staleUploads(): Promise<readonly StaleUpload[]> {
    return [];
  }

  async close(): Promise<void> {}

  /** What killed processes left in a folder. */
  async #removeAbandoned(folder: string): Promise<void> {
    for (const name of await readdir(folder)) {
      const run = temporaryPattern.exec(name)?.[1];
      if (run === undefined || !(await this.#runs.isAbandoned(run))) continue;
      await rm(join(folder, name), { force: true });
    }
  }

  #path(key: string): string {
    return join(this.#root, ...checkObjectKey(key).split('/'));
  }
}

async function digestOfFile(path: string, size: number, signal?: AbortSignal): Promise<Digest> {
  const hasher = new Hasher();
  await eachBlock([{ path, offset: 0, size }], (block) => hasher.update(block), signal);
  return hasher.finish();
}

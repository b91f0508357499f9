/**
 * A file of records that only grows: JSON objects, one a line, each on the disk before the caller goes on. A process
 * that is killed and a power cut leave at most a piece of a line; no piece of a JSON object is one, so it does not
 * count. Several processes may append at once: the system writes what each gives it in one piece.
 */
import { constants } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isCoded } from '../base/errors.ts';
import { type JsonObject, parseStrictObject } from '../base/json.ts';
import { diskError } from './disk-error.ts';
import { readSmallFile, syncFolder, writeFileAtomic } from './files.ts';

/** 10,000 records of some 200 bytes, with room to spare. */
const maxJournalBytes = 4 * 1024 * 1024;

/** A file of JSON records, appended durably and read back whole. */
export class Journal {
  readonly path: string;
  /** Whether the name of the file has been made durable too. */
  #isNamed = false;

  /** @param path its folder is there */
  constructor(path: string) {
    this.path = path;
  }

  /** All whole records, the oldest first; none when there is no file. @throws BAD_DOCUMENT above 4 MiB, DISK */
  async read(): Promise<readonly JsonObject[]> {
    const bytes = await readSmallFile(this.path, maxJournalBytes);
    const lines = Buffer.from(bytes ?? [])
      .toString('utf8')
      .split('\n');
    return lines.flatMap(recordsIn);
  }

  /** Begins anew with these records, whatever was there. @throws DISK */
  async begin(...records: readonly object[]): Promise<void> {
    await writeFileAtomic(this.path, linesOf(records));
    this.#isNamed = true;
  }

  /** Adds records; on the disk when this resolves. @throws DISK */
  async append(...records: readonly object[]): Promise<void> {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW;
    try {
      const file = await open(this.path, flags, 0o644);
      try {
        // On a line of its own, whatever is left of one at the end.
        await file.writeFile(`\n${linesOf(records)}`);
        await file.sync();
      } finally {
        await file.close().catch(() => {});
      }
      if (!this.#isNamed) await syncFolder(dirname(this.path));
      this.#isNamed = true;
    } catch (error) {
      throw diskError(error, this.path);
    }
  }

  /** Nothing happens when there is none. @throws DISK */
  async remove(): Promise<void> {
    await rm(this.path, { force: true }).catch((error: unknown) => {
      throw diskError(error, this.path);
    });
  }
}

function linesOf(records: readonly object[]): string {
  return records.map((record) => `${JSON.stringify(record)}\n`).join('');
}

/** None in an empty line, and in a piece of one. */
function recordsIn(line: string): readonly JsonObject[] {
  try {
    return [parseStrictObject(Buffer.from(line), { what: 'record' })];
  } catch (error) {
    if (isCoded(error, 'BAD_DOCUMENT')) return [];
    throw error;
  }
}

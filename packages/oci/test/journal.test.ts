/** F02 F23: a journal after a kill, a power cut, a full disk, and with several writers. */
import { appendFile, readFile, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Journal } from '../src/fs/journal.ts';
import { finished, startChild } from '../src/testing/child.ts';
import { temporaryFolder } from '../src/testing/temporary.ts';

const newPath = async (): Promise<string> => join(await temporaryFolder(), 'journal.jsonl');

test('gives back what was appended, also to another reader, and nothing when there is none', async () => {
  const journal = new Journal(await newPath());
  expect(await journal.read()).toEqual([]);
  await journal.append({ volume: 1 });
  await journal.append({ volume: 2 }, { volume: 3, name: 'ä\n' });
  const records = [{ volume: 1 }, { volume: 2 }, { volume: 3, name: 'ä\n' }];
  expect(await new Journal(journal.path).read()).toEqual(records);
  await journal.begin({ again: true });
  await journal.append({ more: 1 });
  expect(await journal.read()).toEqual([{ again: true }, { more: 1 }]);
  await journal.remove();
  await journal.remove();
  expect(await journal.read()).toEqual([]);
});

test('cut off at any byte: all whole records count, and what is appended after it', async () => {
  const journal = new Journal(await newPath());
  await journal.append({ volume: 1, sha256: 'a' });
  const { length: whole } = await readFile(journal.path);
  await journal.append({ volume: 2, sha256: 'ü{}' });
  const all = await readFile(journal.path);
  for (let size = 0; size < all.length - 1; size++) {
    await writeFile(journal.path, all);
    await truncate(journal.path, size);
    const before = size < whole - 1 ? [] : [{ volume: 1, sha256: 'a' }];
    expect(await journal.read(), `${size} bytes`).toEqual(before);
    await journal.append({ volume: 3 });
    expect(await journal.read(), `${size} bytes`).toEqual([...before, { volume: 3 }]);
  }
});

test('zeros that a power cut left where a record was are none', async () => {
  const journal = new Journal(await newPath());
  await journal.append({ volume: 1 });
  await appendFile(journal.path, Buffer.alloc(40));
  await journal.append({ volume: 2 });
  expect(await journal.read()).toEqual([{ volume: 1 }, { volume: 2 }]);
});

test('several processes append at once: no record is lost or torn', async () => {
  const path = await newPath();
  const child = new URL('./journal-child.ts', import.meta.url);
  const names = ['a', 'b', 'c'];
  await Promise.all(names.map((name) => finished(startChild(child, path, name, 60))));
  const records = await new Journal(path).read();
  for (const name of names) {
    const own = records.filter((record) => record['name'] === name);
    expect(own.map((record) => record['n'])).toEqual([...Array(60).keys()]);
  }
  expect(records).toHaveLength(180);
});

test('a full disk and a folder that is gone say so', async () => {
  await expect(new Journal('/dev/full').append({ volume: 1 })).rejects.toMatchObject({
    code: 'DISK',
    message: expect.stringMatching(/^\/dev\/full: no space left/),
  });
  const gone = new Journal(join(await temporaryFolder(), 'gone', 'journal.jsonl'));
  await expect(gone.append({ volume: 1 })).rejects.toMatchObject({ code: 'DISK' });
  await expect(gone.begin({ volume: 1 })).rejects.toMatchObject({ code: 'DISK' });
});

test('T48 it is not written through a link', async () => {
  const folder = await temporaryFolder();
  await writeFile(join(folder, 'outside'), 'precious');
  await symlink(join(folder, 'outside'), join(folder, 'journal.jsonl'));
  const journal = new Journal(join(folder, 'journal.jsonl'));
  await expect(journal.append({ volume: 1 })).rejects.toMatchObject({ code: 'DISK' });
  expect(await readFile(join(folder, 'outside'), 'utf8')).toBe('precious');
});

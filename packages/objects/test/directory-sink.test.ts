/** Objects as files below a folder: what killed processes leave, and what others are writing. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { acquireLock } from '@omni-airgap/oci/fs';
import { descriptorOf } from '@omni-airgap/oci/model';
import { temporaryFolder } from '@omni-airgap/oci/testing';
import { expect, test } from 'vitest';
import { DirectorySink } from '../src/directory-sink.ts';
import type { NewObject } from '../src/object-sink.ts';

const [killed, working] = ['00112233445566ff', 'ff66554433221100'];

function object(key: string, text: string): NewObject {
  const bytes = Buffer.from(text);
  const descriptor = descriptorOf('text/plain', bytes);
  return { key, descriptor, contentType: 'text/plain', content: { kind: 'bytes', bytes } };
}

test('A3 F2 an upload removes what killed processes left in its folder, and nothing that others are writing', async () => {
  const root = await temporaryFolder();
  const sink = new DirectorySink(root);
  await sink.put(object('a/one', '1'), () => {});
  await writeFile(join(root, `.${killed}.run`), '');
  const lock = await acquireLock(join(root, `.${working}.run`), 'exclusive', { temporary: true });
  for (const run of [killed, working]) await writeFile(join(root, 'a', `.${run}.0.tmp`), 'x');
  await Promise.all(['2', '3'].map((text) => sink.put(object(`a/${text}`, text), () => {})));
  expect((await readdir(join(root, 'a'))).sort()).toEqual([`.${working}.0.tmp`, '2', '3', 'one']);
  expect((await readdir(root)).sort()).toEqual([`.${working}.run`, 'a']);
  expect(await readFile(join(root, 'a', '3'), 'utf8')).toBe('3');
  await lock.release();
});

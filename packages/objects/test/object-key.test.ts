/** T50 s3.key: no key leaves the prefix of a bucket or the folder, whatever a bundle says. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { collect, descriptorOf } from '@omni-airgap/oci/model';
import { temporaryFolder as temporary } from '@omni-airgap/oci/testing';
import { describe, expect, test } from 'vitest';
import { DirectorySink } from '../src/directory-sink.ts';
import { checkObjectKey } from '../src/object-sink.ts';

const hostile: readonly string[] = [
  ...['', '/', '.', '..', '../x', 'a/../x', 'a/..', 'a/./x', '/abs', 'a//b', 'a/', '.hidden', '-rf'],
  ...['a\\..\\x', 'C:x', 'a\0b', 'a\nb', 'a\r\nHost: x', 'a b', 'a+b', '%2e%2e/x', 'a?x=1', 'a#b', 'a&b'],
  ...['\u202ea', 'ä', '\uff0e\uff0e/x', 'x'.repeat(201), Array<string>(500).fill('ab').join('/')],
];

test.each([
  `image/${'a'.repeat(64)}/v1.13.9/metal-amd64.iso`,
  'versions',
  `schematics/${'f'.repeat(64)}`,
  'talosctl/v1.13.9-alpha.1/talosctl-windows-amd64.exe',
])('T50 %s is a key', (key) => {
  expect(checkObjectKey(key)).toBe(key);
});

test.each(hostile.map((key) => [JSON.stringify(key).slice(0, 40), key]))('T50 %s is none', (_what, key) => {
  expect(() => checkObjectKey(key)).toThrow(
    expect.objectContaining({ code: 'BAD_NAME', message: expect.not.stringMatching(/\p{Cc}|\p{Cf}/u) }),
  );
});

describe('T50 a folder', () => {
  test('is not left by any of its operations', async () => {
    const folder = await temporary();
    await writeFile(join(folder, 'x'), 'untouched');
    const sink = new DirectorySink(join(folder, 'objects'));
    const bytes = Buffer.from('evil');
    const object = {
      descriptor: descriptorOf('text/plain', bytes),
      contentType: 'text/plain',
      content: { kind: 'bytes', bytes },
    } as const;
    for (const key of hostile) {
      const tries: readonly (() => Promise<unknown>)[] = [
        () => sink.head(key),
        () => collect(sink.get(key), 10, ''),
        () => sink.put({ ...object, key }, () => {}),
        () => sink.remove(key),
        () => sink.requireRoom([{ key, size: 1 }]),
      ];
      for (const attempt of tries) await expect(attempt(), key).rejects.toMatchObject({ code: 'BAD_NAME' });
    }
    expect(await readdir(folder)).toEqual(['x']);
    expect(await readFile(join(folder, 'x'), 'utf8')).toBe('untouched');
  });
});

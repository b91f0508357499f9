/** The files of undici that the gate imports hold what the index of this version exports. */
import * as index from 'undici';
import { expect, test } from 'vitest';
import * as files from '../src/http/undici.ts';

const indexed = new Map<string, unknown>(Object.entries(index));

test.each(Object.entries(files))('%s is the one of the index', (name, value) => {
  expect(value).toBe(indexed.get(name));
});

/** "Will it work inside?" as commands print it, and the site file that they take. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryFolder } from '@omni-airgap/oci/testing';
import { expect, test } from 'vitest';
import { describeInside, insideOptions } from '../src/inside.ts';

test('findings below their heading, wrapped, and nothing where nothing is known', () => {
  expect(describeInside([])).toEqual([]);
  expect(
    describeInside([
      { level: 'error', message: 'a' },
      { level: 'warning', message: 'b' },
      { level: 'confirm', message: 'word '.repeat(40).trim() },
    ]),
  ).toEqual([
    'Will it work inside?',
    '  Error: a',
    '  Warning: b',
    `  To confirm:${' word'.repeat(17)}\n   ${' word'.repeat(19)}\n   ${' word'.repeat(4)}`,
  ]);
});

test('--site is read as load reads it, its errors with their place', async () => {
  const folder = await temporaryFolder();
  const path = join(folder, 'site.yaml');
  await writeFile(path, 'registry: https://registry.site:5000/x\n');
  expect(await insideOptions({ site: path })).toMatchObject({
    site: { registry: { host: 'registry.site:5000', prefix: 'x' } },
    strict: false,
  });
  await writeFile(path, 'registri: x\n');
  await expect(insideOptions({ site: path, strict: true })).rejects.toMatchObject({
    code: 'CONFIG',
    message: expect.stringContaining('site.yaml:1:1'),
  });
  expect(await insideOptions({ strict: true })).toEqual({ site: undefined, strict: true });
});

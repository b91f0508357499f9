/** The committed vectors of the bundle format are what the code makes, and GNU tar agrees with them. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { freshVectors, vectorsPath } from '../../scripts/bundle-vectors.ts';

const committed = readFileSync(vectorsPath, 'utf8');

test('the file is what node scripts/bundle-vectors.ts writes: a change of it is a change of the format', () => {
  expect(freshVectors()).toBe(committed);
});

test('T12 GNU tar reads the headers as name and size, beyond 8 GiB too', () => {
  const lines = committed.trim().split('\n');
  const headers = lines
    .map((line) => JSON.parse(line) as { kind: string; name: string; size: number; hex: string })
    .filter(({ kind }) => kind === 'header');
  expect(headers.length).toBeGreaterThan(4);
  for (const { name, size, hex } of headers) {
    // A member alone: its data is not there, which the listing does not need.
    const script = 'tar -tv --numeric-owner --full-time -f - 2>/dev/null || true';
    const listed = execFileSync('sh', ['-c', script], { input: Buffer.from(hex, 'hex') }).toString();
    expect(listed).toMatch(new RegExp(`^[d-]rw\\S+ 0/0 +${size} 1970-01-01 \\S+ ${name}\n$`));
  }
});

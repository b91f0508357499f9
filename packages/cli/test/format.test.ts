/** Tables and lists that fit the terminal. */
import { formatBytes } from '@omni-airgap/oci/base';
import { expect, test } from 'vitest';
import { cutName, table, wrap } from '../src/format.ts';

const prose =
  'no connection in time; a firewall may drop it; omni-airgap egress rules prints what must be allowed';

test('A21, U minor 1 a last column of text is wrapped; the first one stays readable', () => {
  const text = table(
    [
      ['WHERE', 'WHAT', 'STATE', 'DETAIL'],
      ['omni.site', 'tls', 'failed', prose],
      ['registry.site', 'push', 'ok', ''],
    ],
    [],
    70,
  );
  expect(text.split('\n')).toEqual([
    'WHERE          WHAT  STATE   DETAIL',
    'omni.site      tls   failed  no connection in time; a firewall may',
    '                             drop it; omni-airgap egress rules prints',
    '                             what must be allowed',
    'registry.site  push  ok',
  ]);
});

test.each([40, 60, 80, 100, 200])('no line is wider than %i', (width) => {
  const rows = [
    ['NAME', 'KIND', 'WHY'],
    [`registry.example.com/${'team/'.repeat(20)}app:v1.2.3`, 'image', prose],
  ];
  for (const line of table(rows, [], width).split('\n')) expect(line.length).toBeLessThanOrEqual(width);
});

test('numbers in the last column are never broken: the first column gives way', () => {
  const text = table(
    [
      ['NAME', 'SIZE'],
      [`ghcr.io/${'x'.repeat(80)}:v1`, '1,234 MiB'],
    ],
    [1],
    40,
  );
  expect(text.split('\n')[1]).toMatch(/^ghcr\.io\/x+…x+:v1 {2}1,234 MiB$/);
  for (const line of text.split('\n')) expect(line).toHaveLength(40);
});

test('what can be copied stays whole: a word that is wider than its column', () => {
  const url = `https://registry.site/${'a'.repeat(60)}`;
  expect(table([['a', `see ${url} first`]], [], 40).split('\n')).toContain(`   ${url}`);
});

test('a list is wrapped at the width', () => {
  expect(wrap(['ghcr.io', 'factory.talos.dev', 'registry.k8s.io'], 40).split('\n')).toEqual([
    '  ghcr.io, factory.talos.dev,',
    '  registry.k8s.io',
  ]);
});

test('names lose host and path before they are cut', () => {
  const name = 'ghcr.io/siderolabs/omni:v1.10.4 5e600056f289';
  expect(cutName(name, 60)).toBe(name);
  expect(cutName(name, 40)).toBe('siderolabs/omni:v1.10.4 5e600056f289');
  expect(cutName(name, 29)).toBe('omni:v1.10.4 5e600056f289');
  expect(cutName(name, 12)).toHaveLength(12);
});

test('U minor 13 no unit has 1024 of the smaller one', () => {
  expect([1024 * 1024 - 1, 1023 * 1024, 1023, 1024].map(formatBytes)).toEqual([
    '1.0 MiB',
    '1023 KiB',
    '1023 B',
    '1.0 KiB',
  ]);
});

/** Items added to lists of a text, which is otherwise the same to the byte. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { type AddedItems, insertItems } from '../src/index.ts';

const isAfter = (item: string): boolean => item === 'v3';
const list = (...items: string[]): AddedItems => ({ path: ['a', 'list'], items, isAfter });

describe('a list', () => {
  test.each([
    ['in one line', 'a: {list: [v1, v3]} # c\n', 'a: {list: [v1, v2, v3]} # c\n'],
    ['with quotes and spaces', 'a:\n  list: [ "v1" , "v3" ]\n', 'a:\n  list: [ "v1" , v2, "v3" ]\n'],
    ['with nothing behind', 'a: {list: [v1]}\n', 'a: {list: [v1, v2]}\n'],
    [
      'over lines',
      'a:\n  list: [\n    v1, # one\n    v4, # four\n  ]\n',
      'a:\n  list: [\n    v1, # one\n    v4, v2, # four\n  ]\n',
    ],
    [
      'of lines',
      'a:\n  list:\n    - v1 # one\n    - v3 # three\nb: 1\n',
      'a:\n  list:\n    - v1 # one\n    - v2\n    - v3 # three\nb: 1\n',
    ],
    [
      'of lines, with comments',
      'a:\n  list:\n    # one\n    - v1\n    # three\n    - v3 # 3\n\n# b\nb: 1\n',
      'a:\n  list:\n    # one\n    - v1\n    # three\n    - v3 # 3\n    - v2\n\n# b\nb: 1\n',
    ],
    ['of lines, not indented', 'a:\n  list:\n  - v1\n  - v3\n', 'a:\n  list:\n  - v1\n  - v2\n  - v3\n'],
    ['of lines, without a line break at the end', 'a:\n  list:\n    - v1', 'a:\n  list:\n    - v1\n    - v2'],
    [
      'of lines that end in CRLF',
      'a:\r\n  list:\r\n    - v1\r\n',
      'a:\r\n  list:\r\n    - v1\r\n    - v2\r\n',
    ],
    ['of one, which comes after', 'a:\n  list:\n    - v3\n', 'a:\n  list:\n    - v3\n    - v2\n'],
    ['behind a byte order mark', '\ufeffa: {list: [v3]}\n', '\ufeffa: {list: [v2, v3]}\n'],
  ])('%s', (_what, before, after) => {
    expect(insertItems(before, 'mirror.yaml', [list('v2')])).toBe(after);
  });

  test('several items, into several lists', () => {
    const added = [list('v1', 'v2'), { path: ['b', 0, 'versions'], items: ['x', 'y'] }];
    expect(insertItems('a: {list: [v3]}\nb:\n  - versions:\n      - w\n    files: []\n', 'f', added)).toBe(
      'a: {list: [v1, v2, v3]}\nb:\n  - versions:\n      - w\n      - x\n      - y\n    files: []\n',
    );
  });
});

test('a single value becomes a list under another key', () => {
  const added = [{ path: ['omni', 'version'], items: ['v1', 'v2'], listKey: 'versions' }];
  expect(insertItems('omni:\n  version: v3   # the newest\ntalos: {}\n', 'f', added)).toBe(
    'omni:\n  versions: [v1, v2, v3]   # the newest\ntalos: {}\n',
  );
  expect(insertItems('omni: {version: v3}\n', 'f', added)).toBe('omni: {versions: [v1, v2, v3]}\n');
});

test.each([
  ['nothing there', 'b: 1\n', /a\.list is no list with items; add v2 by hand/],
  ['a list without items', 'a: {list: []}\n', /a\.list is no list with items/],
  ['a mapping', 'a: {list: {}}\n', /a\.list is no list with items/],
  ['a value that cannot be a list', 'a: {list: v1}\n', /a\.list is no list; add v2 by hand/],
  ['no YAML', 'a: [', /f:1:/],
  ['an empty file', '', /the file is empty/],
])('%s is refused', (_what, text, message) => {
  expect(() => insertItems(text, 'f', [list('v2')])).toThrow(message);
});

test('whatever the form of the list, the value has the items and nothing else changes', () => {
  const item = fc.constantFrom('v1', '"v2"', "'v3'", 'v1.x');
  const comment = fc.constantFrom('', ' # c', '   # [x, y]');
  fc.assert(
    fc.property(
      fc.array(fc.tuple(item, comment), { minLength: 1, maxLength: 4 }),
      fc.constantFrom(0, 2, 4),
      fc.boolean(),
      fc.constantFrom('', '\n', '# end\n', 'b: {c: [1]}\n'),
      (items, indent, isFlow, tail) => {
        const value = isFlow
          ? ` [${items.map(([one]) => one).join(', ')}]${items[0]?.[1]}\n`
          : `\n${items.map(([one, note]) => `${' '.repeat(indent + 2)}- ${one}${note}\n`).join('')}`;
        const text = `a:\n  list:${value}${tail}`;
        const after = insertItems(text, 'f', [list('v8', 'v9')]);
        const { a, ...rest } = parse(after) as { a: { list: string[] } };
        const { a: old, ...before } = parse(text) as { a: { list: string[] } };
        expect(rest).toEqual(before);
        expect(a.list.filter((one) => !['v8', 'v9'].includes(one))).toEqual(old.list);
        expect(a.list).toHaveLength(old.list.length + 2);
        // Without what was added it is the old text.
        const pieces = isFlow ? ['v8, v9, ', ', v8, v9'] : [/ *- v8\n *- v9\n/];
        expect(pieces.map((piece) => after.replace(piece, ''))).toContain(text);
      },
    ),
  );
});

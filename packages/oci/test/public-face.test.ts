/** Each public face of the package is small enough to hold in mind, and every name in it is documented. */
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';

const home = new URL('..', import.meta.url);
const { exports } = JSON.parse(readFileSync(new URL('package.json', home), 'utf8')) as {
  readonly exports: Readonly<Record<string, string>>;
};

/** About forty. A face that needs more holds a second noun: give that a subpath of its own. */
const mostNames = 42;

interface PublicName {
  readonly name: string;
  readonly file: URL;
}

/** The names that an index file exports, and the file that each comes from. */
function namesIn(index: URL): readonly PublicName[] {
  const source = readFileSync(index, 'utf8');
  expect(source, 'names are exported one by one').not.toMatch(/export \*/);
  return [...source.matchAll(/\{([^}]*)\} from '([^']+)'/g)].flatMap(([, list = '', from = '']) =>
    list
      .split(',')
      .map((entry) => entry.trim().replace(/^type /, ''))
      .filter((name) => name !== '')
      .map((name) => ({ name, file: new URL(from, index) })),
  );
}

function isDocumented({ name, file }: PublicName): boolean {
  const source = readFileSync(file, 'utf8');
  const declaration = new RegExp(
    `^export (?:async )?(?:function\\*?|class|const|interface|type) ${name}\\b`,
    'm',
  );
  const at = source.search(declaration);
  const before = source.slice(0, Math.max(at, 0)).trimEnd();
  // The comment that a file opens with speaks about the file.
  return before.endsWith('*/') && before.lastIndexOf('/**') > 0;
}

describe.each(Object.entries(exports))('%s', (_, file) => {
  const index = new URL(file, home);
  test(`exports at most ${mostNames} names`, () => {
    expect(existsSync(index)).toBe(true);
    expect(namesIn(index).length).toBeLessThanOrEqual(mostNames);
  });
  test('documents each of them', () => {
    const undocumented = namesIn(index).filter((one) => !isDocumented(one));
    expect(undocumented.map(({ name }) => name)).toEqual([]);
  });
});

/**
 * Messages and documentation in plain American technical English: phrases that readers stumble over at night do not come
 * back. The exceptions are what is left from before; the list only shrinks. They are named by their text and not by
 * their file, so that code can move.
 */
import { describe, expect, test } from 'vitest';
import { read, trackedFiles } from '../repository.ts';
import { literalsOf, paragraphsOf, rules, violationsIn } from '../vocabulary.ts';

const files = trackedFiles();
const texts = [
  ...files
    .filter((path) => /^(?:packages\/[^/]+\/src\/(?!testing\/)|scripts\/).*\.ts$/.test(path))
    .flatMap((path) => literalsOf(path, read(path))),
  ...files
    .filter((path) => path === 'README.md' || /^(?:docs|packages\/[^/]+)\/.*\.md$/.test(path))
    .filter((path) => !path.includes('/test/'))
    .flatMap((path) => paragraphsOf(path, read(path))),
];
const violations = violationsIn(texts);
/** Texts with a phrase that may stay, by phrase. */
const exceptions = JSON.parse(read('test/project/vocabulary-exceptions.json')) as Readonly<
  Record<string, readonly string[]>
>;

test('no new text has a phrase that is not used here', () => {
  const added = violations
    .filter(({ rule, text }) => exceptions[rule.phrase]?.includes(text) !== true)
    .map(({ path, line, rule, text }) => `${path}:${line}: "${rule.phrase}" (${rule.instead}): ${text}`);
  expect(added.join('\n')).toBe('');
});

test('every exception is still needed; remove one whose text was mended', () => {
  const mended = Object.entries(exceptions).flatMap(([phrase, list]) =>
    list
      .filter((text) => !violations.some((one) => one.rule.phrase === phrase && one.text === text))
      .map((text) => `${phrase}: ${text}`),
  );
  expect(mended).toEqual([]);
});

test('messages, help texts and pages are among what is read', () => {
  const all = texts.map(({ text }) => text).join('\n');
  expect(all).toContain('run with --help to list the options');
  expect(all).toContain('accept an unsigned bundle (recorded in the receipt)');
  expect(all).toContain('# Architecture');
  expect(all).toContain('resumes where it left off');
});

describe('the reader', () => {
  const found = (source: string) => violationsIn(literalsOf('x.ts', source)).map(({ rule }) => rule.phrase);

  test('sees strings and templates over several lines, and no comments or names', () => {
    expect(found("throw new Error('it goes on where it was');")).toEqual(['go on']);
    expect(found('say(`it is\n  there already`);')).toEqual(['there already']);
    expect(found("say('one', 'word', { anybody: 'x' }); // goes on")).toEqual([]);
    expect(found("const colour = 'x'; // is there already")).toEqual([]);
  });

  test('sees paragraphs, tables and comments in code, and no code', () => {
    const page =
      'It goes\non.\n\n| a | by now |\n\n```sh\ngo on # to let go of it\n```\n\n`go on` is a name.';
    expect(violationsIn(paragraphsOf('x.md', page)).map(({ line, rule }) => [line, rule.phrase])).toEqual([
      [1, 'go on'],
      [4, 'by now'],
      [7, 'let go of'],
    ]);
  });

  test.each([
    ['each command goes on where it stopped', 'go on'],
    ['site.pub goes inside on another way', 'on another way'],
    ['When it does not go well', 'not go well'],
    ['see to it', 'see to it'],
    ['Away with it: rm -r demo', 'away with'],
    ['Whole and right: bundle', 'whole and right'],
    ['--build has it build them.', 'has it build'],
    ['add --help for what can be said', 'say'],
    ['(said in the receipt)', 'say'],
    ['take it from anybody', 'anybody'],
    ['let go of a bundle', 'let go of'],
    ['list what was asked of serve', 'asked of'],
    ['it is there already', 'there already'],
    ['3 names cannot be had', 'cannot be had'],
    ['which is yet to come', 'yet to come'],
    ['is not there any more', 'not there'],
    ["is in nobody's way", 'in nobody’s way'],
    ['A key that is none', 'that is none'],
    ['the licence of behaviour', 'British spelling'],
    ['it was recognised', 'British spelling'],
  ])('%s', (text, phrase) => {
    const [violation] = violationsIn([{ path: '', line: 1, text }]);
    expect(violation?.rule.phrase).toBe(phrase);
  });

  test.each([
    'the registry says no',
    'exercise, promise, advise, otherwise, raise',
    'the license says so',
    'algorithm',
    'ongoing',
  ])('%s is fine', (text) => {
    expect(violationsIn([{ path: '', line: 1, text }])).toEqual([]);
  });

  test('each phrase is named once', () => {
    expect(new Set(rules.map(({ phrase }) => phrase)).size).toBe(rules.length);
  });
});

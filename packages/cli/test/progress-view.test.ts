/** What a person sees while something long runs. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ProgressView } from '../src/progress-view.ts';

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000 });
});
afterEach(() => {
  vi.useRealTimers();
});

const mebibyte = 1024 * 1024;

/** What a terminal would show of the text: our escapes carried out. */
function screenOf(text: string): string[] {
  let lines = [''];
  for (const [part] of text.replaceAll('\u001b', '␛').matchAll(/␛\[(?:\d+A|J)|\r|\n|[^␛\r\n]+/g)) {
    const up = /^␛\[(\d+)A$/.exec(part)?.[1];
    if (up !== undefined) lines = lines.slice(0, lines.length - Number(up));
    else if (part === '\r' || part === '␛[J') lines[lines.length - 1] = '';
    else if (part === '\n') lines.push('');
    else lines[lines.length - 1] += part;
  }
  return lines;
}

function view(mode: 'terminal' | 'plain' | 'quiet', columns = 100) {
  let written = '';
  const progress = new ProgressView(
    'fetch',
    mode,
    (text) => {
      written += text;
    },
    () => columns,
  );
  return { progress, written: () => written, screen: () => screenOf(written) };
}

describe('on a terminal', () => {
  test('a bar for each thing under way and one for all, with rate and time left', () => {
    const { progress, screen } = view('terminal');
    progress.expect(100 * mebibyte);
    progress.item('omni:v1 abc', { doing: 'fetching', done: 0, size: 80 * mebibyte });
    progress.item('metal-amd64.iso', { doing: 'building at the factory' });
    for (let i = 0; i < 20; i++) {
      progress.advance(mebibyte);
      progress.item('omni:v1 abc', { doing: 'fetching', done: i * mebibyte, size: 80 * mebibyte });
      vi.advanceTimersByTime(100);
    }
    const lines = screen();
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatch(/^ {2}omni:v1 abc +\[####-{16}\] 19\.0 MiB of 80\.0 MiB$/);
    expect(lines[1]).toMatch(/^ {2}metal-amd64\.iso +building at the factory, 2 s$/);
    expect(lines[2]).toMatch(/^fetch: \d+\.0 MiB of 100 MiB \(\d+ %\), \d+\.\d MiB\/s, \d+ s left \[###/);
    progress.end();
    expect(screen()).toEqual(['']);
  });

  test('what is over is gone, what is noted stays above', () => {
    const { progress, screen } = view('terminal');
    progress.item('a', { doing: 'fetching', done: 1, size: 2 });
    vi.advanceTimersByTime(1000);
    progress.note('trying again: ghcr.io answers 503');
    progress.item('a', undefined);
    vi.advanceTimersByTime(200);
    expect(screen()[0]).toBe('fetch: trying again: ghcr.io answers 503');
    expect(screen()).toHaveLength(2);
    progress.end();
  });

  test('no line is longer than the terminal is wide', () => {
    const { progress, screen } = view('terminal', 60);
    progress.expect(1e12);
    progress.item(`ghcr.io/${'x'.repeat(200)}`, { doing: 'fetching', done: 1e9, size: 1e11 });
    vi.advanceTimersByTime(1000);
    for (const line of screen()) expect(line.length).toBeLessThan(60);
    progress.end();
  });

  test('a hundred things under way do not fill the screen', () => {
    const { progress, screen } = view('terminal');
    for (let i = 0; i < 100; i++) progress.item(`item ${i}`, { doing: 'fetching', done: 1, size: 2 });
    vi.advanceTimersByTime(1000);
    expect(screen()).toHaveLength(9);
    progress.end();
  });
});

test('elsewhere: a plain line every ten seconds, and what is being built', () => {
  const { progress, written } = view('plain');
  progress.expect(mebibyte);
  progress.item('metal-amd64.iso v1.13.9', { doing: 'building at the factory' });
  vi.advanceTimersByTime(10_000);
  expect(written().trim().split('\n')).toEqual([
    'fetch: 0 B of 1.0 MiB (0 %), 0 B/s',
    'fetch: metal-amd64.iso v1.13.9: building at the factory, 10 s',
  ]);
  progress.end();
});

test('S7 the last plain line says where it came to, if there was one before', () => {
  const { progress, written } = view('plain');
  progress.expect(mebibyte);
  progress.advance(mebibyte / 2);
  vi.advanceTimersByTime(10_000);
  progress.advance(mebibyte / 2);
  progress.end(true);
  expect(written()).toMatch(/\(50 %\).*\nfetch: 1\.0 MiB of 1\.0 MiB \(100 %\).*\n$/);
  const short = view('plain');
  short.progress.end(true);
  expect(short.written()).toBe('');
});

test('with --quiet: nothing', () => {
  const { progress, written } = view('quiet');
  progress.note('something');
  vi.advanceTimersByTime(60_000);
  progress.end();
  expect(written()).toBe('');
});

/** What a person sees while something long runs. */
import { CodedError } from '@omni-airgap/oci/base';
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

function view(mode: 'terminal' | 'plain' | 'quiet', columns = 100, isVerbose = false) {
  let written = '';
  const progress = new ProgressView(
    'fetch',
    mode,
    (text) => {
      written += text;
    },
    { columns: () => columns, isVerbose },
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

  test('U-M11 items done of items; no total and no percentage before all is sized', () => {
    const { progress, screen } = view('terminal', 120);
    progress.expectItems(40);
    progress.unsized(40);
    vi.advanceTimersByTime(200);
    expect(screen()).toEqual(['fetch: 0 of 40 items, 40 not sized yet']);
    progress.unsized(-35);
    progress.expect(8 * mebibyte);
    progress.advance(6 * mebibyte);
    progress.itemsOver(12);
    vi.advanceTimersByTime(200);
    expect(screen()[0]).toMatch(/^fetch: 12 of 40 items, 6\.0 MiB so far, 5 not sized yet, \d+\.\d MiB\/s$/);
    progress.unsized(-5);
    progress.expect(92 * mebibyte);
    vi.advanceTimersByTime(200);
    expect(screen()[0]).toMatch(/^fetch: 12 of 40 items, 6\.0 MiB of 100 MiB \(6 %\), .* left \[#-/);
    progress.end();
  });

  test('U-M11 retries are a counter with the last and its wait, and lines with --verbose', () => {
    const busy = new CodedError('UPSTREAM', 'resolve v1: https://ghcr.io/v2/a answers 429', { status: 429 });
    const cut = new CodedError('NETWORK', 'GET https://ghcr.io:8443/x: connection reset', {
      failure: { cause: 'cut', peer: 'registry' },
    });
    const { progress, screen } = view('terminal');
    progress.expectItems(3);
    progress.retry(cut, 0);
    vi.advanceTimersByTime(200);
    expect(screen()).toEqual(['fetch: 0 of 3 items; 1 retry, last: ghcr.io:8443 cut']);
    for (let i = 0; i < 20; i++) progress.retry(busy, 30_000);
    vi.advanceTimersByTime(200);
    expect(screen()).toEqual(['fetch: 0 of 3 items; 21 retries, last: ghcr.io 429, waits 30 s']);
    progress.end();
    const verbose = view('terminal', 100, true);
    verbose.progress.retry(busy, 30_000);
    expect(verbose.screen()[0]).toBe(`fetch: trying again in 30 s: ${busy.message}`);
    verbose.progress.end();
    const log = view('plain');
    log.progress.retry(busy, 1000);
    expect(log.written()).toBe(`fetch: trying again in 1 s: ${busy.message}\n`);
    log.progress.end();
  });

  test('U-M11 what moves no bytes shows how long it has been at it', () => {
    const { progress, screen } = view('terminal');
    vi.advanceTimersByTime(12_000);
    expect(screen()).toEqual(['fetch: 12 s']);
    progress.end();
  });

  test('U minor 14 a name that is too long loses its host before what tells it from others', () => {
    const { progress, screen } = view('terminal', 80);
    progress.item('ghcr.io/siderolabs/omni:v1.10.4 5e600056f289', { doing: 'fetching', done: 1, size: 2 });
    vi.advanceTimersByTime(1000);
    expect(screen()[0]).toMatch(/^ {2}omni:v1\.10\.4 5e600056f289 +\[/);
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

test('U minor 13 the first line has a rate', () => {
  const { progress, written } = view('plain');
  progress.expect(100 * mebibyte);
  progress.advance(31 * mebibyte);
  vi.advanceTimersByTime(10_000);
  expect(written()).toMatch(/31\.0 MiB of 100 MiB \(31 %\), 3\.1 MiB\/s, 22 s left/);
  progress.end();
});

test('with --quiet: nothing', () => {
  const { progress, written } = view('quiet');
  progress.note('something');
  vi.advanceTimersByTime(60_000);
  progress.end();
  expect(written()).toBe('');
});

/**
 * The benchmarks: statistics and goals on made results, each benchmark run once at a tiny size for the shape of what it
 * records, and docs/performance.md against the runs it was made of. No test looks at a time.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { missedGoals, outcomesOf } from '../../scripts/benchmarks/harness/goals.ts';
import { growthsOf, missedGrowths } from '../../scripts/benchmarks/harness/growth.ts';
import { measureShell, withServerTime } from '../../scripts/benchmarks/harness/measure.ts';
import { quietShare, shareOfOthers, waitForQuiet } from '../../scripts/benchmarks/harness/quiet.ts';
import { freshReport, reportFile } from '../../scripts/benchmarks/harness/report.ts';
import { type Results, type Run, readResults } from '../../scripts/benchmarks/harness/results.ts';
import { alternate } from '../../scripts/benchmarks/harness/rounds.ts';
import { ratioOf } from '../../scripts/benchmarks/harness/statistics.ts';
import { comparisonTable } from '../../scripts/benchmarks/harness/tables.ts';
import { root } from '../repository.ts';
import { startProcess } from '../services/server-process.ts';
import { describeWith } from '../services/service-test.ts';
import { temporaryFolder } from '../services/temporary.ts';

const none = { seconds: 0, cpuSeconds: 0, peakMiB: 0, wireBytes: 0, writtenBytes: 0, inputBytes: 0 };

function run(comparison: string, side: string, round: number, more: Partial<Run>): Run {
  return { comparison, side, round, ...none, ...more };
}

/** @param times wall seconds of each round by program */
function compared(comparison: string, times: Readonly<Record<string, readonly number[]>>): Results {
  const runs = Object.entries(times).flatMap(([side, each]) =>
    each.map((seconds, i) => run(comparison, side, i + 1, { seconds, cpuSeconds: seconds })),
  );
  return { comparisons: [{ comparison, title: comparison, bytes: 1 }], runs };
}

/** @param sizes wall seconds by size */
function curve(unit: string, sizes: Readonly<Record<string, number>>): Results {
  const comparison = `scale-${unit}`;
  const runs = Object.entries(sizes).map(([size, seconds]) =>
    run(comparison, 'fetch', 1, { size: Number(size), seconds, cpuSeconds: seconds }),
  );
  return { comparisons: [{ comparison, title: comparison, bytes: 0, unit }], runs };
}

describe('statistics', () => {
  test('ratios are made within a round, so what slows a whole round changes none', () => {
    const results = compared('fetch', { 'omni-airgap': [2, 20, 2], oras: [1, 10, 1] });
    expect(ratioOf(results, 'fetch', 'seconds', 'omni-airgap', 'oras')).toEqual({
      median: 2,
      least: 2,
      most: 2,
    });
  });

  test('a round that a program did not run in is left out', () => {
    const results = compared('fetch', { 'omni-airgap': [2, 3, 9], oras: [1, 1] });
    expect(ratioOf(results, 'fetch', 'seconds', 'omni-airgap', 'oras')).toEqual({
      median: 2.5,
      least: 2,
      most: 3,
    });
    expect(ratioOf(results, 'fetch', 'seconds', 'omni-airgap', 'crane')).toBeUndefined();
  });

  test('each round begins with another program; references run in the first three only', async () => {
    const order: string[] = [];
    const recorder = {
      comparisons: [] as object[],
      runs: [] as Run[],
      add: (one: object) => ('side' in one ? recorder.runs.push(one as Run) : recorder.comparisons.push(one)),
    };
    const side = (name: string) => async () => {
      order.push(name);
      return { ...none, seconds: 1 };
    };
    await alternate(
      { runs: 4, recorder, waitSeconds: 0 } as unknown as Parameters<typeof alternate>[0],
      { comparison: 'x', title: 'x', bytes: 0 },
      { a: side('a'), b: side('b') },
      { floor: side('f') },
    );
    expect(order.join('')).toBe(`abf${'bfa'}${'fab'}ba`);
    expect(recorder.comparisons).toEqual([expect.objectContaining({ otherWork: expect.any(Number) })]);
    expect(recorder.runs.filter((one) => one.side === 'floor').map(({ round }) => round)).toEqual([1, 2, 3]);
  });
});

describe('goals', () => {
  test('the fastest of several programs counts', () => {
    const results = compared('fetch', { 'omni-airgap': [2, 2], oras: [4, 4], crane: [1, 1], floor: [1, 1] });
    const [wall] = outcomesOf(results);
    expect(wall).toMatchObject({ measured: '2.00 × crane', isMissed: true, floor: '1.00 × (1.00–1.00)' });
    expect(missedGoals(results)[0]).toBe(
      'fetch, wall: 2.00 × crane (2.00–2.00), goal ≤ 1.00 ×; floor 1.00 × (1.00–1.00)',
    );
  });

  test('fetch and load of unchanged images have floors of their own; a limit is called by its name', () => {
    const unchanged = compared('unchanged', {
      ...{ fetch: [10], load: [16], 'floor of fetch': [8], 'floor of load': [15] },
    });
    expect(missedGoals(unchanged)).toEqual([
      'fetch, unchanged: 10.00 s (10.00–10.00), goal ≤ 5.00 s; floor 8.00 s (8.00–8.00)',
      'load, unchanged: 16.00 s (16.00–16.00), goal ≤ 8.00 s; floor 15.00 s (15.00–15.00)',
    ]);
    const line = compared('line', { 'omni-airgap': [2], 'xargs -P8 oras': [2], 'limit: curl': [1] });
    expect(missedGoals(line)).toEqual([
      'long line, wall: 1.00 × xargs -P8 oras (1.00–1.00), goal ≤ 0.90 ×; limit: curl 0.50 × (0.50–0.50)',
    ]);
  });

  test('the time of the server has a column where it was measured', () => {
    const results = compared('fetch', { 'omni-airgap': [2], floor: [1] });
    const [comparison = { comparison: '', title: '', bytes: 0 }] = results.comparisons;
    expect(comparisonTable(results, comparison).head).not.toContain('server CPU');
    const [first = run('fetch', 'omni-airgap', 1, {}), second = first] = results.runs;
    const table = comparisonTable({ ...results, runs: [{ ...first, serverSeconds: 3 }, second] }, comparison);
    const at = table.head.indexOf('server CPU');
    expect(table.rows.map((row) => row[at])).toEqual(['3.00 s', '']);
    expect(table.rows.map((row) => row.length)).toEqual([table.head.length, table.head.length]);
  });

  test('what was not measured is neither met nor missed', () => {
    const results = compared('fetch', { 'omni-airgap': [2] });
    expect(outcomesOf(results).filter(({ measured }) => measured !== undefined)).toEqual([]);
    expect(missedGoals(results)).toEqual([]);
  });

  test('of memory, the highest peak at the largest size counts, whatever command has it', () => {
    const peak = (side: string, size: number, peakMiB: number): Run =>
      run('scale-size', side, 1, { size, peakMiB });
    const results: Results = {
      comparisons: [{ comparison: 'scale-size', title: 'x', bytes: 0, unit: 'MiB' }],
      runs: [peak('fetch', 1, 900), peak('fetch', 8192, 150), peak('load', 8192, 201)],
    };
    expect(missedGoals(results).join()).toContain('peak, blob: 201 MiB, 8,192 MiB');
  });

  test('a read-back may read the volumes once', () => {
    const reads = (side: string, inputBytes: number): Run => run('bundle', side, 1, { inputBytes });
    const results = (readBack: number): Results => ({
      comparisons: [{ comparison: 'bundle', title: 'x', bytes: 100 }],
      runs: [reads('omni-airgap', 120), reads('with read-back', readBack)],
    });
    expect(missedGoals(results(220))).toEqual([]);
    expect(missedGoals(results(320)).join()).toContain('bundle, re-read: 2.00 ×');
  });

  test('superlinear growth is a miss, linear growth with a long start is none', () => {
    expect(missedGrowths(curve('images', { 1: 2, 10: 2.1, 100: 3, 1000: 12 }))).toEqual([]);
    expect(missedGrowths(curve('images', { 1: 0.3, 10: 0.35, 100: 0.8, 1000: 30 })).join()).toBe(
      'fetch: by images, wall grows to the power of 1.77 (at most 1.5), CPU 1.77 (1.25)',
    );
  });

  test('noise in small sizes is no growth', () => {
    expect(missedGrowths(curve('MiB', { 1: 11, 64: 2, 512: 5, 8192: 45 }))).toEqual([]);
    expect(growthsOf(curve('images', { 1: 0.31, 10: 0.3, 100: 0.35 }))[0]).toMatchObject({ isMissed: false });
  });

  test('with connections the same work takes no more', () => {
    expect(missedGrowths(curve('connections', { 1: 4, 4: 2, 32: 2.1 }))).toEqual([]);
    expect(missedGrowths(curve('connections', { 1: 4, 4: 2, 32: 6 })).join()).toContain('CPU 0.53 (0.2)');
  });
});

describe('measuring', () => {
  test('counts the children of children, and what all of them read', async () => {
    const measured = await measureShell('(head -c 40000000 /dev/zero | sha256sum)');
    expect(measured.cpuSeconds).toBeGreaterThan(0);
    expect(measured.inputBytes).toBeGreaterThan(80_000_000);
    expect(measured.inputBytes).toBeLessThan(120_000_000);
  });

  test('sees the memory of two processes at once', async () => {
    const node = `"${process.execPath}" -e "const held = Buffer.alloc(60e6, 1); setTimeout(() => held, 800)"`;
    const measured = await measureShell(`${node} & ${node}; wait`);
    expect(measured.peakMiB).toBeGreaterThan(2 * 57);
  });

  test('reports the errors of a program that fails', async () => {
    await expect(measureShell('echo no such thing >&2; exit 3')).rejects.toThrow(
      /ended with 3: no such thing/,
    );
  });

  test('adds what a server took meanwhile, and nothing from before', async () => {
    // It burns time from the signal on, and says so at once.
    const script =
      "process.on('SIGUSR2', () => { const end = Date.now() + 300; while (Date.now() < end); });";
    const server = startProcess(
      [process.execPath, '-e', `${script} setInterval(() => {}, 1000); console.log('up')`],
      join(temporaryFolder('bench-server'), 'log'),
    );
    try {
      await server.until(() => server.output().includes('up') || undefined, 15_000);
      const idle = await withServerTime(server.pid, () => measureShell('true'));
      const used = await withServerTime(server.pid, () => measureShell(`kill -USR2 ${server.pid}; sleep 1`));
      expect(used.serverSeconds).toBeGreaterThan(idle.serverSeconds ?? 1);
      expect(used.cpuSeconds).toBeLessThan(used.serverSeconds ?? 0);
    } finally {
      await server.stop();
    }
  });
});

describe('a quiet machine', () => {
  const looks = (...shares: readonly number[]) => {
    const left = [...shares];
    return { left, look: async () => left.shift() ?? 1 };
  };

  test('is waited for', async () => {
    const { left, look } = looks(0.9, 0.2, quietShare, 0.7);
    expect(await waitForQuiet(180, look)).toBe(quietShare);
    expect(left).toEqual([0.7]);
  });

  test('is not waited for without end; then the largest share counts', async () => {
    const { left, look } = looks(0.3, 0.9, 0.2, 0);
    expect(await waitForQuiet(2, look)).toBe(0.9);
    expect(left).toEqual([0]);
  });

  test('the time of this process is no other work', () => {
    const times = (all: number, idle: number, own: number) => ({ all, idle, own });
    expect(shareOfOthers(times(100, 50, 10), times(300, 150, 110))).toBe(0);
    expect(shareOfOthers(times(100, 50, 10), times(300, 150, 60))).toBe(0.25);
  });

  test('a session on a busy one says so in the page, one that did not look too', () => {
    const { session } = readResults(join(root, 'docs/performance/goals.jsonl'));
    const page = (more: object): string => {
      const folder = temporaryFolder('bench-page');
      const lines = [session, { comparison: 'fetch', title: 'a fetch', bytes: 1, ...more }];
      const runs = compared('fetch', { 'omni-airgap': [1] }).runs;
      writeFileSync(
        join(folder, 'x.jsonl'),
        [...lines, ...runs].map((one) => `${JSON.stringify(one)}\n`).join(''),
      );
      return freshReport(folder);
    };
    expect(page({ otherWork: 0.051 })).toContain('The machine was busy with other work');
    expect(page({ otherWork: 0.051 })).toContain(' at most | 5.1 % |');
    expect(page({ otherWork: 0.05 })).not.toMatch(/busy with other work|may not be reliable/);
    expect(page({})).toContain('may not be reliable');
  });
});

test.each([
  [['nothing'], 'no benchmark nothing'],
  [['--runs', '0'], '--runs must be a whole number from 1'],
  [['--size', '4'], '--size must be 16 (MiB) at least'],
  [['--baseline', 'no-such-file'], 'does not start; specify an executable'],
  [['--executable', 'no-such-file'], 'not found; build it with ./scripts/release'],
  [['--wait', '-1'], "Option '--wait' argument is ambiguous"],
  [['--wait=-1'], '--wait must be a whole number of seconds from 0'],
  [['--no-such-flag'], "Unknown option '--no-such-flag': see ./scripts/bench --help"],
])('%j is refused before anything runs', (flags, message) => {
  const { status, stderr } = bench(temporaryFolder('bench'), ...flags);
  expect(stderr).toContain(message);
  expect(stderr.trim().split('\n')).toHaveLength(1);
  expect(status).toBe(2);
});

test('--help prints every name and flag', () => {
  const { status, stdout, stderr } = bench(temporaryFolder('bench'), '--help');
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  for (const word of ['goals', 'load-objects', '--quick', '--wait SECONDS', '--baseline FILE'])
    expect(stdout).toContain(word);
});

describeWith(
  ['docker-registry', 'openssl', 'curl'],
  'each benchmark once, tiny, and two of the curves',
  () => {
    const folder = temporaryFolder('bench');
    const results = join(folder, 'results');

    test('records every program and size, with machine and versions, in tables that fit a terminal', () => {
      mkdirSync(results);
      const file = join(results, 'tiny.jsonl');
      const sizes = ['--size', '16', '--runs', '1', '--curve-runs', '1', '--unchanged', '3', '--wait', '0'];
      const limits = ['--images', '1', '--connections', '1'];
      const { status, stdout, stderr } = bench(
        folder,
        'goals',
        'images',
        'connections',
        ...sizes,
        ...limits,
        '--json',
        file,
      );
      // 1: a goal was missed, as it may be at this size.
      expect([0, 1], stderr).toContain(status);
      const { session, comparisons, runs } = readResults(file);
      expect(session.machine.processor).not.toBe('');
      expect(session.versions).toMatchObject({
        'Node.js': process.version,
        Distribution: expect.stringMatching(/\d/),
      });
      const names = ['start', 'fetch', 'fetch-tls', 'line', 'load', 'bundle', 'verify', 'unchanged'];
      const curves = ['scale-images', 'scale-connections'];
      expect(comparisons.map(({ comparison }) => comparison)).toEqual([...names, ...curves]);
      const sides = (comparison: string): readonly string[] =>
        runs.filter((one) => one.comparison === comparison).map(({ side }) => side);
      for (const name of ['fetch', 'fetch-tls', 'line', 'load', 'bundle', 'verify'])
        expect(sides(name), name).toContain('omni-airgap');
      for (const name of ['start', 'fetch', 'fetch-tls', 'load', 'bundle', 'verify'])
        expect(sides(name), name).toContain('floor');
      expect(sides('unchanged')).toEqual(['fetch', 'load', 'floor of fetch', 'floor of load']);
      const asked = runs.filter(({ serverSeconds }) => serverSeconds !== undefined);
      expect([...new Set(asked.map(({ comparison }) => comparison))]).toEqual([
        ...['fetch', 'fetch-tls', 'line', 'load', 'unchanged'],
      ]);
      expect(sides('scale-connections')).toEqual(['fetch', 'load']);
      expect(sides('scale-images')).toEqual([
        ...['fetch', 'fetch, unchanged', 'bundle', 'verify', 'load', 'load, unchanged'],
      ]);
      // What crosses the wire is the content, and little more.
      for (const name of ['fetch', 'fetch-tls', 'line', 'load']) {
        const { bytes = 0 } = comparisons.find(({ comparison }) => comparison === name) ?? {};
        for (const { side, wireBytes } of runs.filter((one) => one.comparison === name)) {
          expect(wireBytes, `${name} ${side}`).toBeGreaterThan(bytes);
          if (session.machine.wire === 'namespace')
            expect(wireBytes, `${name} ${side}`).toBeLessThan(1.2 * bytes);
        }
      }
      const wide = stdout.split('\n').filter((line) => line.startsWith('  ') && line.length > 80);
      expect(wide).toEqual([]);
      for (const missing of session.missing) expect(stdout).toContain(`left out: ${missing}`);
      expect(readdirSync(folder)).toEqual(['results']);
    }, 600_000);

    test('the results become a page', () => {
      const { comparisons } = readResults(join(results, 'tiny.jsonl'));
      const page = freshReport(results);
      for (const { title } of comparisons) expect(page).toContain(title.slice(1));
      for (const heading of ['Goals', 'Growth', 'Measurements', 'What was tried'])
        expect(page).toContain(`\n## ${heading}\n`);
    });
  },
);

test('docs/performance.md is what ./scripts/bench report writes from the runs beside it', () => {
  expect(readFileSync(reportFile, 'utf8'), 'stale: run ./scripts/bench report').toBe(freshReport());
});

/** @param folder to work in */
function bench(
  folder: string,
  ...args: readonly string[]
): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(join(root, 'scripts', 'bench'), [...args, '--dir', folder], {
    encoding: 'utf8',
    timeout: 590_000,
  });
  return { status, stdout, stderr };
}

/** A fresh clone does the whole main job with one command, what arrives is what was there, and README.md shows it. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, globSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { basename, delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { copyClone, read, root } from '../repository.ts';
import { testWith } from '../services/service-test.ts';
import { temporaryFolder } from '../services/temporary.ts';

interface Run {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** No tool of this clone is in it. */
const path = (process.env['PATH'] ?? '')
  .split(delimiter)
  .filter((folder) => !folder.startsWith(root))
  .join(delimiter);
const env = { ...process.env, PATH: path, CI: 'true' };
const clone = join(realpathSync(temporaryFolder('demo')), 'clone');
copyClone(clone);
const demo = join(clone, 'demo');
let first: Run;

function start(command: string): ChildProcess {
  return spawn('bash', ['-c', `exec ${command}`], { cwd: clone, env, stdio: ['ignore', 'pipe', 'pipe'] });
}

/** @param onOutput sees all of standard output so far, after each piece of it */
async function run(
  command: string,
  onOutput: (stdout: string, child: ChildProcess) => void = () => {},
): Promise<Run> {
  const child = start(command);
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk) => {
    stdout += chunk;
    onOutput(stdout, child);
  });
  child.stderr?.on('data', (chunk) => {
    stderr += chunk;
  });
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, stdout, stderr };
}

async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 1024 * 1024 })) hash.update(chunk);
  return hash.digest('hex');
}

/** Digest by name, from the index.json of a layout; read here without the code that is tested. */
function namesIn(layout: string): ReadonlyMap<string, string> {
  const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as {
    manifests: { digest: string; annotations?: Record<string, string> }[];
  };
  return new Map(
    index.manifests.map((m) => [m.annotations?.['org.opencontainers.image.ref.name'] ?? '', m.digest]),
  );
}

/** Processes of the clone that still run. */
function leftOver(): readonly string[] {
  return readdirSync('/proc')
    .filter((pid) => /^[0-9]+$/.test(pid))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      } catch {
        return '';
      }
    })
    .filter((line) => line.includes(clone));
}

/** The command lines that the demo proposes at its end and that begin so. */
function proposed(beginning: string): readonly string[] {
  const [, proposals = ''] = first.stdout.split('\nTry next');
  return proposals
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line.startsWith(beginning));
}

beforeAll(async () => {
  first = await run('./scripts/demo');
});

describe('./scripts/demo in a fresh clone', () => {
  test('ends well', () => {
    expect(first.stderr).not.toContain('demo:');
    expect(first.status).toBe(0);
  });

  test('ends everything that it started', async () => {
    expect(leftOver()).toEqual([]);
    const urls = [...new Set(first.stdout.match(/http:\/\/127\.0\.0\.1:[0-9]+(?="|\s|$)/g))];
    expect(urls.length).toBeGreaterThanOrEqual(6);
    for (const url of urls) await expect(fetch(url), url).rejects.toThrow('fetch failed');
  });

  test('brings every image into the registry with the digest that it has upstream', async () => {
    const inside = namesIn(join(demo, 'registry'));
    const upstream = ['ghcr.io', 'registry.k8s.io'].flatMap((host) => [
      ...namesIn(join(demo, 'upstream/registries', host)),
    ]);
    const digestInside = (reference: string): string | undefined => {
      const name = reference.slice(reference.indexOf('/') + 1);
      return [...inside].find(([other]) => other === name || other.endsWith(`/${name}`))?.[1];
    };
    const wanted = upstream.filter(([name]) =>
      /\/(omni|kubelet|dex|etcd|pause|kube-apiserver):v?[0-9]/.test(name),
    );
    expect(wanted).toHaveLength(6);
    for (const [name, digest] of wanted) expect(digestInside(name), name).toBe(digest);
    const blobs = globSync(join(demo, 'registry/blobs/sha256/*'));
    expect(blobs.length).toBeGreaterThan(100);
    for (const blob of blobs) expect(await sha256(blob)).toBe(basename(blob));
  });

  test('brings the media into the object store as the factory has them', async () => {
    const objects = globSync('objects/image/*/*/*', { cwd: demo });
    expect(objects.map((object) => basename(object)).sort()).toEqual([
      'cmdline-metal-amd64',
      'initramfs-amd64.xz',
      'kernel-amd64',
      'metal-amd64.iso',
    ]);
    for (const object of objects) {
      const made = join(demo, 'upstream/media', object.slice('objects/image/'.length));
      expect(await sha256(join(demo, object)), object).toBe(await sha256(made));
    }
  });

  test('compares what was pulled back, and says so', () => {
    const pairs = [...first.stdout.matchAll(/\n {2}outside +(\S+)\n {2}inside +(\S+)\n {2}the same\n/g)];
    expect(pairs).toHaveLength(2);
    for (const [, outside, inside] of pairs) {
      expect(outside).toMatch(/^sha256:[a-f0-9]{64}$/);
      expect(inside).toBe(outside);
    }
  });

  test('leaves a receipt that names the bundle in its first line', () => {
    const sums = execFileSync('bash', ['-c', 'sha256sum content.tar.*'], { cwd: join(demo, 'media') });
    const id = createHash('sha256').update(sums).digest('hex');
    expect(readFileSync(join(demo, 'receipt.json'), 'utf8').split('\n')[0]).toBe(`{ "bundle": "${id}",`);
  });
});

describe('what the demo proposes at its end', () => {
  test('verifying by this program and by sha256sum, cutting into more volumes', async () => {
    const verify = proposed('./scripts/omni-airgap verify');
    const commands = [...verify, ...proposed('(cd'), ...proposed('./scripts/omni-airgap bundle')];
    expect(commands).toHaveLength(3);
    for (const command of commands) expect((await run(`bash -c '${command}'`)).status, command).toBe(0);
    expect(globSync('media-small/content.tar.*', { cwd: demo }).length).toBeGreaterThan(2);
  });

  testWith(['curl', 'skopeo'], 'serving straight from the media, and asking that', async () => {
    const [command] = proposed('./scripts/omni-airgap serve');
    const child = start(`${command?.replace('127.0.0.1:5000', '127.0.0.1:0')} --json`);
    onTestFinished(() => void child.kill('SIGKILL'));
    if (child.stdout === null) throw new Error('a pipe was asked for');
    const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
    const { host } = new URL((JSON.parse(line) as { url: string }).url);
    const answers = [...proposed('curl'), ...proposed('skopeo')].map(async (asked) => {
      const { status, stdout, stderr } = await run(asked.replace('127.0.0.1:5000', host));
      expect(status, stderr).toBe(0);
      return JSON.parse(stdout) as object;
    });
    expect(await Promise.all(answers)).toMatchObject([
      { name: 'siderolabs/omni', tags: expect.arrayContaining(['v1.10.4']) },
      { Architecture: 'amd64', Digest: namesIn(join(demo, 'store')).get('ghcr.io/siderolabs/omni:v1.10.4') },
    ]);
    const ended = once(child, 'exit');
    child.kill('SIGINT');
    await ended;
  });
});

describe('./scripts/demo once more', () => {
  test('says what is there already, does nothing twice, and ends well', async () => {
    const again = await run('./scripts/demo');
    expect(again.status).toBe(0);
    expect(again.stdout).toContain('demo has what an earlier demo made');
    expect(again.stdout).toContain('demo/mirror.yaml already exists: init is skipped.');
    expect(again.stdout).toContain('demo/site.key already exists: keygen is skipped.');
    // By fetch, by bundle, by load.
    expect(again.stdout.match(/^Nothing to do: /gm)).toHaveLength(3);
    expect(again.stdout).not.toContain('scripts/omni-airgap init');
  });

  test('ends what it started when it is interrupted', async () => {
    const stopped = await run('./scripts/demo', (stdout, child) => {
      if (stdout.includes('{"url":')) child.kill('SIGINT');
    });
    expect(stopped.status).toBe(130);
    expect(stopped.stderr).toContain('demo: stopped; the same command resumes where it left off');
    expect(stopped.stdout).not.toContain('== Done');
    expect(leftOver()).toEqual([]);
  });

  test.each([
    ['a folder that is not its own', '--dir packages', 'packages was not made by the demo'],
    ['a folder of the other kind', '--online', 'demo belongs to a demo of the kind "sample"'],
    ['a flag it does not know', '--onlin', "Unknown option '--onlin'"],
  ])('refuses %s', async (_what, args, why) => {
    const before = readdirSync(join(clone, 'packages'));
    const refused = await run(`./scripts/demo ${args}`);
    expect(refused.status).toBe(2);
    expect(refused.stderr).toContain(`demo: ${why}`);
    expect(refused.stdout).toBe('');
    expect(readdirSync(join(clone, 'packages'))).toEqual(before);
  });
});

describe('./scripts/demo --second-month', () => {
  let month: Run;
  beforeAll(async () => {
    month = await run('./scripts/demo --second-month --dir demo-month');
  });

  test('ends well, with everything that it started', () => {
    expect(month.stderr).not.toContain('demo:');
    expect(month.status, month.stderr).toBe(0);
    expect(leftOver()).toEqual([]);
  });

  test('outdated lists what is newer, plan the way there, and mirror.yaml has its versions', () => {
    expect(month.stdout).toMatch(/\nKubernetes +latest +v1\.34\.3 +v1\.36\.1 +-\n/);
    expect(month.stdout).toContain('Upgrade of Omni: v1.8.2 > v1.9.7 > v1.10.4\n  skips v1.9');
    expect(month.stdout).toContain('Upgrade of Talos: v1.12.10 > v1.12.11 > v1.13.9\n  added v1.12.11');
    const mirror = readFileSync(join(clone, 'demo-month/mirror.yaml'), 'utf8');
    expect(mirror).toContain('  versions: [v1.9.7, latest]\n');
    expect(mirror).toContain('    # that clusters run\n    - latest\n    - v1.35.2\n');
  });

  test('carries an increment of what is new alone', () => {
    const [, increment = '', again = ''] =
      /the increment ([\d.]+ MiB), of which the site has ([\d.]+ B)\.\n/.exec(month.stdout) ?? [];
    expect([increment, again]).not.toContain('');
    const names = namesIn(join(clone, 'demo-month/registry'));
    for (const name of ['omni:v1.9.7', 'omni:v1.10.4', 'kubelet:v1.35.2'])
      expect([...names.keys()]).toContainEqual(expect.stringMatching(new RegExp(`siderolabs/${name}$`)));
  });

  test('prune removes what nothing runs any more, and keeps what runs and what the last bundle names', () => {
    const tags = [...namesIn(join(clone, 'demo-month/registry')).keys()];
    const has = (name: string): boolean => tags.some((tag) => tag.endsWith(`/${name}`));
    for (const name of ['omni:v1.8.2', 'imager:v1.12.10', 'kubelet:v1.34.3', 'kube-apiserver:v1.34.3'])
      expect(has(name), name).toBe(false);
    for (const name of ['dex:v2.41.1', 'imager:v1.13.9', 'kube-apiserver:v1.36.1', 'image-factory:v1.5.0'])
      expect(has(name), name).toBe(true);
    expect(month.stdout).toMatch(
      /\nDeleted [0-9]+ manifests and [0-9]+ objects; [0-9]+ lists? rewritten\.\n/,
    );
    const objects = globSync('objects/image/*/*/kernel-amd64', { cwd: join(clone, 'demo-month') });
    expect(objects.map((object) => object.split('/')[3]).sort()).toEqual(['v1.12.11', 'v1.13.9']);
  });

  test('says what each step took', () => {
    for (const step of [
      'outdated',
      'plan',
      'fetch --update',
      'bundle --since',
      'load the increment',
      'prune --plan',
      'prune --apply',
    ])
      expect(month.stdout).toMatch(new RegExp(`\n  ${step} +[0-9]+\\.[0-9] s\n`));
  });

  test('once more, the site is set up and nothing is left to do', async () => {
    const again = await run('./scripts/demo --second-month --dir demo-month');
    expect(again.status, again.stderr).toBe(0);
    expect(again.stdout).not.toContain('First month');
    expect(again.stdout).toContain('Nothing is newer upstream.');
    expect(again.stdout).toMatch(/^Nothing to do: demo-month\/media-2 holds this very bundle/m);
    expect(again.stdout).toContain('The increment is loaded and the site is pruned');
  });
});

describe('the transcript in README.md', () => {
  /** Hides what differs from run to run: times, ports, folders, digests, and counts that depend on what came first. */
  const masked = (text: string): string =>
    text
      // Where a command is wrapped depends on the folder.
      .replaceAll(/ \\\n +/g, ' ')
      .replaceAll(/127\.0\.0\.1:[0-9]+/g, '127.0.0.1:PORT')
      .replaceAll(/[a-f0-9]{64}/g, 'HEX')
      .replaceAll(/(?<=of store )[a-f0-9]{32}/g, 'STORE')
      .replaceAll(/(?<=signed (?:by|with key) )[a-f0-9]+/gi, 'KEY')
      .replaceAll(/ in [0-9]+ (?:s|min [0-9]+ s)\b/g, ' in TIME')
      .replaceAll(/file:\/\/\S*\/demo\//g, 'file:///DIR/demo/')
      .replaceAll(/[0-9]+ blobs? already present/g, 'N blobs already present')
      .replaceAll(/[0-9]+ mounted/g, 'N mounted');

  test('is what the demo prints, with … for what is left out', () => {
    const [, transcript = ''] =
      /<!-- transcript[^>]*-->\n+```console\n([^`]*)```/.exec(read('README.md')) ?? [];
    const parts = masked(transcript).split(/…\n?/);
    expect(parts.length).toBeGreaterThan(3);
    const output = masked(first.stdout);
    let at = 0;
    for (const part of parts) {
      const found = output.indexOf(part, at);
      expect(found, `not in the output from here on:\n${part}\n---\n${output.slice(at)}`).not.toBe(-1);
      at = found + part.length;
    }
  });
});

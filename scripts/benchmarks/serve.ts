/**
 * `serve` against nginx on the same file, from page cache over loopback by curl, rounds of both in turn; then what a
 * thousand slow clients and ten thousand that go away do to it. It runs as a site would have it: log-ins, also for pulling,
 * and metrics, so each request has a token to check. Needs nginx and curl.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Layout } from '../../packages/oci/src/layout/index.ts';
import {
  type Descriptor,
  descriptorOf,
  Hasher,
  hexOf,
  MediaType,
  openerOf,
} from '../../packages/oci/src/model/index.ts';
import { passwordHash } from '../../packages/pki/src/log-ins.ts';
import { nodeFlags } from '../lib/node-flags.ts';
import type { BenchmarkContext } from './harness/rounds.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..', '..');
const rounds = 9;
const slowClients = 1000;
const aborts = 10_000;
const maxRssMiB = 250;
const leastOfNginx = 0.8;
const leastOfVerified = 0.8;
/** Bytes a second of a fast site's network: 10 gigabit Ethernet. */
const lineRate = 1_250_000_000;
const [user, password] = ['site', 'only for this benchmark'];

interface Server {
  readonly pid: number;
  readonly url: string;
  stop(): Promise<void>;
}

/** Fills a layout with one image whose layer has random bytes. @returns that layer */
async function fill(folder: string, mebibytes: number): Promise<Descriptor> {
  const layout = await Layout.open(folder, { create: true });
  const block = randomBytes(1024 * 1024);
  const hasher = new Hasher();
  for (let i = 0; i < mebibytes; i++) hasher.update(block);
  const layer = { mediaType: MediaType.octetStream, size: hasher.size, digest: hasher.finish() };
  await layout.push(layer, async function* () {
    for (let i = 0; i < mebibytes; i++) yield block;
  });
  const empty = Buffer.from('{}');
  const config = descriptorOf(MediaType.empty, empty);
  const manifest = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociManifest, config, layers: [layer] }),
  );
  const named = descriptorOf(MediaType.ociManifest, manifest);
  await layout.push(config, openerOf(empty));
  await layout.push(named, openerOf(manifest));
  await layout.tag(named, 'bench.local/bench/blob:v1');
  return layer;
}

async function stop(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await ended;
}

async function startOurs(store: string, htpasswd: string): Promise<Server> {
  const main = join(root, 'packages/cli/src/main.ts');
  writeFileSync(htpasswd, `${user}:${await passwordHash(password)}\n`);
  const listen = ['--listen', '127.0.0.1:0', '--metrics-listen', '127.0.0.1:0', '--json', '--quiet'];
  const access = ['--htpasswd', htpasswd, '--require-login'];
  const child = spawn(
    process.execPath,
    [...nodeFlags, main, 'serve', '--store', store, ...listen, ...access],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  for await (const line of createInterface({ input: child.stdout })) {
    const { url } = JSON.parse(line) as { url: string };
    return {
      pid: child.pid ?? 0,
      url,
      stop: () => stop(child),
    };
  }
  throw new Error('serve did not start');
}

/** @returns what the Authorization header of a pull says, for a quarter of an hour */
async function logIn({ url }: Server): Promise<string> {
  const answer = await fetch(`${url}/token?scope=repository:bench/blob:pull`, {
    headers: { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` },
  });
  if (!answer.ok) throw new Error(`/token: ${answer.status}`);
  return `Bearer ${((await answer.json()) as { token: string }).token}`;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

async function startNginx(folder: string, served: string): Promise<Server> {
  mkdirSync(folder);
  const port = await freePort();
  const own = (name: string): string => join(folder, name);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${own(name)};`,
  );
  writeFileSync(
    own('nginx.conf'),
    `daemon off; worker_processes 1; pid ${own('pid')}; error_log ${own('error.log')}; ${process.getuid?.() === 0 ? 'user root;' : ''}
events { worker_connections 4096; }
http { access_log off; sendfile on; tcp_nopush on; ${temporary.join(' ')}
  server { listen 127.0.0.1:${port}; root ${served}; } }
`,
  );
  const child = spawn('nginx', ['-c', own('nginx.conf')], { stdio: ['ignore', 'ignore', 'ignore'] });
  const url = `http://127.0.0.1:${port}`;
  for (
    let i = 0;
    i < 100 &&
    !(await fetch(url).then(
      () => true,
      () => false,
    ));
    i++
  )
    await sleep(50);
  return {
    pid: child.pid ?? 0,
    url,
    stop: () => stop(child),
  };
}

/** @returns bytes a second */
async function download(url: string, ...flags: readonly string[]): Promise<number> {
  const { stdout } = await run('curl', ['-sSf', '-o', '/dev/null', '-w', '%{speed_download}', ...flags, url]);
  return Number(stdout);
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

const mib = (bytes: number): string => `${Math.round(bytes / 1024 / 1024)} MiB/s`;

/** MiB, of the whole time the process has run. */
function peakRss(pid: number): number {
  const [, kib] = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Math.round(Number(kib) / 1024);
}

const openFiles = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;

/** A client that asks, sees the first bytes, and then reads no more. */
function stalled(url: URL, authorization: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(url.port), url.hostname);
    socket.once('error', reject);
    socket.once('data', () => {
      socket.pause();
      resolve(socket);
    });
    socket.write(
      `GET ${url.pathname} HTTP/1.1\r\nHost: ${url.host}\r\nAuthorization: ${authorization}\r\n\r\n`,
    );
  });
}

/** Asks and goes away after the first bytes. */
async function abort(url: URL, authorization: string): Promise<void> {
  const socket = await stalled(url, authorization);
  await new Promise((resolve) => {
    socket.once('close', resolve);
    socket.destroy();
  });
}

export default async function benchmark({ folder, sizeMiB }: BenchmarkContext): Promise<readonly string[]> {
  const started: Server[] = [];
  const missed: string[] = [];
  const say = (what: string, measured: string, holds: boolean): void => {
    console.log(`${what.padEnd(48)} ${measured}`);
    if (!holds) missed.push(`${what}: ${measured}`);
  };
  try {
    const store = join(folder, 'store');
    const layer = await fill(store, sizeMiB);
    const file = join(store, 'blobs', 'sha256', hexOf(layer.digest));
    const ours = await startOurs(store, join(folder, 'htpasswd'));
    started.push(ours);
    const nginx = await startNginx(join(folder, 'nginx'), join(store, 'blobs', 'sha256'));
    started.push(nginx);
    const blob = `${ours.url}/v2/bench/blob/blobs/${layer.digest}`;
    const peer = `${nginx.url}/${hexOf(layer.digest)}`;
    const speeds = {
      nginx: [] as number[],
      verified: [] as number[],
      first: [] as number[],
      line: [] as number[],
    };
    const token = ['-H', `Authorization: ${await logIn(ours)}`];
    const lineFlags = [...token, '--limit-rate', String(lineRate)];
    const lineVerified: number[] = [];
    for (let round = 0; round < rounds; round++) {
      // Another time of change makes it content that was never seen.
      utimesSync(file, new Date(), new Date(2_000_000_000_000 + round * 1000));
      speeds.first.push(await download(blob, ...token));
      speeds.verified.push(await download(blob, ...token));
      speeds.nginx.push(await download(peer));
      utimesSync(file, new Date(), new Date(2_100_000_000_000 + round * 1000));
      speeds.line.push(await download(blob, ...lineFlags));
      lineVerified.push(await download(blob, ...lineFlags));
    }
    const verified = median(speeds.verified);
    const ofNginx = verified / median(speeds.nginx);
    console.log(`one file of ${sizeMiB} MiB, medians of ${rounds} rounds`);
    say(
      `throughput (at least ${leastOfNginx} of nginx)`,
      `${mib(verified)}, nginx ${mib(median(speeds.nginx))}: ${ofNginx.toFixed(2)}`,
      ofNginx >= leastOfNginx,
    );
    const atLine = median(speeds.line) / median(lineVerified);
    say(
      `first use, at 10 Gbit/s (at least ${leastOfVerified} of later)`,
      `${mib(median(speeds.line))}, later ${mib(median(lineVerified))}: ${atLine.toFixed(2)}`,
      atLine >= leastOfVerified,
    );
    const first = median(speeds.first);
    console.log(
      `${'first use, no limit (one core hashes 1.8 GB/s)'.padEnd(48)} ${mib(first)}: ${(first / verified).toFixed(2)} of later, ${(first / median(speeds.nginx)).toFixed(2)} of nginx`,
    );

    const url = new URL(blob);
    const authorization = await logIn(ours);
    const slow: Socket[] = [];
    for (let i = 0; i < slowClients; i += 50) {
      slow.push(...(await Promise.all(Array.from({ length: 50 }, () => stalled(url, authorization)))));
    }
    const beside = await download(blob, '-H', `Authorization: ${authorization}`);
    say(`beside ${slowClients} clients that read nothing`, mib(beside), beside > 0);
    for (const socket of slow) socket.destroy();
    await sleep(1000);
    const before = openFiles(ours.pid);
    for (let i = 0; i < aborts; i += 20)
      await Promise.all(Array.from({ length: 20 }, () => abort(url, authorization)));
    await sleep(1000);
    const leaked = openFiles(ours.pid) - before;
    say(`${aborts} aborted downloads`, `${leaked} files or sockets left open`, leaked <= 2);
    const rss = peakRss(ours.pid);
    say(`memory, peak of all that (at most ${maxRssMiB} MiB)`, `${rss} MiB`, rss <= maxRssMiB);
    return missed;
  } finally {
    for (const server of started) await server.stop();
  }
}

/**
 * fetch against oras, crane and regctl from a local Distribution registry into an OCI layout, all of it synced: large images
 * on loopback, the same over TLS, a hundred mixed ones over an emulated long line.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MediaType } from '../../packages/oci/src/model/index.ts';
import { startRegistry } from '../../test/services/docker-registry.ts';
import { startProcess } from '../../test/services/server-process.ts';
import { type Certificates, makeCertificates } from '../../test/services/tls.ts';
import {
  type Content,
  equalImages,
  makeContent,
  mixedImages,
  requireInLayouts,
  tag,
  writeRegistry,
} from './harness/content.ts';
import { type Measured, measure, measureCli, measureShell, withServerTime } from './harness/measure.ts';
import { alternate, type BenchmarkContext, type Side } from './harness/rounds.ts';
import { clear, fetchArguments, floor } from './harness/stage.ts';
import { ours } from './harness/statistics.ts';

const line = { roundTripMs: 40, megabytesPerSecond: 25 };
/** As many as omni-airgap opens at most to one host. */
const curlConnections = 24;
const proxy = fileURLToPath(new URL('./harness/shaping-proxy.ts', import.meta.url));

/** Where the images are, and how a client gets there. */
interface Source {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  /** Of the registry's process. */
  readonly pid: number;
  readonly certificates: Certificates | undefined;
  readonly content: Content;
}

export async function fetchNear(context: BenchmarkContext): Promise<readonly string[]> {
  await fetchLarge(context, 'fetch', undefined);
  return [];
}

export async function fetchTls(context: BenchmarkContext): Promise<readonly string[]> {
  const certificates = await makeCertificates('127.0.0.1');
  try {
    await fetchLarge(context, 'fetch-tls', certificates);
  } finally {
    certificates.dispose();
  }
  return [];
}

export async function fetchLine(context: BenchmarkContext): Promise<readonly string[]> {
  const content = await makeContent(mixedImages(context.sizeMiB));
  const registry = await startRegistry();
  try {
    await writeRegistry(registry.data, content);
    await throughLine(context.folder, registry.port, async (host) => {
      const sides = sidesOf(context, { host, pid: registry.pid, certificates: undefined, content });
      // The proxy is on loopback too, so each byte passes there twice.
      const once = (side: Side | undefined): Side | undefined => side && (async () => halved(await side()));
      await alternate(
        context,
        {
          comparison: 'line',
          title: `fetch of ${content.images.length} mixed images, ${megabytes(content)}, over ${line.roundTripMs} ms and ${line.megabytesPerSecond} MB/s a connection, synced`,
          bytes: content.bytes,
        },
        {
          [ours]: once(sides.ours),
          'xargs -P8 oras': once(sides.orasAtOnce),
        },
        { 'limit: curl': once(sides.curl) },
      );
    });
  } finally {
    await registry.stop();
  }
  return [];
}

async function fetchLarge(
  context: BenchmarkContext,
  comparison: string,
  certificates: Certificates | undefined,
): Promise<void> {
  const content = await makeContent(equalImages(8, 8, (context.sizeMiB / 64) * 1024 ** 2));
  const pair = certificates && join(context.folder, 'tls');
  if (certificates !== undefined && pair !== undefined) {
    writeFileSync(`${pair}.pem`, certificates.cert);
    writeFileSync(`${pair}.key`, certificates.key);
  }
  const registry = await startRegistry(
    pair === undefined ? {} : { tls: { certificate: `${pair}.pem`, key: `${pair}.key` } },
  );
  try {
    await writeRegistry(registry.data, content);
    const sides = sidesOf(context, { host: registry.host, pid: registry.pid, certificates, content });
    await alternate(
      context,
      {
        comparison,
        title: `fetch of 8 images of 8 layers, ${megabytes(content)}, on loopback${pair === undefined ? '' : ' over TLS'}, synced`,
        bytes: content.bytes,
      },
      { [ours]: sides.ours, oras: sides.oras, crane: sides.crane },
      { regctl: sides.regctl, 'limit: curl': sides.curl, floor: sides.floor },
    );
  } finally {
    await registry.stop();
  }
}

/** All leave the content in OCI layouts in or below one folder, synced, or measure a part of that work. */
function sidesOf(
  { folder, peers, program: own }: BenchmarkContext,
  { host, pid, certificates, content }: Source,
): Record<'ours' | 'oras' | 'orasAtOnce' | 'crane' | 'regctl' | 'curl' | 'floor', Side | undefined> {
  const out = join(folder, 'out');
  const blobFolder = join(out, 'blobs', 'sha256');
  const names = content.images.map(({ name }) => name);
  const ca = certificates?.caFile;
  // Nobody's credentials, and the authority for the clients that read it from the environment.
  const env = { HOME: folder, DOCKER_CONFIG: folder, ...(ca === undefined ? {} : { SSL_CERT_FILE: ca }) };
  const side =
    (run: () => Promise<Measured>): Side =>
    async () => {
      await clear(folder, out);
      const measured = await withServerTime(pid, run);
      requireInLayouts(out, content);
      return measured;
    };
  const peer = (program: string | undefined, script: string, args: readonly string[]): Side | undefined =>
    program === undefined
      ? undefined
      : side(() =>
          measureShell(`${script}; sync -f "$OUT"`, args, { ...env, PROGRAM: program, HOST: host, OUT: out }),
        );
  const orasFlags = `--no-tty ${ca === undefined ? '--from-plain-http' : `--from-ca-file=${ca}`} --to-oci-layout`;
  const regctlFlags = `--host reg=$HOST,tls=${ca === undefined ? 'disabled' : 'enabled'}`;
  const craneFlags = `${ca === undefined ? '--insecure' : ''} --format=oci --annotate-ref`;
  const list = join(folder, 'blobs.txt');
  const wanted = join(folder, 'curl.txt');
  writeLists(content, host, certificates, { list, wanted, blobFolder });
  return {
    ours: side(async () => {
      const url = `${ca === undefined ? 'http' : 'https'}://${host}`;
      const trust = ca === undefined ? [] : ['--ca-cert', ca];
      return measureCli(own, await fetchArguments(folder, out, content, url, ...trust));
    }),
    oras: peer(
      peers.oras,
      `for n; do "$PROGRAM" cp ${orasFlags} "$HOST/$n:${tag}" "$OUT:\${n##*/}"; done`,
      names,
    ),
    // A layout for each image: processes that write to one at once would lose names.
    orasAtOnce: peer(
      peers.oras,
      `printf '%s\\n' "$@" | xargs -P8 -I{} "$PROGRAM" cp ${orasFlags} "$HOST/{}:${tag}" "$OUT/{}:${tag}"`,
      names,
    ),
    crane: peer(
      peers.crane,
      `"$PROGRAM" pull ${craneFlags} "$@" "$OUT"`,
      names.map((name) => `${host}/${name}:${tag}`),
    ),
    regctl: peer(
      peers.regctl,
      `for n; do "$PROGRAM" ${regctlFlags} image copy "$HOST/$n:${tag}" "ocidir://$OUT:\${n##*/}"; done`,
      names,
    ),
    curl: side(() =>
      measureShell(
        `curl --fail --no-progress-meter --parallel --parallel-max ${curlConnections} --create-dirs ${ca === undefined ? '' : `--cacert ${ca}`} -K "$1"; sync -f "$2"`,
        [wanted, out],
      ),
    ),
    floor: side(() =>
      measure(process.execPath, [floor, 'fetch', host, blobFolder, list, ...(ca === undefined ? [] : [ca])]),
    ),
  };
}

/** For the floor and for curl: every blob, by its path on the registry. */
function writeLists(
  content: Content,
  host: string,
  certificates: Certificates | undefined,
  { list, wanted, blobFolder }: Readonly<Record<'list' | 'wanted' | 'blobFolder', string>>,
): void {
  const lines = content.images.flatMap(({ name, manifest, children }) => [
    { path: `/v2/${name}/manifests/${manifest.digest}`, hex: manifest.digest.slice(7) },
    ...children.map(({ digest }) => ({ path: `/v2/${name}/blobs/${digest}`, hex: digest.slice(7) })),
  ]);
  writeFileSync(list, lines.map(({ path, hex }) => `${path} ${hex}\n`).join(''));
  const scheme = certificates === undefined ? 'http' : 'https';
  writeFileSync(
    wanted,
    `header = "Accept: ${MediaType.ociManifest}"\n${lines
      .map(({ path, hex }) => `url = "${scheme}://${host}${path}"\noutput = "${blobFolder}/${hex}"\n`)
      .join('')}`,
  );
  mkdirSync(blobFolder, { recursive: true });
}

const megabytes = ({ bytes }: Content): string => `${Math.round(bytes / 1e6)} MB`;

const halved = (measured: Measured): Measured => ({
  ...measured,
  wireBytes: Math.round(measured.wireBytes / 2),
});

/** With a server reached over the long line. @param work gets its address */
async function throughLine<T>(
  folder: string,
  port: number,
  work: (address: string) => Promise<T>,
): Promise<T> {
  const args = [port, line.roundTripMs, line.megabytesPerSecond].map(String);
  const server = startProcess([process.execPath, proxy, ...args], join(folder, 'proxy.log'));
  try {
    const own = await server.until(() => /^(\d+)\n/.exec(server.output())?.[1], 15_000);
    return await work(`127.0.0.1:${own}`);
  } finally {
    await server.stop();
  }
}

/**
 * factory.talos.dev and the object storage it redirects media to: schematics, media that take time to build the
 * first time, installers under /v2, the lists Omni asks for.
 * Source: siderolabs/image-factory docs/api.md.
 */

import { createHash, randomBytes, randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { extname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Layout } from '../../packages/oci/src/layout/index.ts';
import { createServer, type Server as Registry } from '../../packages/server/src/index.ts';
import { schematicFrom } from '../../packages/talos/src/index.ts';
import type { SampleContent } from './content.ts';
import { type Handler, type ServedFile, sendFile, sendStorageError, sendText, UrlSigner } from './host.ts';
import type { SigningKey } from './signing-key.ts';
import { factoryHost, talosctlFiles } from './versions.ts';

export const storageHost = 'image-factory.0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com';

interface FactoryOptions {
  readonly content: SampleContent;
  /** Milliseconds that the first request of a media file or installer takes. */
  readonly buildMs: number;
  /** Milliseconds a signed URL is good for. */
  readonly urlMs: number;
}

interface Schematic {
  readonly canonical: string;
  readonly extraKernelArgs: readonly string[];
}

const maxBody = 1024 * 1024;
const types: Readonly<Record<string, string>> = {
  '.iso': 'application/x-iso9660-image',
  '.xz': 'application/x-xz',
  '.gz': 'application/gzip',
  '.efi': 'application/efi',
  '.qcow2': 'application/x-qemu-disk',
};

export async function factory(
  options: FactoryOptions,
): Promise<{ readonly factory: Handler; readonly storage: Handler }> {
  const { content, buildMs, urlMs } = options;
  const isOffered = (version: string): boolean => content.versions.talos.includes(version);
  const signer = new UrlSigner(randomBytes(16).toString('hex'));
  const schematics = new Map<string, Schematic>();
  const built = new Map<string, Promise<ServedFile | undefined>>();
  const stored = new Map<string, { readonly file: ServedFile; readonly name: string }>();
  const installerBuilds = new Map<string, Promise<void>>();
  let installers = await openInstallers(content);

  const learn = (body: string | Uint8Array): { readonly id: string; readonly canonical: string } => {
    const { id, canonical, schematic } = schematicFrom(body);
    schematics.set(id, { canonical, extraKernelArgs: schematic.customization.extraKernelArgs ?? [] });
    return { id, canonical };
  };
  learn('customization: {}\n');

  const build = (id: string, { canonical, extraKernelArgs }: Schematic, version: string, file: string) => {
    const key = `${id}/${version}/${file}`;
    const running =
      built.get(key) ??
      sleep(buildMs).then(() =>
        content.media.file({ schematic: id, canonical, extraKernelArgs, version, file }),
      );
    built.set(key, running);
    return running;
  };

  const image: Handler = async (request, response, url) => {
    const [, id = '', asked = '', path = ''] =
      /^\/image\/([^/]+)\/([^/]+)\/([^/]+)$/.exec(url.pathname) ?? [];
    if (/\.(?:sha256|sha512|sigstore\.json)$/.test(path)) {
      return sendText(response, 402, 'enterprise not enabled: checksum endpoint is not available\n');
    }
    const schematic = schematics.get(id);
    if (schematic === undefined) return sendText(response, 404, `schematic ID "${id}" not found\n`);
    const version = withV(asked);
    if (!isOffered(version)) return sendText(response, 404, `version ${version} is not available\n`);
    const file = await build(id, schematic, version, path);
    if (file === undefined)
      return sendText(response, 400, `error parsing profile from path: invalid profile path: "${path}"\n`);
    const name = url.searchParams.get('filename') ?? path;
    const headers = {
      'Content-Type': types[extname(path)] ?? 'application/octet-stream',
      'Content-Disposition': `attachment; filename="${name.replace(/[^A-Za-z0-9._-]/g, '_')}"`,
    };
    if (request.method === 'HEAD') {
      response.writeHead(200, { ...headers, 'Content-Length': file.size }).end();
      return;
    }
    const key = `/assets/${createHash('sha256').update(`${id} ${version} ${path}`).digest('hex')}`;
    stored.set(key, { file, name });
    const expires = Math.ceil((Date.now() + urlMs) / 1000) * 1000;
    const query = new URLSearchParams({
      'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
      'X-Amz-Expires': String(expires),
      'X-Amz-SignedHeaders': 'host',
      'response-content-disposition': headers['Content-Disposition'],
      'response-content-type': headers['Content-Type'],
      'X-Amz-Signature': signer.sign(key, expires),
    });
    response.setHeader('Location', `https://${storageHost}${key}?${query}`);
    sendText(response, 302, '<a href="#">Found</a>.\n\n', 'text/html; charset=utf-8');
  };

  const storage: Handler = async (request, response, url) => {
    const refuse = (status: number, code: string): void => sendStorageError(response, status, code);
    if (request.headers.authorization !== undefined) return refuse(400, 'InvalidArgument');
    const { searchParams: query } = url;
    if (
      !signer.verify(url.pathname, Number(query.get('X-Amz-Expires')), query.get('X-Amz-Signature') ?? '')
    ) {
      return refuse(403, 'SignatureDoesNotMatch');
    }
    const found = stored.get(url.pathname);
    if (found === undefined) return refuse(404, 'NoSuchKey');
    await sendFile(request, response, found.file, {
      'Content-Type': query.get('response-content-type') ?? 'application/octet-stream',
      'Content-Disposition': query.get('response-content-disposition') ?? 'attachment',
      ETag: `"${createHash('md5').update(found.file.path).digest('hex')}-9"`,
    });
  };

  const post: Handler = async (request, response) => {
    const body = await readBody(request);
    if (body === undefined) return sendText(response, 413, 'request body too large\n');
    try {
      const { id, canonical } = learn(body);
      sendText(response, 201, JSON.stringify({ id, schematic: canonical }), 'application/json');
    } catch (error) {
      sendText(response, 400, `error parsing schematic: ${error instanceof Error ? error.message : ''}\n`);
    }
  };

  const oci: Handler = async (request, response, url) => {
    const [, repository = '', id = '', version] =
      /^\/v2\/((?:[a-z]+-)?installer(?:-secureboot)?)\/([^/]+)\/manifests\/(v[^/]+)$/.exec(url.pathname) ??
      [];
    const schematic = schematics.get(id);
    if (version !== undefined && isOffered(version) && schematic !== undefined) {
      const key = `${repository}/${id}:${version}`;
      const running =
        installerBuilds.get(key) ??
        sleep(buildMs).then(async () => {
          if ((await installers.layout.resolve(`${factoryHost}/${key}`)) !== undefined) return;
          await content.makeInstaller(repository, id, schematic.canonical, version);
          installers = await openInstallers(content);
        });
      installerBuilds.set(key, running);
      await running;
    }
    installers.registry.listener(request, response);
  };

  const json = (response: ServerResponse, value: unknown): void =>
    sendText(response, 200, `${JSON.stringify(value)}\n`, 'application/json');

  const handler: Handler = async (request, response, url) => {
    response.setHeader('Server', 'Image Factory v1.5.0');
    response.setHeader('X-Request-ID', request.headers['x-request-id'] ?? randomUUID());
    const { pathname } = url;
    const [, first, ...rest] = pathname.split('/');
    const path = rest.join('/');
    if (first === 'v2') return oci(request, response, url);
    if (first === 'schematics' && request.method === 'POST') return post(request, response, url);
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return sendText(response, 405, 'Method Not Allowed\n');
    if (first === 'image') return image(request, response, url);
    if (first === 'schematics') {
      const found = schematics.get(path);
      return found === undefined
        ? sendText(response, 404, `schematic ID "${path}" not found\n`)
        : sendText(response, 200, found.canonical, 'application/yaml');
    }
    if (pathname === '/versions')
      return json(response, url.searchParams.get('broken') === 'true' ? [] : content.versions.talos);
    const [, version = '', kind] =
      /^\/version\/([^/]+)\/(extensions|overlays)\/official$/.exec(pathname) ?? [];
    if (kind !== undefined && isOffered(withV(version))) {
      return json(response, kind === 'extensions' ? content.catalogs.extensions : content.catalogs.overlays);
    }
    const talosctlVersion = withV(rest[0] ?? '');
    if (first === 'talosctl' && isOffered(talosctlVersion)) {
      if (rest.length === 1) {
        return json(
          response,
          talosctlFiles.map((file) => `https://${factoryHost}/talosctl/${talosctlVersion}/${file}`),
        );
      }
      const file = rest[1] ?? '';
      if (rest.length === 2 && talosctlFiles.includes(file)) {
        const served = await content.media.talosctl(talosctlVersion, file);
        return sendFile(request, response, served, {
          'Content-Disposition': `attachment; filename="${file}"`,
        });
      }
    }
    if (pathname === '/oci/cosign/signing-key.pub') {
      return sendText(response, 200, content.factoryKey.publicKey, 'application/x-pem-file');
    }
    if (pathname === '/secureboot/signing-cert.pem') {
      return sendText(
        response,
        200,
        selfSigned(content.factoryKey, 'Sample SecureBoot'),
        'application/x-pem-file',
      );
    }
    if (pathname === '/healthz' || pathname === '/readyz') return sendText(response, 200, '');
    sendText(response, 404, '404 page not found\n');
  };
  return { factory: handler, storage };
}

interface Installers {
  readonly layout: Layout;
  readonly registry: Registry;
}

async function openInstallers(content: SampleContent): Promise<Installers> {
  const layout = await Layout.open(content.layoutOf(factoryHost));
  return { layout, registry: await createServer({ source: layout }) };
}

function withV(version: string): string {
  return version.startsWith('v') ? version : `v${version}`;
}

async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.byteLength;
    if (size > maxBody) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

const ecdsaWithSha256 = der(0x30, Buffer.from('06082a8648ce3d040302', 'hex'));

/**
 * A self-signed certificate in as few fields as X.509 allows. Source: RFC 5280 section 4.1.
 * PEM, version 1, good for the years 2026 to 2046.
 */
function selfSigned(key: SigningKey, commonName: string): string {
  const attribute = der(0x30, Buffer.from('0603550403', 'hex'), der(0x0c, Buffer.from(commonName)));
  const name = der(0x30, der(0x31, attribute));
  const time = (text: string): Buffer => der(0x17, Buffer.from(text));
  const validity = der(0x30, time('260101000000Z'), time('460101000000Z'));
  const publicKey = Buffer.from(key.publicKey.replace(/-----[^-]+-----|\s/g, ''), 'base64');
  const body = der(0x30, der(0x02, Buffer.from([1])), ecdsaWithSha256, name, validity, name, publicKey);
  const signature = der(0x03, Buffer.from([0]), key.sign(body));
  const base64 = der(0x30, body, ecdsaWithSha256, signature).toString('base64');
  const lines = base64.match(/.{1,64}/g) ?? [];
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
}

function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const size = content.byteLength;
  const length = size < 0x80 ? [size] : size < 0x100 ? [0x81, size] : [0x82, size >> 8, size & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
}

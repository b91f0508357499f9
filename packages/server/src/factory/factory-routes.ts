/**
 * The Image Factory's HTTP API over what was carried. Nothing is built here.
 * Source: siderolabs/image-factory 78e378a48 docs/api.md, internal/frontend/http.
 */

import { isCoded } from '@omni-airgap/oci/base';
import { collect } from '@omni-airgap/oci/model';
import {
  compareVersions,
  contentTypeOf,
  isTalosctlName,
  isVersion,
  type ListName,
  maxSchematicBytes,
  vPrefixed,
} from '@omni-airgap/talos';
import type { Answer, Methods, Request, RouteGroup } from '../http/message.ts';
import { attachment, failed, json, plainText } from './answer.ts';
import { maxListBytes } from './holdings.ts';
import { getImage, getPxeScript, type MediaContext, wished } from './media.ts';

/** Older ones have no overlays. Source: siderolabs/talos pkg/machinery/imager/quirks/quirks.go (minVersionOverlay). */
const firstWithOverlays = 'v1.7.0';

export function factoryRoutes(context: MediaContext): RouteGroup {
  return {
    isCrossOrigin: true,
    match: (segments) => {
      const [first, a = '', b = '', c = ''] = segments;
      switch (segments.length) {
        case 1:
          if (first === 'schematics') return { POST: (request) => postSchematic(context, request) };
          if (first === 'versions') return { GET: (request) => getVersions(context, request) };
          return undefined;
        case 2:
          if (first === 'schematics') return { GET: (request) => getSchematic(context, a, request) };
          if (first === 'talosctl') return { GET: (request) => listTalosctl(context, a, request) };
          if (first === 'secureboot' && a === 'signing-cert.pem') return pem(context, 'secureboot', a);
          return undefined;
        case 3:
          if (first === 'talosctl') return { GET: (request) => getTalosctl(context, a, b, request) };
          if (first === 'oci' && a === 'cosign' && b === 'signing-key.pub') return pem(context, 'cosign', b);
          return undefined;
        case 4:
          if (first === 'image') return { GET: (request) => getImage(context, [a, b, c], request) };
          if (first === 'pxe') return { GET: (request) => getPxeScript(context, [a, b, c], request) };
          if (first === 'version' && c === 'official' && (b === 'extensions' || b === 'overlays')) {
            return { GET: (request) => getOfficial(context, a, b, request) };
          }
          return undefined;
        default:
          return undefined;
      }
    },
    routeOf: ([first = '']) =>
      first === 'image' || first === 'pxe' || first === 'schematics' ? first : 'factory',
    methodNotAllowed: () => plainText(405, 'Method Not Allowed'),
    failed,
  };
}

async function postSchematic({ schematics }: MediaContext, request: Request): Promise<Answer> {
  let input: Uint8Array;
  try {
    input = await collect(request.body, maxSchematicBytes, 'schematic');
  } catch (error) {
    if (!isCoded(error, 'BAD_DOCUMENT')) throw error;
    return plainText(413, `a schematic may have ${maxSchematicBytes} bytes`);
  }
  const { id, canonical } = await schematics.create(input, request.signal);
  return json(201, { id, schematic: canonical });
}

async function getSchematic({ schematics }: MediaContext, id: string, request: Request): Promise<Answer> {
  const text = await schematics.text(id, request.signal);
  if (text !== undefined) return { status: 200, headers: { 'Content-Type': 'application/yaml' }, body: text };
  return (await schematics.has(id, request.signal))
    ? plainText(404, 'schematic not found: its text came with an earlier bundle')
    : plainText(404, 'schematic not found');
}

async function getVersions({ holdings }: MediaContext, { query, signal }: Request): Promise<Answer> {
  return json(200, query.get('broken') === 'true' ? [] : await holdings.versions(signal));
}

/** Kept as it was carried: whoever reads it compares digests. */
async function getOfficial(
  { holdings, wishes }: MediaContext,
  asked: string,
  kind: 'extensions' | 'overlays',
  { signal }: Request,
): Promise<Answer> {
  if (!isVersion(asked)) return plainText(400, `error parsing version: ${JSON.stringify(asked)}`);
  const version = vPrefixed(asked);
  if (kind === 'overlays' && compareVersions(version, firstWithOverlays) < 0) return json(200, []);
  const file = await holdings.listed(kind, `${kind}.json`, version, signal);
  if (file === undefined) {
    return wished(wishes, { kind: 'version', version }, signal, `has no list of ${kind} here`);
  }
  const body = await file.read(maxListBytes, signal);
  return { status: 200, headers: { 'Content-Type': 'application/json' }, body };
}

async function listTalosctl(
  { holdings, wishes, externalUrl }: MediaContext,
  asked: string,
  request: Request,
): Promise<Answer> {
  if (!isVersion(asked)) return plainText(400, `error parsing version: ${JSON.stringify(asked)}`);
  const version = vPrefixed(asked);
  const { signal } = request;
  const files = [...(await holdings.list('talosctl', version, signal)).keys()].filter(isTalosctlName);
  if (files.length === 0) return wished(wishes, { kind: 'version', version }, signal, 'has no talosctl here');
  return json(
    200,
    files.map((file) => `${externalUrl(request)}/talosctl/${version}/${file}`),
  );
}

async function getTalosctl(
  { holdings, wishes }: MediaContext,
  asked: string,
  file: string,
  { signal }: Request,
): Promise<Answer> {
  if (!isVersion(asked)) return plainText(400, `error parsing version: ${JSON.stringify(asked)}`);
  const disposition = attachment(file);
  if (!isTalosctlName(file) || disposition === undefined) return plainText(404, '404 page not found');
  const version = vPrefixed(asked);
  const found = await holdings.listed('talosctl', file, version, signal);
  const body = await found?.body();
  if (found === undefined || body === undefined) {
    return wished(wishes, { kind: 'talosctl', version, file }, signal);
  }
  const headers = {
    'Content-Type': contentTypeOf(file),
    'Content-Disposition': disposition,
    ETag: `"${found.digest}"`,
  };
  return { status: 200, headers, body };
}

function pem({ holdings }: MediaContext, list: ListName, file: string): Methods {
  return {
    GET: async ({ signal }) => {
      const held = await holdings.listed(list, file, undefined, signal);
      const body = await held?.read(maxListBytes, signal);
      if (body === undefined) return plainText(404, `${file} was not carried here`);
      return { status: 200, headers: { 'Content-Type': 'application/x-pem-file' }, body };
    },
  };
}

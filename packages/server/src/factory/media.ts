/**
 * Boot media: what was carried, the kernel of any schematic, and command lines where they can be composed. All other
 * files hold the ID of their schematic, and none is ever given for another's.
 * Source: siderolabs/image-factory docs/api.md; internal/frontend/http/image.go, pxe.go.
 */

import { CodedError } from '@omni-airgap/oci/base';
import {
  contentTypeOf,
  formatBootTarget,
  isMediaName,
  isSchematicId,
  isVersion,
  parseBootTarget,
  parseMediaName,
  type Schematic,
  vPrefixed,
} from '@omni-airgap/talos';
import type { Answer, Request } from '../http/message.ts';
import { describeWish, type WishSubject } from '../wishes/wish.ts';
import type { Wishes } from '../wishes/wishes.ts';
import { attachment, plainText } from './answer.ts';
import type { HeldFile, Holdings, ListedFiles } from './holdings.ts';
import type { Schematics } from './schematics.ts';

export interface MediaContext {
  readonly holdings: Holdings;
  readonly schematics: Schematics;
  readonly wishes: Wishes;
  /** The URL clients reach this server by, without a slash at its end. */
  readonly externalUrl: (request: Request) => string;
}

const noFiles: ListedFiles = new Map();
/** Real ones have a few hundred bytes; the kernel takes 2 to 4 KiB. */
const maxCmdlineBytes = 64 * 1024;
const enterpriseSuffix = /\.(?:sha256|sha512|sigstore\.json)$/;

/** What iPXE calls the architecture. Source: image-factory internal/profile/profile.go (parseArch). */
function withGoArch(name: string): string {
  return name.replace(/(^|-)(?:x86_64|i386)(?=$|[.-])/, '$1amd64');
}

/** Remembers what was asked for. @returns 404 that says so */
export async function wished(
  wishes: Wishes,
  wish: WishSubject,
  signal: AbortSignal,
  why = 'is not carried here',
): Promise<Answer> {
  const outcome = await wishes.add(wish, signal);
  return plainText(404, `${describeWish(wish)} ${why}; ${outcomes[outcome]}`);
}

const outcomes = {
  recorded: 'the wish was recorded, and omni-airgap wants lists it',
  full: 'the list of wishes is full',
  failed: 'the wish could not be recorded; see the log of the server',
} as const;

function schematicNotFound(id: string): Answer {
  return plainText(404, `schematic ID ${JSON.stringify(id)} not found`);
}

/** Handles `/image/<schematic>/<version>/<file>`. */
export async function getImage(
  context: MediaContext,
  [id, asked, path]: readonly [string, string, string],
  request: Request,
): Promise<Answer> {
  const { holdings, schematics, wishes } = context;
  const { signal } = request;
  const schematic = await schematics.carriedAs(id, signal);
  if (enterpriseSuffix.test(path)) {
    return plainText(
      402,
      path.endsWith('.json')
        ? 'enterprise signing is not enabled: signature endpoint is not available'
        : 'enterprise not enabled: checksum endpoint is not available',
    );
  }
  const file = withGoArch(path);
  const isWish = isSchematicId(schematic) && isVersion(asked) && isMediaName(file);
  const wish = isWish ? ({ kind: 'media', schematic, version: vPrefixed(asked), file } as const) : undefined;
  const carried = wish && (await holdings.file(schematic, wish.version, file, signal));
  if (carried === undefined && !(await schematics.has(schematic, signal))) {
    if (wish !== undefined) await wishes.add(wish, signal);
    return schematicNotFound(schematic);
  }
  if (!isVersion(asked)) return plainText(400, `error parsing version: ${JSON.stringify(asked)}`);
  if (wish === undefined) {
    return plainText(400, `error parsing profile from path: invalid profile path: ${JSON.stringify(path)}`);
  }
  const filename = request.query.get('filename') || path;
  const disposition = attachment(filename);
  if (disposition === undefined) return plainText(400, 'filename holds what a file name cannot hold');
  const headers = { 'Content-Type': contentTypeOf(file), 'Content-Disposition': disposition };
  const media = parseMediaName(file);
  const found =
    carried ??
    (media.kind === 'kernel' ? await holdings.kernel(wish.version, media.arch, signal) : undefined);
  if (found !== undefined) {
    const body = await found.body();
    if (body !== undefined) return { status: 200, headers: { ...headers, ETag: `"${found.digest}"` }, body };
  } else if (media.kind === 'cmdline') {
    const cmdline = await cmdlineFor(context, schematic, wish.version, file, signal);
    if (cmdline !== undefined) return { status: 200, headers, body: cmdline };
  }
  return wished(wishes, wish, signal);
}

/** Handles `/pxe/<schematic>/<version>/<platform>-<arch>[-secureboot]`: an iPXE script. */
export async function getPxeScript(
  context: MediaContext,
  [id, asked, path]: readonly [string, string, string],
  request: Request,
): Promise<Answer> {
  const { holdings, schematics, wishes, externalUrl } = context;
  const { signal } = request;
  const schematic = await schematics.carriedAs(id, signal);
  const isName = isSchematicId(schematic) && isVersion(asked);
  const files = isName ? await holdings.files(schematic, vPrefixed(asked), signal) : noFiles;
  if (files.size === 0 && !(await schematics.has(schematic, signal))) return schematicNotFound(schematic);
  if (!isVersion(asked)) return plainText(400, `error parsing version: ${JSON.stringify(asked)}`);
  const version = vPrefixed(asked);
  const target = parseBootTarget(withGoArch(path));
  const need = (file: string): Promise<Answer> =>
    wished(wishes, { kind: 'media', schematic, version, file }, signal);
  const { arch, secureboot } = target;
  const uki = `${formatBootTarget(target)}-uki.efi`;
  const initramfs = `initramfs-${arch}.xz`;
  const kernel = `kernel-${arch}`;
  if (secureboot && !files.has(uki)) return need(uki);
  if (!secureboot && !files.has(initramfs)) return need(initramfs);
  if (!secureboot && !files.has(kernel) && (await holdings.kernel(version, arch, signal)) === undefined) {
    return need(kernel);
  }
  const cmdlineFile = `cmdline-${formatBootTarget(target)}`;
  const cmdline = await cmdlineFor(context, schematic, version, cmdlineFile, signal);
  if (cmdline === undefined) return need(cmdlineFile);
  const url = (file: string): string => `${externalUrl(request)}/image/${schematic}/${version}/${file}`;
  const lines = secureboot
    ? [`kernel ${url(uki)} ${cmdline}`]
    : [`kernel ${url(kernel)} ${cmdline}`, `initrd ${url(initramfs)}`];
  return {
    status: 200,
    headers: { 'Content-Type': 'text/plain; charset=utf-8' },
    body: ['#!ipxe', '', 'imgfree', ...lines, 'boot', ''].join('\n'),
  };
}

/** Without the newline that may end it. @throws BAD_DOCUMENT when it could not stand in a script */
async function cmdlineFor(
  context: MediaContext,
  schematic: string,
  version: string,
  file: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { holdings, schematics } = context;
  const read = async (held: HeldFile): Promise<string> => {
    const bytes = await held.read(maxCmdlineBytes, signal);
    const text = Buffer.from(bytes).toString('latin1').trim();
    if (/^[\u0020-\u007e]*$/.test(text)) return text;
    throw new CodedError('BAD_DOCUMENT', `${file} of ${schematic} ${version}: not one line of plain text`);
  };
  const own = await holdings.file(schematic, version, file, signal);
  if (own !== undefined) return read(own);
  const to = await schematics.get(schematic, signal);
  if (to === undefined) return undefined;
  for (const held of await holdings.media(signal)) {
    if (held.version !== version || !held.files.has(file)) continue;
    const from = await schematics.get(held.schematic, signal);
    const other = from && (await holdings.file(held.schematic, version, file, signal));
    if (other === undefined || from === undefined) continue;
    const composed = composeCmdline(await read(other), from, to);
    if (composed !== undefined) return composed;
  }
  return undefined;
}

/** Arguments that replace those of the platform. */
const replacing = ['console', 'talos.platform'];

const keyOf = (argument: string): string => argument.split('=', 1)[0] ?? '';

/** True when the arguments are simply added: nothing is replaced, removed, reordered or taken apart. */
function areAdded(args: readonly string[], before: readonly string[]): boolean {
  const keys = args.map(keyOf);
  const taken = new Set(before.map(keyOf));
  return (
    new Set(keys).size === keys.length &&
    keys.every((key) => key !== '' && !key.startsWith('-') && !replacing.includes(key) && !taken.has(key)) &&
    args.every((argument) => /^[\u0021-\u007e]+$/.test(argument))
  );
}

/**
 * A kernel command line made from that of another schematic. It is the platform's own arguments, then `talos.environment`
 * when there is META, then the schematic's extra arguments, which may also replace or remove earlier ones. Only what
 * surely comes to the same is composed. An overlay has no part in it.
 * Source: siderolabs/talos pkg/imager/imager.go (buildCmdline); siderolabs/image-factory internal/profile/profile.go.
 * @param cmdline the command line of `from`, for the same version, platform, architecture and SecureBoot
 * @returns that of `to`; undefined when it cannot be told
 */
function composeCmdline(cmdline: string, from: Schematic, to: Schematic): string | undefined {
  if (from.customization.meta !== undefined || to.customization.meta !== undefined) return undefined;
  const all = cmdline.trim().split(/\s+/);
  const own = from.customization.extraKernelArgs ?? [];
  const base = all.slice(0, all.length - own.length);
  const ends = all.slice(base.length);
  if (own.some((argument, i) => ends[i] !== argument) || !areAdded(own, base)) return undefined;
  const wanted = to.customization.extraKernelArgs ?? [];
  return areAdded(wanted, base) ? [...base, ...wanted].join(' ') : undefined;
}

/**
 * inspect --sboms: SBOMs that travel with images, written to a folder, one file each. The document of an attestation is
 * taken out of its envelope; its signature is not checked here. A document that cannot be used is named, and the others are
 * written.
 * Sources: in-toto/attestation spec/v1 envelope.md, statement.md; secure-systems-lab/dsse envelope.md; sigstore/cosign
 * specs/ATTESTATION_SPEC.md, BUNDLE_SPEC.md; moby/buildkit docs/attestations/sbom.md; SPDX 2.3, CycloneDX 1.6.
 */
import { join } from 'node:path';
import type { BundleTrust } from '@omni-airgap/format';
import type { Fetcher, Presence } from '@omni-airgap/oci';
import {
  byText,
  CodedError,
  type ErrorCode,
  isCoded,
  type JsonObject,
  type JsonValue,
  messageOf,
  parseStrictObject,
  printable,
} from '@omni-airgap/oci/base';
import { checkOutputFolder, ensureFolder, readSmallFile, writeNewFile } from '@omni-airgap/oci/fs';
import { collectVerified, type Descriptor, type Digest, hexOf } from '@omni-airgap/oci/model';
import { Store } from '@omni-airgap/store';
import { consumedOf } from './consumed.ts';
import { openBundle, storedItems } from './inspect.ts';
import { readStoredContent } from './locked-content.ts';
import { type Attachment, companionsOf, isStatementType } from './report/attachments.ts';

/** Where SBOMs are read from. */
export type SbomSource =
  | { readonly bundle: readonly string[]; readonly trust: BundleTrust }
  | { readonly store: string };

type SbomFormat = 'SPDX' | 'CycloneDX' | 'Syft';

/** Whose SBOM it is, and where it was. */
interface SbomOrigin {
  /** Name of the image; that of the attachment where the image is not there. */
  readonly image: string;
  /** `linux/amd64` when it is about one platform of the image. */
  readonly platform?: string;
  /** The manifest that holds it. */
  readonly manifest: Digest;
}

interface SbomFile extends SbomOrigin {
  readonly format: SbomFormat;
  /** Name in the folder. */
  readonly file: string;
  /** Bytes. */
  readonly size: number;
  /** `present`: the same bytes were there. */
  readonly state: 'written' | 'present';
}

interface SbomFailure extends SbomOrigin {
  readonly code: ErrorCode;
  readonly problem: string;
}

export interface SbomReport {
  readonly folder: string;
  readonly files: readonly SbomFile[];
  readonly failed: readonly SbomFailure[];
  /** Not here: they came with a base, or have left the store with a bundle. */
  readonly elsewhere: readonly SbomOrigin[];
}

/** Bytes of a document with its envelope. SBOMs of BuildKit have tens of MiB; parsed, each takes a multiple of that. */
const maxSbomBytes = 64 * 1024 * 1024;
/** Components of CycloneDX hold components. */
const maxDepth = 128;
/** Characters of a file name before what makes it unique and its extension. */
const maxStem = 160;

/**
 * @param folder made when there is something to write; files that are there are not replaced
 * @returns what was written, and what could not be and why: BAD_DOCUMENT, DIGEST_MISMATCH, MISSING_CONTENT, BAD_VOLUME (a
 * volume that is not here), CONFLICT (a file has other content)
 * @throws USAGE where something else is in the folder's place, DISK; as inspectBundle and inspectStore
 */
export async function extractSboms(
  source: SbomSource,
  folder: string,
  signal?: AbortSignal,
): Promise<SbomReport> {
  await checkOutputFolder('--sboms', folder);
  if ('store' in source) {
    const purpose = 'omni-airgap inspect';
    return Store.use(source.store, { access: 'read', purpose, signal }, async (store) => {
      const contents = await readStoredContent(store, signal);
      const { layout, descriptors } = contents;
      const { digests } = await consumedOf(store, layout, descriptors.values());
      const items = await storedItems(contents);
      const isCarried = async ({ digest }: Descriptor): Promise<boolean> => !digests.has(digest);
      return writeSboms(await sbomsAmong(items, contents.items, layout), layout, isCarried, folder, signal);
    });
  }
  const { bundle, summary } = await openBundle(source.bundle, source.trust);
  const sboms = await sbomsAmong(summary.items, summary.document.roots, bundle);
  return writeSboms(sboms, bundle, (document) => bundle.has(document), folder, signal);
}

interface Candidate {
  readonly origin: SbomOrigin;
  /** Undefined when its manifest is not here. */
  readonly document: Descriptor | undefined;
  /** False when only its content says whether it is an SBOM. */
  readonly isSbom: boolean;
  /** File name without extension. */
  readonly stem: string;
}

type Item = { readonly name: string; readonly attachments: readonly Attachment[] };
type Root = Parameters<typeof companionsOf>[1][number];

/** What may be an SBOM, each with a name of its own, in the order of images and platforms. */
async function sbomsAmong(
  items: readonly Item[],
  roots: readonly (Root & { readonly kind?: string | undefined })[],
  source: Fetcher & Presence,
): Promise<readonly Candidate[]> {
  const listed = new Set(items.map(({ name }) => name));
  const alone = roots.filter(({ name, kind }) => kind === 'signature' && listed.has(name));
  const own = new Map(
    (await companionsOf(source, alone, [])).map(({ root, attachments }) => [root.name, attachments]),
  );
  const found = items
    .flatMap(({ name, attachments }) =>
      [...attachments, ...(own.get(name) ?? [])].filter(mayBeSbom).map((one) => ({ name, ...one })),
    )
    .map((one) => ({ ...one, base: stemOf(one.name, one.platform) }));
  // Which names meet is seen before anything is read, and as file systems see it that ignore case.
  const keyOf = ({ base, type }: (typeof found)[number]): string => `${labelOf(type)} ${base.toLowerCase()}`;
  const times = new Map<string, number>();
  for (const one of found) times.set(keyOf(one), (times.get(keyOf(one)) ?? 0) + 1);
  return found
    .map((one): Candidate => {
      const { name, platform, manifest, document, kind, base, type } = one;
      const isPlain = base.length <= maxStem && labelOf(type) !== '' && times.get(keyOf(one)) === 1;
      return {
        origin: { image: name, ...(platform === undefined ? {} : { platform }), manifest },
        document,
        isSbom: kind === 'sbom',
        stem: isPlain
          ? base
          : `${base.slice(0, maxStem)}@${hexOf(document?.digest ?? manifest).slice(0, 12)}`,
      };
    })
    .sort(
      (a, b) =>
        byText(a.origin.image, b.origin.image) ||
        byText(a.origin.platform ?? '', b.origin.platform ?? '') ||
        byText(a.stem, b.stem),
    );
}

/** Older versions of cosign do not say in the manifest what an attestation is about. */
function mayBeSbom({ kind, type, document }: Attachment): boolean {
  if (kind !== 'attestation') return kind === 'sbom';
  return type === undefined && (document === undefined || isStatementType(document.mediaType));
}

/** As the listing has it; empty where the format is seen only in the content. */
function labelOf(type: string | undefined): string {
  return /spdx|cyclonedx|syft/i.exec(type ?? '')?.[0].toLowerCase() ?? '';
}

/** A file name without separators, never hidden, and without `@`, which begins what makes a name unique. */
function stemOf(name: string, platform: string | undefined): string {
  const whole = platform === undefined ? name : `${name}_${platform}`;
  return whole.replace(/[^A-Za-z0-9._-]/g, '_').replace(/^[.-]|^$/, '_');
}

/** One after another, so that only one document is in memory. */
async function writeSboms(
  sboms: readonly Candidate[],
  source: Fetcher,
  isCarried: (document: Descriptor) => Promise<boolean>,
  folder: string,
  signal: AbortSignal | undefined,
): Promise<SbomReport> {
  const files: SbomFile[] = [];
  const failed: SbomFailure[] = [];
  const elsewhere: SbomOrigin[] = [];
  for (const { origin, document, isSbom, stem } of sboms) {
    signal?.throwIfAborted();
    if (document === undefined || !(await isCarried(document))) {
      elsewhere.push(origin);
      continue;
    }
    try {
      const what = `${printable(origin.image)}: SBOM ${document.digest}`;
      const bytes = await collectVerified(source.fetch(document, signal), document, maxSbomBytes, what);
      const sbom = isStatementType(document.mediaType)
        ? sbomInStatement(bytes, isSbom, what)
        : sbomOf(bytes, what);
      if (sbom === undefined) continue;
      const file = `${stem}${sbom.extension}`;
      await ensureFolder(folder);
      const state = await writeOnce(join(folder, file), sbom.bytes);
      files.push({ ...origin, format: sbom.format, file, size: sbom.bytes.byteLength, state });
    } catch (error) {
      if (!isCoded(error, 'BAD_DOCUMENT', 'DIGEST_MISMATCH', 'MISSING_CONTENT', 'BAD_VOLUME', 'CONFLICT'))
        throw error;
      failed.push({ ...origin, code: error.code, problem: messageOf(error) });
    }
  }
  return { folder, files, failed, elsewhere };
}

/** @throws CONFLICT, DISK */
async function writeOnce(path: string, bytes: Uint8Array): Promise<SbomFile['state']> {
  if (await writeNewFile(path, bytes)) return 'written';
  const existing = await readSmallFile(path, bytes.byteLength).catch((error: unknown) => {
    if (isCoded(error, 'BAD_DOCUMENT')) return undefined;
    throw error;
  });
  if (existing !== undefined && Buffer.compare(existing, bytes) === 0) return 'present';
  throw new CodedError(
    'CONFLICT',
    `${path}: already exists with other content; move it away, or specify another folder`,
  );
}

interface Sbom {
  readonly format: SbomFormat;
  readonly extension: string;
  readonly bytes: Uint8Array;
}

/**
 * The SBOM of an attestation: a statement by itself (BuildKit), in an envelope (cosign), or in an envelope in a Sigstore
 * bundle.
 * @param isSbom what the manifest says of it
 * @returns undefined for an attestation about something else
 * @throws BAD_DOCUMENT
 */
function sbomInStatement(bytes: Uint8Array, isSbom: boolean, what: string): Sbom | undefined {
  const statement = statementIn(parseStrictObject(bytes, { what, maxDepth }), what);
  const { predicateType, predicate } = statement;
  if (typeof predicateType !== 'string' || predicate === undefined)
    throw new CodedError('BAD_DOCUMENT', `${what}: is not an in-toto statement with a predicate`);
  if (labelOf(predicateType) === '') {
    if (!isSbom) return undefined;
    throw new CodedError(
      'BAD_DOCUMENT',
      `${what}: its manifest announces an SBOM, the attestation holds ${printable(predicateType)}`,
    );
  }
  // cosign before 2.0 put the document, as text, into a member of its own.
  const own = isObject(predicate) && jsonFormatOf(predicate) === undefined ? predicate['Data'] : undefined;
  const document = own ?? predicate;
  if (typeof document === 'string') return sbomOf(Buffer.from(document), what);
  const format = isObject(document) ? jsonFormatOf(document) : undefined;
  if (format === undefined) throw notAnSbom(what);
  return {
    format,
    extension: jsonExtensions[format],
    bytes: Buffer.from(`${JSON.stringify(document, undefined, 2)}\n`),
  };
}

/** @throws BAD_DOCUMENT */
function statementIn(document: JsonObject, what: string): JsonObject {
  const { dsseEnvelope } = document;
  const envelope = isObject(dsseEnvelope) ? dsseEnvelope : document;
  const { payload } = envelope;
  if (payload === undefined) return envelope;
  if (typeof payload !== 'string' || !isBase64(payload))
    throw new CodedError('BAD_DOCUMENT', `${what}: the payload of its envelope is not base64`);
  const statement = Buffer.from(payload, 'base64');
  return parseStrictObject(statement, { what: `${what}, payload`, maxDepth });
}

/** Node.js skips characters that it cannot decode. RFC 4648 sections 4 and 5: DSSE allows both alphabets. */
function isBase64(text: string): boolean {
  return /^[A-Za-z0-9+/_-]*={0,2}$/.test(text);
}

const jsonExtensions: Readonly<Record<SbomFormat, string>> = {
  SPDX: '.spdx.json',
  CycloneDX: '.cdx.json',
  Syft: '.syft.json',
};

/** Forms that are not JSON, by what stands near their beginning. */
const textForms: readonly (readonly [pattern: RegExp, format: SbomFormat, extension: string])[] = [
  [/^\s*<.*cyclonedx\.org\/schema\/bom/is, 'CycloneDX', '.cdx.xml'],
  [/^\s*<.*spdx\.org\/rdf/is, 'SPDX', '.spdx.rdf'],
  [/^\s*<.*<spdxVersion>/is, 'SPDX', '.spdx.xml'],
  [/^SPDXVersion:/m, 'SPDX', '.spdx'],
];
/** Bytes at the beginning of a document that say its form. */
const headBytes = 4096;

/** A document by itself, whose bytes are kept. @throws BAD_DOCUMENT */
function sbomOf(bytes: Uint8Array, what: string): Sbom {
  const head = Buffer.from(bytes.subarray(0, headBytes)).toString('utf8');
  if (/^\s*\{/.test(head)) {
    const format = jsonFormatOf(parseStrictObject(bytes, { what, maxDepth }));
    if (format === undefined) throw notAnSbom(what);
    return { format, extension: jsonExtensions[format], bytes };
  }
  const [, format, extension] = textForms.find(([pattern]) => pattern.test(head)) ?? [];
  if (format === undefined || extension === undefined) throw notAnSbom(what);
  return { format, extension, bytes };
}

function jsonFormatOf(document: JsonObject): SbomFormat | undefined {
  if (document['bomFormat'] === 'CycloneDX') return 'CycloneDX';
  const context = JSON.stringify(document['@context'] ?? '').slice(0, headBytes);
  if (typeof document['spdxVersion'] === 'string' || context.includes('spdx.org/rdf/')) return 'SPDX';
  return Array.isArray(document['artifacts']) && isObject(document['schema']) ? 'Syft' : undefined;
}

function notAnSbom(what: string): CodedError {
  return new CodedError('BAD_DOCUMENT', `${what}: is neither SPDX nor CycloneDX`);
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

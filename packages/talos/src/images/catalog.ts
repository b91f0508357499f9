/**
 * The catalogs of extensions and overlays: files in catalog images, strictly read.
 * Source: siderolabs/image-factory 78e378a48 internal/artifacts/versions.go.
 */
import { quoted, TalosError } from '../errors.ts';
import { parseYamlFile } from '../yaml/strict.ts';

export interface CatalogEntry {
  /** For an extension its repository (`siderolabs/iscsi-tools`), for an overlay its own name (`rpi_generic`). */
  readonly name: string;
  /** With tag: `ghcr.io/siderolabs/iscsi-tools:v0.2.0`. */
  readonly reference: string;
  /** `sha256:` and 64 hex characters. */
  readonly digest: string;
}

/** Bytes of a catalog file and its entries; real ones have 20 kB and some 120 entries. */
const maxCatalogBytes = 4 * 1024 * 1024;
const maxEntries = 10_000;
const maxNameLength = 300;

const referencePattern =
  /^([a-z0-9][a-z0-9.-]*(?::[0-9]{1,5})?)\/([a-z0-9]+(?:[._/-]+[a-z0-9]+)*):([A-Za-z0-9_][A-Za-z0-9._-]{0,127})$/;
const digestPattern = /^sha256:[a-f0-9]{64}$/;
const overlayNamePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;

function repositoryOf(reference: string): string | undefined {
  return reference.length > maxNameLength ? undefined : referencePattern.exec(reference)?.[2];
}

function bad(what: string, cause?: unknown): TalosError {
  return new TalosError('BAD_IMAGE', what, { cause });
}

/** At least one entry, and none twice: which of them is meant could not be told. */
function checked(
  entries: readonly CatalogEntry[],
  file: string,
  unique: 'name' | 'reference',
): readonly CatalogEntry[] {
  if (entries.length === 0) throw bad(`${file}: it names no image`);
  if (entries.length > maxEntries) throw bad(`${file}: more than ${maxEntries} entries`);
  const seen = new Set<string>();
  for (const entry of entries) {
    if (seen.has(entry[unique])) throw bad(`${file}: ${quoted(entry[unique])} twice`);
    seen.add(entry[unique]);
  }
  return entries;
}

/**
 * The file `image-digests` of an extensions image: lines `ghcr.io/siderolabs/<name>:<tag>@sha256:…`. Lines without
 * `@` are passed over, as the factory does.
 * @throws BAD_IMAGE
 */
export function parseImageDigests(text: string): readonly CatalogEntry[] {
  if (Buffer.byteLength(text) > maxCatalogBytes) throw bad('image-digests: it is too large');
  const entries: CatalogEntry[] = [];
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    const at = line.indexOf('@');
    if (at < 0) continue;
    const [reference, digest] = [line.slice(0, at), line.slice(at + 1)];
    const name = repositoryOf(reference);
    if (name === undefined || !digestPattern.test(digest)) {
      throw bad(`image-digests: line ${index + 1} is not <image>:<tag>@sha256:<hex>: ${quoted(line)}`);
    }
    entries.push({ name, reference, digest });
  }
  return checked(entries, 'image-digests', 'reference');
}

function overlaysIn(yamlText: string): readonly unknown[] {
  let value: unknown;
  try {
    ({ value } = parseYamlFile(yamlText, 'overlays.yaml'));
  } catch (cause) {
    if (!(cause instanceof TalosError)) throw cause;
    throw bad(cause.message, cause);
  }
  const overlays = isMapping(value) ? value['overlays'] : undefined;
  if (Array.isArray(overlays)) return overlays;
  throw bad('overlays.yaml: overlays must be a list');
}

const isMapping = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null;

/** The file `overlays.yaml` of an overlays image. @throws BAD_IMAGE */
export function parseOverlays(yamlText: string): readonly CatalogEntry[] {
  const entries = overlaysIn(yamlText).map((item, index): CatalogEntry => {
    const { name, image: reference, digest } = isMapping(item) ? item : {};
    if (
      typeof name !== 'string' ||
      typeof reference !== 'string' ||
      typeof digest !== 'string' ||
      !overlayNamePattern.test(name) ||
      repositoryOf(reference) === undefined ||
      !digestPattern.test(digest)
    ) {
      throw bad(`overlays.yaml: overlays[${index}] needs name, image (with tag) and digest (sha256)`);
    }
    return { name, reference, digest };
  });
  return checked(entries, 'overlays.yaml', 'name');
}

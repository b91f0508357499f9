/**
 * bundle.json: the signed statement of what a bundle holds and where each byte of it lies.
 * The format is described in docs/bundle-format.md.
 */

import { createHash } from 'node:crypto';
import { messageOf, printable } from '@omni-airgap/oci/base';
import {
  formatReference,
  isDigest,
  isManifestType,
  isRegistryHost,
  isRepository,
  parseReference,
} from '@omni-airgap/oci/model';
import * as v from 'valibot';
import {
  bytesSchema,
  descriptorSchema,
  digestSchema,
  hex64Schema,
  manyOf,
  parseDocument,
  textSchema,
  timeSchema,
} from './schema.ts';
import { verifiedSchema } from './verified.ts';

/** File name on the media. */
export const documentName = 'bundle.json';
/** File name of the detached signature of bundle.json. */
export const signatureName = 'bundle.json.sig';
/** The same signature, in the form that cosign 3 reads. */
export const sigstoreName = 'bundle.json.sigstore.json';
/** Files that no signature covers, since they are it. */
export const signatureNames: readonly string[] = [signatureName, sigstoreName];

const wholeNumber = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const originSchema = v.pipe(v.string(), v.regex(/^[a-f0-9]{32}$/));
const sequenceSchema = v.pipe(wholeNumber, v.minValue(1));
/** What names are for: image, schematic, media, signature, catalog. */
const kindSchema = v.pipe(v.string(), v.regex(/^[a-z][a-z-]{0,31}$/));
/** A blob; `kind` is that of the names that need it, left out for images. */
const sizedSchema = v.strictObject({ digest: digestSchema, size: bytesSchema, kind: v.optional(kindSchema) });

const rootMembers = v.strictObject({
  name: textSchema,
  descriptor: descriptorSchema,
  kind: v.optional(kindSchema),
  /** URL without query that it was fetched from. */
  source: v.optional(textSchema),
  fetchedAt: v.optional(timeSchema),
  fetchedBy: v.optional(textSchema),
  /** Whether signatures travel with it, and whether fetch checked one. */
  signature: v.optional(v.picklist(['verified', 'carried', 'none'])),
  /** The signature that fetch checked. */
  verified: v.optional(verifiedSchema),
});

/** What a name may be and stand for. @returns what is wrong; undefined for one that can be used */
function problemOfRoot({ name, descriptor }: v.InferOutput<typeof rootMembers>): string | undefined {
  const named = `${printable(name)}: `;
  if (!isManifestType(descriptor.mediaType)) return `${named}${descriptor.mediaType} is not a manifest type`;
  if (name === `@${descriptor.digest}`) return undefined;
  try {
    const { digest } = parseReference(name);
    return digest === undefined || digest === descriptor.digest
      ? undefined
      : `${named}stands for another digest`;
  } catch (error) {
    return `${named}${messageOf(error)}`;
  }
}

const rootSchema = v.pipe(
  rootMembers,
  v.check(
    (root) => problemOfRoot(root) === undefined,
    ({ input }) => problemOfRoot(input) ?? '',
  ),
);
export type BundleRoot = v.InferOutput<typeof rootSchema>;

const baseSchema = v.strictObject({ id: hex64Schema, origin: textSchema, sequence: wholeNumber });
export type BundleBase = v.InferOutput<typeof baseSchema>;

function isRepositoryName(text: string): boolean {
  const slash = text.indexOf('/');
  return slash > 0 && isRegistryHost(text.slice(0, slash)) && isRepository(text.slice(slash + 1));
}
const repositorySchema = v.pipe(textSchema, v.check(isRepositoryName, 'must be HOST/REPOSITORY'));

/** Names that other files of a medium have: documents, volumes, and files that exist only while a medium is written. */
const reservedName = /^(?:bundle\.(?:json|lock|unfinished)(?:\..*)?|content\.tar(?:\..*)?|sha256sums)$/i;
/** One plain name: no folder, nothing hidden, nothing that a file system changes. */
const fileNameSchema = v.pipe(
  v.string(),
  v.regex(
    /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9_-])?$/,
    'must be the name of a file beside the volumes',
  ),
  v.check((name) => !reservedName.test(name), 'is a name that another file of the medium has'),
);

const reliesSchema = v.strictObject({
  /** Repositories, named as in the roots, and what of this bundle's content already lies in each. */
  repositories: manyOf(v.strictObject({ repository: repositorySchema, blobs: manyOf(sizedSchema) })),
  /** Keys of the object store, and what already lies there. */
  objects: manyOf(v.strictObject({ key: textSchema, digest: digestSchema, size: bytesSchema })),
});
export type BundleRelies = v.InferOutput<typeof reliesSchema>;

/** A name as a root has it. */
function isRootName(text: string): boolean {
  if (text.startsWith('@')) return isDigest(text.slice(1));
  try {
    return formatReference(parseReference(text)) === text;
  } catch {
    return false;
  }
}
const withdrawnSchema = v.pipe(textSchema, v.check(isRootName, 'must be a whole name'));

/** A bundle that withdraws names has a higher schema number: an older program would go on serving them. */
const [plainSchema, withdrawingSchema] = [1, 2] as const;

/** The schema number of a bundle. @param withdraws names that it withdraws */
export function bundleSchemaOf(withdraws: readonly string[]): BundleDocument['schema'] {
  return withdraws.length === 0 ? plainSchema : withdrawingSchema;
}

const members = v.strictObject({
  kind: v.literal('omni-airgap/bundle'),
  schema: v.picklist([plainSchema, withdrawingSchema]),
  /** sha256 of what `sha256sum content.tar.*` prints for all volumes. */
  id: hex64Schema,
  /** Random name of the store that issued it. */
  origin: originSchema,
  /** Counts the bundles of that origin, from 1. */
  sequence: sequenceSchema,
  createdAt: timeSchema,
  /** Account and machine that issued it. */
  createdBy: v.optional(textSchema),
  tool: textSchema,
  /** Bundles that must have been loaded before this one; absent in a full bundle. */
  base: v.optional(v.pipe(v.array(baseSchema), v.minLength(1), v.maxLength(1000))),
  /** Names against those of the bases. */
  changes: v.optional(
    v.strictObject({
      added: manyOf(textSchema),
      /** Names that stood for something else. */
      moved: manyOf(v.strictObject({ name: textSchema, from: digestSchema })),
      removed: manyOf(textSchema),
    }),
  ),
  roots: manyOf(rootSchema),
  /** Names of earlier bundles of the same origin that are no longer to be used; sorted, none of its own. */
  withdraws: v.optional(v.pipe(manyOf(withdrawnSchema), v.minLength(1))),
  blobs: manyOf(v.strictObject({ ...sizedSchema.entries, volume: wholeNumber, offset: bytesSchema })),
  /** Content that the roots need and that came with a base. */
  relies: v.optional(reliesSchema),
  volumes: v.pipe(
    v.array(v.strictObject({ name: textSchema, size: bytesSchema, sha256: hex64Schema })),
    v.minLength(1),
    v.maxLength(1000),
  ),
  /** Other files beside the volumes that the signature covers. */
  files: v.pipe(
    manyOf(v.strictObject({ name: fileNameSchema, size: bytesSchema, sha256: hex64Schema })),
    v.check(
      // Sticks are not told apart by case.
      (files) => new Set(files.map(({ name }) => name.toLowerCase())).size === files.length,
      'a name stands twice',
    ),
  ),
  /** Manifests whose index names platforms that were left out on purpose. */
  sparse: v.optional(manyOf(descriptorSchema)),
  /** What was done about secrets in schematics: how many were looked at, and which hold some. */
  secrets: v.optional(
    v.strictObject({
      policy: v.picklist(['refused', 'allowed']),
      schematics: wholeNumber,
      found: manyOf(textSchema),
    }),
  ),
  /** Hosts that were contacted to gather the content. */
  egress: manyOf(v.strictObject({ host: textSchema, requests: wholeNumber, bytes: bytesSchema })),
});
export type BundleDocument = v.InferOutput<typeof members>;

const schema = v.pipe(
  members,
  v.forward(
    v.check(
      (document) => document.schema === bundleSchemaOf(document.withdraws ?? []),
      'a bundle has it if its schema is 2, and only then',
    ),
    ['withdraws'],
  ),
  v.forward(
    v.check(({ roots, withdraws = [] }) => {
      const withdrawn = new Set(withdraws);
      return !roots.some(({ name }) => withdrawn.has(name));
    }, 'has a name of this bundle itself'),
    ['withdraws'],
  ),
);

/** An executable of this program in `files`: it is on one of the media only, and in no store. */
export function isProgramFile(name: string): boolean {
  return /^omni-airgap-[a-z0-9]+-[a-z0-9]+$/.test(name);
}

/** Some 200 bytes for each blob: enough for half a million. */
export const maxBundleDocumentBytes: number = 128 * 1024 * 1024;

/** @throws BAD_DOCUMENT */
export function parseBundleDocument(bytes: Uint8Array, what: string = documentName): BundleDocument {
  return parseDocument(schema, bytes, what, withdrawingSchema);
}

/** The bytes of bundle.json: a line for each member, and for each entry of a list, so that it can be read and diffed. */
export function serializeBundleDocument(document: BundleDocument): string {
  const members = Object.entries(document).map(([key, value]) => {
    const text =
      Array.isArray(value) && value.length > 0
        ? `[\n${value.map((entry) => `    ${JSON.stringify(entry)}`).join(',\n')}\n  ]`
        : JSON.stringify(value);
    return `  ${JSON.stringify(key)}: ${text}`;
  });
  return `{\n${members.join(',\n')}\n}\n`;
}

interface Summed {
  readonly name: string;
  /** 64 hex characters. */
  readonly sha256: string;
}

/** Lines as sha256sum writes them. */
export function checksumLines(files: readonly Summed[]): string {
  return files.map(({ name, sha256 }) => `${sha256}  ${name}\n`).join('');
}

/** The id of a bundle, 64 hex characters: the SHA-256 of what `sha256sum content.tar.*` prints, so anybody can compute it. */
export function bundleIdOf(volumes: readonly Summed[]): string {
  return createHash('sha256').update(checksumLines(volumes)).digest('hex');
}

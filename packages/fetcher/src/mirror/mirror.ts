/**
 * mirror.yaml: what a site wants carried. Read once, completely checked, turned into plain data; everything that
 * can be wrong with it is said here, before any request.
 */
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import {
  CodedError,
  formatReference,
  isHex64,
  messageOf,
  parseReference,
  printable,
  readSmallFile,
} from '@omni-airgap/content';
import {
  type IdentifiedSchematic,
  isMediaName,
  isVersion,
  schematicFrom,
  talosKubernetesImages,
} from '@omni-airgap/talos';
import * as v from 'valibot';
import { maxImageListBytes, parseImageList } from './image-list.ts';
import { parseYaml, type YamlSource } from './yaml-source.ts';

/** `linux/amd64`, `linux/arm/v7`. */
const platformPattern = /^[a-z0-9]+\/[a-z0-9]+(?:\/[a-z0-9]+)?$/;

/** A platform of Talos, for its secure-boot installer with the suffix. */
const installerPattern = /^[a-z][a-z0-9-]{0,40}$/;

/** What Omni lists to know which Kubernetes versions there are. */
const kubeletPattern = /^ghcr\.io\/siderolabs\/kubelet:/;

const versionSchema = v.pipe(
  v.string('must be a version in quotes or with a leading v, such as v1.13.9'),
  v.check(isVersion, ({ input }) => `${printable(String(input))} is no version; write it like v1.13.9`),
);
const versionsSchema = v.pipe(
  v.array(versionSchema, 'must be a list of versions'),
  v.minLength(1, 'must not be empty'),
);
const chosenSchema = v.optional(
  v.union([v.literal('all'), v.array(v.string())], 'must be a list of names, or all'),
  () => [],
);

const schema = v.strictObject({
  apiVersion: v.literal('omni-airgap/v1', 'must be omni-airgap/v1'),
  omni: v.optional(v.strictObject({ version: versionSchema })),
  talos: v.optional(
    v.strictObject({
      versions: versionsSchema,
      imageFactory: v.optional(
        v.strictObject({ version: versionSchema, extensions: chosenSchema, overlays: chosenSchema }),
      ),
    }),
  ),
  media: v.optional(
    v.array(
      v.strictObject({
        schematic: v.union(
          [v.string(), v.record(v.string(), v.unknown())],
          'must be a schematic, a file that holds one, or a 64-hex ID',
        ),
        versions: v.optional(versionsSchema),
        files: v.optional(
          v.array(
            v.pipe(
              v.string(),
              v.check(
                isMediaName,
                ({ input }) => `${printable(String(input))} is no media file name, such as metal-amd64.iso`,
              ),
            ),
          ),
          () => [],
        ),
        installers: v.optional(
          v.array(
            v.pipe(
              v.string(),
              v.regex(
                installerPattern,
                ({ input }) =>
                  `${printable(String(input))} is no platform, such as metal or metal-secureboot`,
              ),
            ),
          ),
          () => [],
        ),
      }),
      'must be a list',
    ),
    () => [],
  ),
  kubernetes: v.optional(v.strictObject({ versions: versionsSchema })),
  images: v.optional(
    v.array(
      v.union([v.string(), v.strictObject({ file: v.string() })], 'must be a reference, or {file: PATH}'),
      'must be a list',
    ),
    () => [],
  ),
  platforms: v.optional(
    v.pipe(
      v.array(
        v.pipe(
          v.string(),
          v.regex(
            platformPattern,
            ({ input }) => `${printable(String(input))} is no platform; write it like linux/amd64`,
          ),
        ),
        'must be a list of platforms',
      ),
      v.minLength(1, 'must not be empty; leave it out for all platforms'),
    ),
  ),
});

export type WantedSchematic =
  /** Its text is known here. */
  | (IdentifiedSchematic & { readonly kind: 'text' })
  /** Only its ID is; the factory has the text. */
  | { readonly kind: 'id'; readonly id: string };

interface WantedMedia {
  readonly schematic: WantedSchematic;
  readonly versions: readonly string[];
  readonly files: readonly string[];
  /** `metal`, `metal-secureboot`: platforms whose installer image is wanted. */
  readonly installers: readonly string[];
}

export interface Mirror {
  readonly omni?: { readonly version: string };
  readonly talos?: {
    readonly versions: readonly string[];
    readonly imageFactory?: {
      readonly version: string;
      readonly extensions: 'all' | readonly string[];
      readonly overlays: 'all' | readonly string[];
    };
  };
  readonly media: readonly WantedMedia[];
  readonly kubernetes?: { readonly versions: readonly string[] };
  /** Canonical references, each once. */
  readonly images: readonly string[];
  readonly platforms?: readonly string[];
}

/**
 * Reads and checks a mirror.yaml, and the files it names (relative to itself; `-` is standard input).
 * @throws CONFIG with file, line and column; NO_INPUT when there is no such file
 */
export async function readMirror(path: string): Promise<Mirror> {
  const bytes = await readSmallFile(path, 1024 * 1024);
  if (bytes === undefined) {
    throw new CodedError('NO_INPUT', `${path}: not there; omni-airgap init writes one to start from`);
  }
  return parseMirror(Buffer.from(bytes).toString('utf8'), path);
}

/** Like readMirror, from text. */
export async function parseMirror(text: string, path: string): Promise<Mirror> {
  const source = parseYaml(text, path);
  const result = v.safeParse(schema, source.value, { abortPipeEarly: true });
  if (!result.success) throw firstProblem(source, result.issues);
  const raw = result.output;
  const { omni, talos, kubernetes, platforms } = raw;
  if (kubernetes !== undefined && talos === undefined) {
    throw source.error(
      ['kubernetes'],
      'kubernetes needs talos: {versions: […]}: etcd, coredns and others follow from the Talos version',
    );
  }
  for (const [i, version] of (kubernetes === undefined ? [] : (talos?.versions ?? [])).entries()) {
    try {
      talosKubernetesImages(version);
    } catch (cause) {
      throw source.error(['talos', 'versions', i], messageOf(cause));
    }
  }
  const folder = dirname(path);
  const media: WantedMedia[] = [];
  for (const [i, wanted] of raw.media.entries()) {
    const versions = wanted.versions ?? talos?.versions;
    if (versions === undefined) throw source.error(['media', i], 'needs versions, here or under talos');
    if (wanted.files.length + wanted.installers.length === 0) {
      throw source.error(['media', i], 'names neither files nor installers');
    }
    const schematic = await readSchematic(wanted.schematic, folder, source, ['media', i, 'schematic']);
    media.push({
      schematic,
      versions,
      files: [...new Set(wanted.files)],
      installers: [...new Set(wanted.installers)],
    });
  }
  const images = new Set<string>();
  for (const [i, wanted] of raw.images.entries()) {
    for (const reference of await readImages(wanted, folder, source, ['images', i])) images.add(reference);
  }
  if (
    omni !== undefined &&
    kubernetes === undefined &&
    ![...images].some((name) => kubeletPattern.test(name))
  ) {
    throw source.error(
      ['omni'],
      'omni without kubernetes: Omni shows no versions unless the registry has kubelet images; add kubernetes: {versions: [v1.36.1]}',
    );
  }
  const mirror: Mirror = {
    ...(omni === undefined ? {} : { omni }),
    ...(talos === undefined
      ? {}
      : {
          talos: {
            versions: talos.versions,
            ...(talos.imageFactory ? { imageFactory: talos.imageFactory } : {}),
          },
        }),
    media,
    ...(kubernetes === undefined ? {} : { kubernetes }),
    images: [...images],
    ...(platforms === undefined ? {} : { platforms }),
  };
  if (!omni && !talos?.imageFactory && !kubernetes && media.length === 0 && images.size === 0) {
    throw source.error([], 'asks for nothing; name omni, talos.imageFactory, media, kubernetes or images');
  }
  return mirror;
}

async function readSchematic(
  raw: string | Record<string, unknown>,
  folder: string,
  source: YamlSource,
  at: readonly (string | number)[],
): Promise<WantedSchematic> {
  if (typeof raw === 'string' && isHex64(raw)) return { kind: 'id', id: raw };
  const path = typeof raw === 'string' ? resolve(folder, raw) : undefined;
  let text: string | Uint8Array | undefined;
  if (path === undefined) text = JSON.stringify(raw);
  else text = await readSmallFile(path, 1024 * 1024);
  if (text === undefined)
    throw source.error(at, `${printable(String(raw))}: no such file, and no 64-hex schematic ID`);
  try {
    return { kind: 'text', ...schematicFrom(text) };
  } catch (cause) {
    throw source.error(at, `${path === undefined ? 'schematic' : printable(path)}: ${messageOf(cause)}`);
  }
}

async function readImages(
  raw: string | { readonly file: string },
  folder: string,
  source: YamlSource,
  at: readonly (string | number)[],
): Promise<readonly string[]> {
  if (typeof raw === 'string') {
    try {
      return [formatReference(parseReference(raw))];
    } catch (cause) {
      throw source.error(at, messageOf(cause));
    }
  }
  if (raw.file === '-') return parseImageList(await readFile('/dev/stdin', 'utf8'), 'standard input');
  const path = resolve(folder, raw.file);
  const bytes = await readSmallFile(path, maxImageListBytes);
  if (bytes === undefined) throw source.error(at, `${printable(raw.file)}: no such file`);
  return parseImageList(Buffer.from(bytes).toString('utf8'), path);
}

function firstProblem(source: YamlSource, issues: readonly v.BaseIssue<unknown>[]): CodedError {
  const [issue] = issues;
  const path = (issue?.path ?? []).map((item) => item.key as string | number);
  const name = path.reduce<string>(
    (text, key) => (typeof key === 'number' ? `${text}[${key}]` : text === '' ? key : `${text}.${key}`),
    '',
  );
  const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : '';
  const unknown = issue?.type === 'strict_object' && issue.expected === 'never';
  const missing = issue?.type === 'strict_object' && issue.received === 'undefined';
  const what = unknown ? 'is not known here' : missing ? 'is missing' : (issue?.message ?? 'is wrong');
  return source.error(path, `${name === '' ? 'mirror.yaml' : printable(name)} ${what}${more}`);
}

/** The shape of mirror.yaml, and what is said of text that does not have it. */

import { formatPlatform, parsePlatform } from '@omni-airgap/oci';
import { printable } from '@omni-airgap/oci/base';
import { registryKinds } from '@omni-airgap/oci/registry';
import {
  factoryWays,
  isMediaName,
  isVersion,
  knownPlatforms,
  nearestName,
  parseMediaName,
  TalosError,
  vPrefixed,
  type YamlFile,
} from '@omni-airgap/talos';
import * as v from 'valibot';
import { isRange, isSatisfiable } from './version-range.ts';

const said = ({ input }: { readonly input: unknown }): string => printable(String(input), 80);
/** What YAML made of a value, for people. */
const kind = ({ input }: { readonly input: unknown }): string =>
  input === null || input === undefined
    ? 'empty'
    : Array.isArray(input)
      ? 'a list'
      : typeof input === 'object'
        ? 'a mapping'
        : `a ${typeof input}`;
const unique = <T>(list: readonly T[]): readonly T[] => [...new Set(list)];

/**
 * Versions are kept in the form of tags: `1.13.9` and `v1.13.9` are one. Ranges stay as they are written.
 * @param minor and patch of the examples: a version of another product would mislead
 */
const versionLike = (minor: number, patch: number) =>
  v.pipe(
    v.string((issue) => `is ${kind(issue)}, not a version; write it in full, like v1.${minor}.${patch}`),
    v.check(
      (text) => isVersion(text) || isRange(text),
      (issue) =>
        `${said(issue)} is neither a version nor a range; write it like v1.${minor}.${patch}, v1.${minor}.x, ~1.${minor}, ">=1.${minor}.0 <1.${minor + 1}" or latest`,
    ),
    v.transform((text) => (isVersion(text) ? vPrefixed(text) : text)),
  );
const versionsLike = (minor: number, patch: number) =>
  v.pipe(
    v.array(versionLike(minor, patch), `must be a list of versions, such as [v1.${minor}.${patch}]`),
    v.minLength(1, 'must not be empty'),
    v.transform(unique),
  );
const versionsSchema = versionsLike(13, 9);

const text = (what: string) => v.string((issue) => `is ${kind(issue)}, not ${what}`);
const listOf = <const T extends v.GenericSchema>(item: T, what: string) =>
  v.optional(v.pipe(v.array(item, `must be a list of ${what}`), v.transform(unique)), () => []);

/** What a catalog offers is known only when it has been read. */
const chosenSchema = v.optional(
  v.union(
    [
      v.literal('all'),
      v.pipe(
        v.array(
          v.pipe(
            text('a name'),
            v.regex(/^[A-Za-z0-9._/-]{1,200}$/, (issue) => `${said(issue)} is no name`),
          ),
        ),
        v.transform(unique),
      ),
    ],
    'must be a list of names, or all',
  ),
  () => [],
);

const mediaNameSchema = v.pipe(
  text('a file name'),
  v.check(isMediaName, (issue) => {
    const meant = nearestName(String(issue.input), mediaNames(String(issue.input)));
    const hint = meant === undefined ? ', such as metal-amd64.iso' : `; did you mean ${meant}?`;
    return `${said(issue)} is no media file name${hint}`;
  }),
  v.check(
    (value) => meantPlatform(platformOf(value)) === undefined,
    ({ input }) => misspelt(platformOf(String(input))),
  ),
);

/** The platform that boot assets of a name are for; undefined for those of every platform. */
function platformOf(name: string): string | undefined {
  const media = isMediaName(name) ? parseMediaName(name) : undefined;
  return media !== undefined && 'platform' in media ? media.platform : undefined;
}

/**
 * The known platform that a name differs from by a slip. One that is further off may be of a newer Talos release: the
 * factory decides.
 */
function meantPlatform(name: string | undefined): string | undefined {
  if (name === undefined || knownPlatforms.includes(name)) return undefined;
  return nearestName(name, knownPlatforms, name.length < 5 ? 1 : 2);
}

function misspelt(platform = ''): string {
  return `${printable(platform, 80)} is not a platform of Talos; did you mean ${meantPlatform(platform)}?`;
}

/** What there usually is for the platform of a name. */
function mediaNames(name: string): readonly string[] {
  const first = /^[a-z]+/.exec(name)?.[0] ?? '';
  const platform = ['', 'kernel', 'initramfs', 'cmdline', 'installer'].includes(first) ? 'metal' : first;
  const ends = ['.iso', '.raw.xz', '.raw.zst', '.qcow2', '-secureboot.iso', '-secureboot-uki.efi'];
  return ['amd64', 'arm64'].flatMap((arch) => [
    `kernel-${arch}`,
    `initramfs-${arch}.xz`,
    `cmdline-${platform}-${arch}`,
    `installer-${arch}.tar`,
    ...ends.map((end) => `${platform}-${arch}${end}`),
  ]);
}

/** A platform of Talos, for its secure-boot installer with the suffix. */
const installerSchema = v.pipe(
  text('a platform'),
  v.regex(
    /^[a-z][a-z0-9]{0,40}(?:-[a-z0-9]{1,40}){0,4}$/,
    (issue) => `${said(issue)} is no platform, such as metal or metal-secureboot`,
  ),
  v.check(
    (value) => meantPlatform(withoutSecureboot(value)) === undefined,
    ({ input }) => misspelt(withoutSecureboot(String(input))),
  ),
);

function withoutSecureboot(installer: string): string {
  return installer.replace(/-secureboot$/, '');
}

const talosctlSchema = v.optional(
  v.union(
    [
      v.literal('all'),
      v.pipe(
        v.array(
          v.pipe(
            text('a system'),
            v.regex(
              /^[a-z0-9]{1,20}-[a-z0-9]{1,20}$/,
              (issue) => `${said(issue)} is no system, such as linux-amd64`,
            ),
          ),
        ),
        v.transform(unique),
      ),
    ],
    'must be a list of systems such as linux-amd64, or all',
  ),
);

/** Kept in their normal form: `linux/arm64/v8` and `linux/arm64` are one. */
const platformsSchema = v.pipe(
  v.array(
    v.pipe(
      text('a platform'),
      v.check(
        (value) => parsePlatform(value) !== undefined,
        (issue) => `${said(issue)} is no platform; write it like linux/amd64`,
      ),
      v.transform(normalName),
    ),
    'must be a list of platforms, such as [linux/amd64]',
  ),
  v.minLength(1, 'must not be empty; leave it out for all platforms'),
  v.transform(unique),
);

function normalName(text: string): string {
  const platform = parsePlatform(text);
  return platform === undefined ? text : formatPlatform(platform);
}

/** More of one image than anybody needs at once. */
const mostTags = 100;
const newestSchema = v.optional(
  v.custom<number>(
    (value) => Number.isInteger(value) && Number(value) >= 1 && Number(value) <= mostTags,
    `must be a number from 1 to ${mostTags}`,
  ),
  1,
);

/** Tags that upstream decides. */
const tagsSchema = v.strictObject({
  semver: v.pipe(
    text('a range of versions'),
    v.check(
      isSatisfiable,
      (issue) =>
        `${said(issue)} is no range that a version fits; write it like "~2.41", 2.x or ">=2.40 <2.42"`,
    ),
  ),
  newest: newestSchema,
});

const registryIds = registryKinds.map(({ id }) => id);
/** What is known of the site; each may be left out. */
const insideSchema = v.strictObject({
  registry: v.optional(
    v.picklist(
      registryIds,
      (issue) => `${said(issue)} is no known kind of registry; known are ${registryIds.join(', ')}`,
    ),
  ),
  tls: v.optional(v.boolean((issue) => `is ${kind(issue)}, neither true nor false`)),
  factory: v.optional(
    v.picklist(factoryWays, (issue) => `${said(issue)} must be one of ${factoryWays.join(', ')}`),
  ),
});

const mirrorSchema = v.strictObject({
  apiVersion: v.literal('omni-airgap/v1', 'must be omni-airgap/v1'),
  omni: v.optional(
    v.strictObject({ version: v.optional(versionLike(10, 4)), versions: v.optional(versionsLike(10, 4)) }),
  ),
  talos: v.optional(
    v.strictObject({
      versions: versionsSchema,
      imageFactory: v.optional(
        v.strictObject({ version: versionLike(5, 0), extensions: chosenSchema, overlays: chosenSchema }),
      ),
      talosctl: talosctlSchema,
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
        files: listOf(mediaNameSchema, 'file names'),
        installers: listOf(installerSchema, 'platforms'),
      }),
      'must be a list: begin each entry with "- "',
    ),
    () => [],
  ),
  kubernetes: v.optional(
    v.strictObject({
      versions: versionsLike(36, 1),
      images: v.optional(
        v.record(v.string(), text('a path'), 'must be a mapping such as {v1.14.0: images.txt}'),
        () => ({}),
      ),
    }),
  ),
  images: v.optional(
    v.array(
      v.union(
        [
          v.string(),
          v.strictObject({
            image: v.optional(text('a reference')),
            tags: v.optional(tagsSchema),
            file: v.optional(text('a path')),
            platforms: v.optional(platformsSchema),
          }),
        ],
        'must be a reference such as ghcr.io/dexidp/dex:v2.41.1, {image: REFERENCE, platforms: […]}, {image: REPOSITORY, tags: {semver: RANGE}}, or {file: PATH}',
      ),
      'must be a list, such as [ghcr.io/dexidp/dex:v2.41.1], or {file: PATH}',
    ),
    () => [],
  ),
  platforms: v.optional(platformsSchema),
  inside: v.optional(insideSchema),
});
export type RawMirror = v.InferOutput<typeof mirrorSchema>;

type Schema = v.BaseSchema<unknown, unknown, v.BaseIssue<unknown>>;

/** @throws BAD_YAML with the place of each problem, and what to write instead */
export function checkShape(source: YamlFile): RawMirror {
  const result = v.safeParse(mirrorSchema, withImageList(source.value), { abortPipeEarly: true });
  if (result.success) return result.output;
  throw problems(source, result.issues);
}

/** `images: {file: PATH}` is one entry without a list around it. */
function withImageList(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('images' in value)) return value;
  const { images } = value;
  const isEntry = typeof images === 'object' && images !== null && !Array.isArray(images);
  return isEntry ? { ...value, images: [images] } : value;
}

/** More than a person mends before the next try. */
const mostProblems = 10;

function problems(source: YamlFile, issues: readonly v.BaseIssue<unknown>[]): TalosError {
  // A slip in a key is also a missing key: what was written helps more than what was not.
  const sorted = [...issues.filter(isOfUnknownKey), ...issues.filter((issue) => !isOfUnknownKey(issue))];
  const more = sorted.length > mostProblems ? [`and ${sorted.length - mostProblems} more`] : [];
  const lines = sorted.slice(0, mostProblems).map((issue) => problem(source, issue).message);
  return new TalosError('BAD_YAML', [...lines, ...more].join('; '));
}

function problem(source: YamlFile, outer: v.BaseIssue<unknown>): TalosError {
  const { issue, path } = innermost(outer);
  const name = path.reduce<string>(
    (text, key) => (typeof key === 'number' ? `${text}[${key}]` : text === '' ? key : `${text}.${key}`),
    '',
  );
  const isUnknown = isOfUnknownKey(issue);
  const isMissing = issue.type === 'strict_object' && issue.received === 'undefined';
  const what = isUnknown
    ? `is not known here${meant(path)}`
    : isMissing
      ? 'is missing'
      : issue.type === 'strict_object'
        ? `must be a mapping with ${keysAt(path).join(', ')}`
        : issue.message;
  const say = `${name === '' ? 'mirror.yaml' : printable(name)} ${what}`;
  return isUnknown ? source.errorAtKey(path, say) : source.error(path, say);
}

function isOfUnknownKey(issue: v.BaseIssue<unknown>): boolean {
  return issue.type === 'strict_object' && issue.expected === 'never';
}

/** Of what fits none of several forms, the problem inside of the form that was meant: the one that has an inside. */
function innermost(issue: v.BaseIssue<unknown>): {
  readonly issue: v.BaseIssue<unknown>;
  readonly path: readonly (string | number)[];
} {
  const path = (issue.path ?? []).map((item) => item.key as string | number);
  const within = issue.issues?.filter((one) => one.path !== undefined) ?? [];
  const inside = within.find(isOfUnknownKey) ?? within[0];
  if (inside === undefined) return { issue, path };
  const below = innermost(inside);
  return { issue: below.issue, path: [...path, ...below.path] };
}

/** What could have stood there instead of an unknown key. */
function meant(path: readonly (string | number)[]): string {
  const [first, , key] = path;
  if (first === 'images' && typeof key === 'string' && key.includes('/'))
    return `; an image has no colon behind it: write - ${printable(key)}:TAG`;
  const sections = keysAt([]).filter((section) => keysAt([section]).includes(String(first)));
  if (path.length === 1 && sections.length > 0)
    return `; it belongs under ${sections.join(' or ')}: indent it there`;
  const known = keysAt(path.slice(0, -1));
  const nearest = nearestName(String(path.at(-1)), known);
  return nearest === undefined ? `; known are ${known.join(', ')}` : `; did you mean ${nearest}?`;
}

/** Names of the members that the schema has at a place. */
function keysAt(path: readonly (string | number)[]): readonly string[] {
  let at: Schema | undefined = mirrorSchema;
  for (const key of path) at = memberOf(plainSchema(at), key);
  const found = plainSchema(at);
  return found !== undefined && 'entries' in found ? Object.keys(found.entries as object) : [];
}

function memberOf(schema: Schema | undefined, key: string | number): Schema | undefined {
  if (schema === undefined) return undefined;
  if (typeof key === 'number') return 'item' in schema ? (schema.item as Schema) : undefined;
  const entries = 'entries' in schema ? (schema.entries as Readonly<Record<string, Schema>>) : {};
  return Object.hasOwn(entries, key) ? entries[key] : undefined;
}

/** Without what says that it may be absent, or that it may be something simpler. */
function plainSchema(schema: Schema | undefined): Schema | undefined {
  let at = schema;
  while (at !== undefined && ('wrapped' in at || 'options' in at)) {
    at = 'wrapped' in at ? (at.wrapped as Schema) : (at as { options: readonly Schema[] }).options.at(-1);
  }
  return at;
}

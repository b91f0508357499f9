/**
 * Wishes as a part of a mirror.yaml, to carry out of the site. What cannot be fetched as it stands (a schematic that
 * holds a secret, one that nothing was asked of yet) is written as a comment that says what to do.
 */
import { byText, printable } from '@omni-airgap/oci/base';
import {
  compareVersions,
  decodeSchematic,
  findSecrets,
  parseInstallerRepository,
  spelledSchematics,
  TalosError,
  vPrefixed,
} from '@omni-airgap/talos';
import type { Wish } from './wish.ts';
import type { WantsDocument } from './wishes.ts';

type Of<K extends Wish['kind']> = Extract<Wish, { readonly kind: K }>;

function ofKind<K extends Wish['kind']>(wishes: readonly Wish[], kind: K): readonly Of<K>[] {
  return wishes.filter((wish): wish is Of<K> => wish.kind === kind);
}

interface Builds {
  readonly version: string;
  readonly files: readonly string[];
  readonly installers: readonly string[];
}

/** The platform of mirror.yaml that an installer's repository stands for. */
function platformOf(repository: string): string {
  const { platform = 'metal', secureboot = false } = parseInstallerRepository(repository) ?? {};
  return `${platform}${secureboot ? '-secureboot' : ''}`;
}

function buildsOf(wishes: readonly Wish[], schematic: string): readonly Builds[] {
  const media = ofKind(wishes, 'media').filter((wish) => wish.schematic === schematic);
  const installers = ofKind(wishes, 'installer').filter((wish) => wish.schematic === schematic);
  const versions = new Set([...media, ...installers].map(({ version }) => vPrefixed(version)));
  return [...versions].sort(compareVersions).map((version) => {
    const isOf = (wish: { readonly version: string }): boolean => vPrefixed(wish.version) === version;
    return {
      version,
      files: [...new Set(media.filter(isOf).map(({ file }) => file))].sort(byText),
      installers: [...new Set(installers.filter(isOf).map(({ repository }) => platformOf(repository)))].sort(
        byText,
      ),
    };
  });
}

function entryLines(first: readonly string[], { version, files, installers }: Builds): readonly string[] {
  return [
    ...first,
    `    versions: [${version}]`,
    ...(files.length === 0 ? [] : [`    files: [${files.join(', ')}]`]),
    ...(installers.length === 0 ? [] : [`    installers: [${installers.join(', ')}]`]),
  ];
}

/** The schematic's own text, moved to the right: nothing in it is re-written. */
function inline(text: string): readonly string[] {
  const lines = text.replace(/\n$/, '').split('\n');
  return ['  - schematic:', ...lines.map((line) => (line === '' ? '' : `      ${line}`))];
}

/** Which releases of the Image Factory give it this ID, where not all do. */
function factoryLines({ factories }: Of<'schematic'>): readonly string[] {
  if (factories === undefined) return [];
  return [
    `  # its ID in Image Factory ${factories.join(', ')}; other releases give the same schematic another ID`,
  ];
}

interface FragmentOptions {
  /** URL of the server that keeps the list, without a slash at its end, where it is known. */
  readonly server?: string | undefined;
  /** By ID: what publicText made of the texts that the server has of `schematicsWithoutText`. */
  readonly texts?: ReadonlyMap<string, string>;
}

/** IDs of the schematics that something is asked of, and that are no wish themselves: the list has no text of them. */
export function schematicsWithoutText({ wishes }: Pick<WantsDocument, 'wishes'>): readonly string[] {
  const made = new Set(ofKind(wishes, 'schematic').map(({ id }) => id));
  const asked = [...ofKind(wishes, 'media'), ...ofKind(wishes, 'installer')];
  return [...new Set(asked.map(({ schematic }) => schematic))].filter((id) => !made.has(id));
}

/** The canonical text with this ID; undefined for a text that has another ID, holds a secret or is no schematic. */
export function publicText(id: string, text: string | Uint8Array): string | undefined {
  try {
    const schematic = decodeSchematic(text);
    if (findSecrets(schematic).length > 0) return undefined;
    return spelledSchematics(schematic).find((one) => one.id === id)?.canonical;
  } catch (error) {
    if (error instanceof TalosError) return undefined;
    throw error;
  }
}

function schematicLines(
  wishes: readonly Wish[],
  id: string,
  { server, texts }: FragmentOptions,
): readonly string[] {
  const wish = ofKind(wishes, 'schematic').find((one) => one.id === id);
  const builds = buildsOf(wishes, id);
  if (wish === undefined) {
    const known = texts?.get(id);
    return builds.flatMap((build) =>
      known === undefined
        ? [
            '  # Only the ID of this schematic is given here: the public factory must know it too.',
            ...entryLines([`  - schematic: ${id}`], build),
          ]
        : [`  # ${id}`, ...entryLines(inline(known), build)],
    );
  }
  if (wish.text === undefined) {
    const why =
      wish.secrets.length > 0
        ? `holds a secret (${wish.secrets.map((secret) => printable(secret)).join('; ')})`
        : 'is too long to be kept here, or cannot be read back';
    const commented = builds.flatMap((build) =>
      entryLines([`  - schematic: schematic-${id.slice(0, 12)}.yaml`], build),
    );
    return [
      `  # schematic ${id} ${why}, so its text was not recorded.`,
      ...factoryLines(wish),
      `  # Until serve is restarted, its text is at ${server ?? 'the URL of serve, followed by '}/schematics/${id}; later take it from whoever made it.`,
      '  # Put it into the file, and fetch it with --allow-secrets if it may go to the public factory:',
      ...commented.map((line) => `  # ${line.slice(2)}`),
    ];
  }
  const text = wish.text;
  if (builds.length > 0) {
    return builds.flatMap((build) => [
      `  # ${id}`,
      ...factoryLines(wish),
      ...entryLines(inline(text), build),
    ]);
  }
  return [
    `  # schematic ${id}: nothing was requested from it yet. To carry its installer, remove the comment marks and specify the version:`,
    ...factoryLines(wish),
    ...entryLines(inline(text), { version: 'v0.0.0', files: [], installers: ['metal'] }).map((line) =>
      `  # ${line.slice(2)}`.trimEnd(),
    ),
  ];
}

/** @returns text of a mirror.yaml, or of comments only when nothing was asked for */
export function wantsFragment({ wishes, dropped }: WantsDocument, options: FragmentOptions = {}): string {
  const ids = new Set(
    wishes.flatMap((wish) =>
      wish.kind === 'schematic'
        ? [wish.id]
        : wish.kind === 'media' || wish.kind === 'installer'
          ? [wish.schematic]
          : [],
    ),
  );
  const talosctl = ofKind(wishes, 'talosctl');
  const versions = new Set(
    [...ofKind(wishes, 'version'), ...talosctl].map(({ version }) => vPrefixed(version)),
  );
  const systems = new Set(talosctl.map(({ file }) => file.replace(/^talosctl-|\.exe$/g, '')));
  const images = ofKind(wishes, 'image').map(({ reference }) => reference);
  const media = [...ids].flatMap((id) => schematicLines(wishes, id, options));
  const hasMedia = media.some((line) => line.startsWith('  - '));
  return [
    '# What was asked for inside and is not carried. Merge it into mirror.yaml outside, then fetch and bundle again.',
    ...(wishes.length === 0 ? ['# Clients requested nothing that is missing here.'] : []),
    ...(dropped === 0 ? [] : [`# ${dropped} more found no room in the list.`]),
    'apiVersion: omni-airgap/v1',
    ...(versions.size === 0
      ? []
      : [
          'talos:',
          `  versions: [${[...versions].sort(compareVersions).join(', ')}]`,
          ...(systems.size === 0 ? [] : [`  talosctl: [${[...systems].sort(byText).join(', ')}]`]),
        ]),
    ...(media.length === 0 ? [] : [hasMedia ? 'media:' : '# media:', ...media]),
    ...(images.length === 0 ? [] : ['images:', ...images.sort(byText).map((name) => `  - ${name}`)]),
    '',
  ].join('\n');
}

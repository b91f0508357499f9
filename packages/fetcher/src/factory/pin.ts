/**
 * Pins: files without a digest upstream, for which the first fetch decides. So it looks first: at the first bytes while
 * they come, and at those of what is pinned already, since earlier versions pinned whatever came. A pin is replaced only
 * when somebody says so, by its name. Faults F10, C3.
 */
import type { Bytes } from '@omni-airgap/oci';
import { CodedError, printable } from '@omni-airgap/oci/base';
import type { Layout } from '@omni-airgap/oci/layout';
import type { Descriptor } from '@omni-airgap/oci/model';
import type { LockDocument } from '@omni-airgap/store';
import { faultOfFile, firstBytes, isMediaName, isTalosctlName, nearestName } from '@omni-airgap/talos';

const portal =
  'a captive portal, web filter or log-in page may have answered instead of the factory; check network and proxy, then run the command again';

/**
 * The same bytes; the first 32,774 are held back until they have been looked at.
 * @param file its name tells what it should be
 * @param size bytes of all of it
 * @param what begins the message
 * @throws UPSTREAM, before anything has been passed on
 */
export async function* looked(bytes: Bytes, file: string, size: number, what: string): Bytes {
  const held: Uint8Array[] = [];
  let heldBytes = 0;
  let isLooked = false;
  const look = (): void => {
    isLooked = true;
    const fault = faultOfFile(file, size, Buffer.concat(held).subarray(0, firstBytes));
    if (fault !== undefined) throw new CodedError('UPSTREAM', `${what}: ${fault}: ${portal}`);
  };
  for await (const chunk of bytes) {
    if (isLooked) {
      yield chunk;
      continue;
    }
    held.push(chunk);
    heldBytes += chunk.byteLength;
    if (heldBytes < Math.min(firstBytes, size)) continue;
    look();
    yield* held.splice(0);
  }
  if (isLooked) return;
  look();
  yield* held;
}

/**
 * Why content in the store cannot be what a name says; undefined also for content that has left it.
 * @throws DISK
 */
export async function faultOfStored(
  layout: Layout,
  file: string,
  descriptor: Descriptor,
): Promise<string | undefined> {
  if ((await layout.locate(descriptor)) === undefined) return undefined;
  const head: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of layout.fetch(descriptor)) {
    head.push(chunk);
    bytes += chunk.byteLength;
    if (bytes >= firstBytes) break;
  }
  return faultOfFile(file, descriptor.size, Buffer.concat(head).subarray(0, firstBytes));
}

/** Name of a pin, as messages show it and `--repin` takes it. @param item that lock.json lists the file under */
export function pinName(item: string, file: string): string {
  return `${item}/${file}`;
}

/** The pins that are to be replaced: by their own names, or by the name of an item for all of its files. */
export class Repins {
  readonly #unused: Set<string>;
  readonly #names: ReadonlySet<string>;

  /** @throws USAGE for a name that lock.json does not pin, with those that are near */
  constructor(names: readonly string[], lock: LockDocument | undefined) {
    const items = (lock?.items ?? []).filter((item) => item.files !== undefined);
    const pins = items.flatMap(({ name, files = [] }) =>
      files
        .filter((file) => isMediaName(file.name) || isTalosctlName(file.name))
        .map((file) => pinName(name, file.name)),
    );
    const known = [...items.map((item) => item.name), ...pins];
    for (const name of names) {
      if (known.includes(name)) continue;
      const ends = pins.filter((pin) => pin.endsWith(`/${name}`)).slice(0, 5);
      const near = ends.length > 0 ? ends : [nearestName(name, known)].filter((one) => one !== undefined);
      const hint =
        pins.length === 0 ? 'it pins nothing' : near.length > 0 ? `did you mean ${near.join(', ')}?` : '';
      throw new CodedError(
        'USAGE',
        `--repin ${printable(name)}: lock.json does not pin it${hint === '' ? '' : `; ${hint}`}`,
      );
    }
    this.#names = new Set(names);
    this.#unused = new Set(names);
  }

  /** Whether to replace a pin; counts it as used. */
  take(item: string, file: string): boolean {
    const found = [pinName(item, file), item].filter((name) => this.#names.has(name));
    for (const name of found) this.#unused.delete(name);
    return found.length > 0;
  }

  /** True when any file of an item is to be replaced. */
  concern(item: string): boolean {
    return [...this.#names].some((name) => name === item || name.startsWith(`${item}/`));
  }

  /** Names that nothing was fetched for. */
  get unused(): readonly string[] {
    return [...this.#unused];
  }
}

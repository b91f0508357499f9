/** `--volume-size` and `--volumes`: sizes and numbers of volumes as people write them. */
import { CodedError, printable } from '@omni-airgap/oci/base';

/**
 * @param count volumes there are
 * @returns their numbers, rising; all when nothing was said
 * @throws USAGE
 */
export function parseVolumeRange(text: string | undefined, count: number): readonly number[] {
  if (text === undefined) return [...Array(count).keys()];
  const chosen = new Set<number>();
  for (const part of text.split(',')) {
    const [, first, last = first] = /^([0-9]{1,3})(?:-([0-9]{1,3}))?$/.exec(part.trim()) ?? [];
    if (first === undefined || Number(last) < Number(first)) {
      throw new CodedError(
        'USAGE',
        `--volumes ${printable(text)}: write numbers or ranges, such as 2-5 or 1,3`,
      );
    }
    if (Number(last) >= count) {
      throw new CodedError(
        'USAGE',
        `--volumes ${printable(text)}: the last volume of this bundle is ${count - 1}`,
      );
    }
    for (let volume = Number(first); volume <= Number(last); volume++) chosen.add(volume);
  }
  return [...chosen].sort((a, b) => a - b);
}

const units: Readonly<Record<string, number>> = {
  '': 1,
  K: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  KI: 1024,
  MI: 1024 ** 2,
  GI: 1024 ** 3,
  TI: 1024 ** 4,
};

/** One file may have 4 GiB less one byte there. Fits on every file system that media come with. */
const fat32 = 4 * 1024 ** 3 - 512;

/** Bytes; each a little below what the medium takes, so that the small files beside the volume fit as well. */
const presets: Readonly<Record<string, number>> = {
  fat32,
  dvd: 4_600_000_000,
  bluray: 24_900_000_000,
};

const smallest = 1024 * 1024;

/** @param text such as `4GiB`, `700MB`, `dvd` @returns bytes @throws USAGE */
export function parseVolumeSize(text: string): number {
  const preset = presets[text.toLowerCase()];
  if (preset !== undefined) return preset;
  const [, digits, unit] = /^([0-9]{1,15}(?:\.[0-9]{1,3})?) ?([KMGT]?I?)B?$/.exec(text.toUpperCase()) ?? [];
  const factor = unit === undefined ? undefined : units[unit];
  const bytes = Math.floor(Number(digits) * (factor ?? Number.NaN));
  if (!Number.isSafeInteger(bytes) || bytes < smallest) {
    const names = Object.keys(presets).join(', ');
    throw new CodedError(
      'USAGE',
      `--volume-size ${printable(text)}: write it like 4GiB (1 MiB at least), or one of ${names}`,
    );
  }
  // People say 4GiB and mean what a 4 GiB limit allows.
  return bytes === 4 * 1024 ** 3 ? fat32 : bytes;
}

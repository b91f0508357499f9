/** The id of a bundle: the SHA-256 of what `sha256sum content.tar.*` prints, so anybody can compute it. */
import { createHash } from 'node:crypto';
import type { WrittenVolume } from './volumes/write-volume.ts';

/** Lines as sha256sum writes them. */
export function checksumLines(files: readonly Pick<WrittenVolume, 'name' | 'sha256'>[]): string {
  return files.map(({ name, sha256 }) => `${sha256}  ${name}\n`).join('');
}

/** 64 hex characters. */
export function bundleIdOf(volumes: readonly Pick<WrittenVolume, 'name' | 'sha256'>[]): string {
  return createHash('sha256').update(checksumLines(volumes)).digest('hex');
}

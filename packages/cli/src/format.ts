/** Numbers for people: durations, counts, tables of at most 100 columns. */
import type { StoreInspection } from '@omni-airgap/bundler';
import { formatBytes } from '@omni-airgap/oci/base';

/** `1 h 05 min`, `3 min 20 s`, `12 s` @param seconds a finite number */
export function formatDuration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s >= 3600)
    return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, '0')} min`;
  if (s >= 60) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, '0')} s`;
  return `${s} s`;
}

/** `3 images`, `1 image` */
export function count(n: number, noun: string): string {
  return `${n.toLocaleString('en')} ${noun}${n === 1 ? '' : 's'}`;
}

const widest = 100;

/** A list over as many lines as it takes, each indented by two. */
export function wrap(items: readonly string[]): string {
  const lines: string[] = [];
  let line = ' ';
  for (const [i, item] of items.entries()) {
    const text = ` ${item}${i < items.length - 1 ? ',' : ''}`;
    if (line.length + text.length > widest && line !== ' ') {
      lines.push(line);
      line = ' ';
    }
    line += text;
  }
  return [...lines, line].join('\n');
}

/**
 * Columns padded to line up; numbers to the right. A first column that is too wide is cut in the middle, where
 * references differ least.
 */
export function table(rows: readonly (readonly string[])[], right: readonly number[] = []): string {
  const columns = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, i) =>
    Math.max(...rows.map((row) => row[i]?.length ?? 0)),
  );
  const others = widths.slice(1).reduce((sum, width) => sum + width + 2, 0);
  widths[0] = Math.min(widths[0] ?? 0, widest - others);
  return rows
    .map((row) =>
      row
        .map((cell, i) => {
          const width = widths[i] ?? 0;
          const text = i === 0 ? cut(cell, width) : cell;
          return right.includes(i) ? text.padStart(width) : text.padEnd(width);
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** At most `width` characters; what is taken out is in the middle. */
export function cut(text: string, width: number): string {
  if (text.length <= width) return text;
  const head = Math.floor((width - 1) * 0.4);
  return `${text.slice(0, head)}…${text.slice(text.length - (width - head - 1))}`;
}

/** What has left a store with bundles, in lines; none when nothing has. */
export function describeLeft({ bundles, blobs, bytes }: StoreInspection['left']): readonly string[] {
  if (blobs === 0) return [];
  return [
    `Left the store: ${count(blobs, 'blob')} (${formatBytes(bytes)}), now in bundle ${bundles.join(', ')}.`,
  ];
}

/** Numbers for people: durations, counts, tables as wide as the terminal. */
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

/** Of output that is no terminal: what logs and mails show without breaking lines. */
const usualWidth = 100;
const leastWidth = 40;
/** Columns that are narrower than this say nothing any more. */
const leastColumn = 12;

/** Columns of the terminal that the report goes to; 100 elsewhere. */
function outputWidth(): number {
  return Math.max(leastWidth, process.stdout.columns ?? usualWidth);
}

/** A list over as many lines as it takes, each indented by two. */
export function wrap(items: readonly string[], width: number = outputWidth()): string {
  const lines: string[] = [];
  let line = ' ';
  for (const [i, item] of items.entries()) {
    const text = ` ${item}${i < items.length - 1 ? ',' : ''}`;
    if (line.length + text.length > width && line !== ' ') {
      lines.push(line);
      line = ' ';
    }
    line += text;
  }
  return [...lines, line].join('\n');
}

/**
 * Columns padded to line up; numbers to the right. What is wider than the terminal is wrapped in its last column, if that
 * holds text, and cut in the middle of the first one, where references differ least.
 */
export function table(
  rows: readonly (readonly string[])[],
  right: readonly number[] = [],
  width: number = outputWidth(),
): string {
  const columns = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, i) =>
    Math.max(...rows.map((row) => row[i]?.length ?? 0)),
  );
  const last = columns - 1;
  const excess = (): number => widths.reduce((sum, one) => sum + one + 2, -2) - width;
  const narrow = (i: number, least: number): void => {
    const now = widths[i] ?? 0;
    widths[i] = Math.max(Math.min(now, least), now - Math.max(0, excess()));
  };
  if (last > 0 && !right.includes(last)) narrow(last, 2 * leastColumn);
  narrow(0, leastColumn);
  if (last > 0 && !right.includes(last)) narrow(last, leastColumn);
  return rows
    .flatMap((row) => {
      const lines = last > 0 && !right.includes(last) ? wrapped(row[last] ?? '', widths[last] ?? 0) : [];
      const cells = row.map((cell, i) => {
        const columnWidth = widths[i] ?? 0;
        const text =
          i === 0 ? cut(cell, columnWidth) : i === last && lines.length > 0 ? (lines[0] ?? '') : cell;
        return right.includes(i) ? text.padStart(columnWidth) : text.padEnd(columnWidth);
      });
      const indent = ' '.repeat(widths.slice(0, last).reduce((sum, one) => sum + one + 2, 0));
      return [cells.join('  ').trimEnd(), ...lines.slice(1).map((line) => `${indent}${line}`)];
    })
    .join('\n');
}

/** A text over as many lines as it takes, the later ones indented by four. @param indent of the first line */
export function paragraph(text: string, indent = '', width: number = outputWidth()): string {
  const [first = '', ...more] = wrapped(text, width - 4);
  return [`${indent}${first}`, ...more.map((line) => `    ${line}`)].join('\n');
}

/** Broken between words; a word that is longer than a line stays whole, so that it can be copied. */
function wrapped(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const line = lines.at(-1);
    if (line !== undefined && line.length + 1 + word.length <= width)
      lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** At most `width` characters; what is taken out is in the middle. */
function cut(text: string, width: number): string {
  if (text.length <= width) return text;
  const head = Math.floor((width - 1) * 0.4);
  return `${text.slice(0, head)}…${text.slice(text.length - (width - head - 1))}`;
}

/** A name at most `width` wide: without its host, then without what leads to its last part, then cut. */
export function cutName(name: string, width: number): string {
  let short = name;
  while (short.length > width) {
    const slash = short.indexOf('/');
    // Not within a digest or what follows the name.
    if (slash < 0 || short.slice(0, slash).includes(' ')) break;
    short = short.slice(slash + 1);
  }
  return cut(short, width);
}

/** What has left a store with bundles, in lines; none when nothing has. */
export function describeLeft({ bundles, blobs, bytes }: StoreInspection['left']): readonly string[] {
  if (blobs === 0) return [];
  return [
    `Left the store: ${count(blobs, 'blob')} (${formatBytes(bytes)}), now in bundle ${bundles.join(', ')}.`,
  ];
}

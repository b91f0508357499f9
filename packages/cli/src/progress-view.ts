/**
 * Progress on the standard error: on a terminal a bar for the whole and one for each of the things under way, redrawn
 * in place; plain lines every ten seconds elsewhere; nothing with --quiet.
 */
import type { ItemState, Progress } from '@omni-airgap/oci';
import { formatBytes } from '@omni-airgap/oci/base';
import { cut, formatDuration } from './format.ts';

export type ProgressMode = 'terminal' | 'plain' | 'quiet';

const redrawMs = 120;
const plainMs = 10_000;
/** The rate is that of the last few seconds, so it follows a line that gets slower. */
const windowMs = 5_000;
/** Lines of things under way; there is one more for the whole. */
const maxItems = 8;
const barWidth = 20;
/** Things that are over at once are not worth a line. */
const shownAfterMs = 300;

interface Item {
  readonly since: number;
  state: ItemState;
}

export class ProgressView implements Progress {
  readonly #mode: ProgressMode;
  readonly #write: (text: string) => void;
  readonly #verb: string;
  readonly #columns: () => number;
  readonly #started = Date.now();
  readonly #samples: { readonly at: number; readonly done: number }[] = [];
  readonly #items = new Map<string, Item>();
  #total = 0;
  #done = 0;
  #timer: NodeJS.Timeout | undefined;
  /** Lines on the terminal that belong to us. */
  #drawn = 0;

  /**
   * @param verb what is being done, such as `fetch`
   * @param columns width of the terminal
   */
  constructor(
    verb: string,
    mode: ProgressMode,
    write: (text: string) => void,
    columns: () => number = () => process.stderr.columns ?? 80,
  ) {
    this.#verb = verb;
    this.#mode = mode;
    this.#write = write;
    this.#columns = columns;
    if (mode !== 'quiet') {
      this.#timer = setInterval(() => this.#draw(), mode === 'terminal' ? redrawMs : plainMs).unref();
    }
  }

  expect(bytes: number): void {
    this.#total += bytes;
  }

  advance(bytes: number): void {
    this.#done += bytes;
  }

  item(name: string, state: ItemState | undefined): void {
    if (state === undefined) {
      this.#items.delete(name);
      return;
    }
    const known = this.#items.get(name);
    if (known?.state.doing === state.doing) known.state = state;
    else this.#items.set(name, { since: Date.now(), state });
  }

  note(text: string): void {
    if (this.#mode === 'quiet') return;
    this.#erase();
    this.#write(`${this.#verb}: ${text}\n`);
  }

  /** Removes the lines and stops drawing. @param isComplete lines of a log that were written end with where it came to */
  end(isComplete = false): void {
    clearInterval(this.#timer);
    this.#erase();
    if (isComplete && this.#mode === 'plain' && this.#samples.length > 0) this.#draw();
  }

  /** Seconds since it began. */
  get seconds(): number {
    return (Date.now() - this.#started) / 1000;
  }

  #draw(): void {
    const now = Date.now();
    this.#samples.push({ at: now, done: this.#done });
    while (this.#samples.length > 2 && now - (this.#samples[0]?.at ?? now) > windowMs) this.#samples.shift();
    const whole = `${this.#verb}: ${this.#describe(now)}`;
    if (this.#mode === 'plain') {
      // What has no bytes yet is all that the sum does not show.
      const waiting = [...this.#items].filter(([, { state }]) => state.size === undefined);
      const lines = waiting
        .slice(0, maxItems)
        .map(([name, item]) => `${this.#verb}: ${name}: ${describeItem(item, now)}`);
      this.#write(`${[whole, ...lines].join('\n')}\n`);
      return;
    }
    const width = Math.max(20, this.#columns() - 1);
    const shown = [...this.#items].filter(([, { since }]) => now - since > shownAfterMs).slice(0, maxItems);
    const nameWidth = Math.max(10, Math.min(48, width - barWidth - 30));
    const lines = shown.map(([name, item]) => {
      const text = describeItem(item, now);
      return `  ${cut(name, nameWidth).padEnd(nameWidth)} ${text}`.slice(0, width);
    });
    const bar = this.#total > 0 ? ` ${barOf(this.#done, this.#total)}` : '';
    this.#erase();
    this.#write([...lines, `${whole}${bar}`.slice(0, width)].join('\n'));
    this.#drawn = lines.length + 1;
  }

  #describe(now: number): string {
    const first = this.#samples[0];
    const rate =
      first === undefined || now === first.at ? 0 : ((this.#done - first.done) * 1000) / (now - first.at);
    const done = `${formatBytes(this.#done)} of ${formatBytes(Math.max(this.#total, this.#done))}`;
    const percent =
      this.#total > 0 ? ` (${Math.min(100, Math.floor((100 * this.#done) / this.#total))} %)` : '';
    const left = this.#total - this.#done;
    const eta = rate > 0 && left > 0 ? `, ${formatDuration(left / rate)} left` : '';
    return `${done}${percent}, ${formatBytes(rate)}/s${eta}`;
  }

  #erase(): void {
    if (this.#drawn === 0) return;
    const up = this.#drawn > 1 ? `\u001b[${this.#drawn - 1}A` : '';
    this.#write(`\r${up}\u001b[J`);
    this.#drawn = 0;
  }
}

function describeItem({ since, state }: Item, now: number): string {
  const { doing, done, size } = state;
  if (done === undefined || size === undefined) return `${doing}, ${formatDuration((now - since) / 1000)}`;
  return `${barOf(done, size)} ${formatBytes(done)} of ${formatBytes(size)}`;
}

function barOf(done: number, total: number): string {
  const full = Math.min(barWidth, Math.floor((barWidth * done) / Math.max(1, total)));
  return `[${'#'.repeat(full)}${'-'.repeat(barWidth - full)}]`;
}

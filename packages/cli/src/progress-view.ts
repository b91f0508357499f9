/**
 * Progress on the standard error: on a terminal a line for the whole and one for each of the things under way, redrawn
 * in place; plain lines every ten seconds elsewhere; nothing with --quiet. A total and a percentage are shown once the
 * size of everything is known, and not before.
 */
import type { ItemState, Progress } from '@omni-airgap/oci';
import { type CodedError, formatBytes } from '@omni-airgap/oci/base';
import { count, cutName, formatDuration } from './format.ts';

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
  /** The start is one of them: the first rate is that since then. */
  readonly #samples: { readonly at: number; readonly done: number }[] = [{ at: Date.now(), done: 0 }];
  readonly #items = new Map<string, Item>();
  readonly #isVerbose: boolean;
  #total = 0;
  #done = 0;
  #itemsTotal = 0;
  #itemsDone = 0;
  #unsized = 0;
  #retries = 0;
  #lastRetry: { readonly what: string; readonly until: number } | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Lines on the terminal that belong to us. */
  #drawn = 0;

  /**
   * @param verb what is being done, such as `fetch`
   * @param isVerbose a line for each retry on a terminal too, where they are only counted otherwise
   * @param columns width of the terminal
   */
  constructor(
    verb: string,
    mode: ProgressMode,
    write: (text: string) => void,
    {
      isVerbose = false,
      columns = () => process.stderr.columns ?? 80,
    }: { readonly isVerbose?: boolean; readonly columns?: () => number } = {},
  ) {
    this.#isVerbose = isVerbose;
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

  expectItems(items: number): void {
    this.#itemsTotal += items;
  }

  itemsOver(items: number): void {
    this.#itemsDone += items;
  }

  unsized(items: number): void {
    this.#unsized += items;
  }

  retry(error: CodedError, waitMs: number): void {
    this.#retries++;
    this.#lastRetry = { what: shortReason(error), until: Date.now() + waitMs };
    if (this.#mode === 'terminal' && !this.#isVerbose) return;
    this.note(`trying again in ${formatDuration(waitMs / 1000)}: ${error.message}`);
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
    if (isComplete && this.#mode === 'plain' && this.#samples.length > 1) this.#draw();
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
      return `  ${cutName(name, nameWidth).padEnd(nameWidth)} ${text}`.slice(0, width);
    });
    const bar = this.#total > 0 && this.#unsized === 0 ? ` ${barOf(this.#done, this.#total)}` : '';
    this.#erase();
    this.#write([...lines, `${whole}${bar}`.slice(0, width)].join('\n'));
    this.#drawn = lines.length + 1;
  }

  #describe(now: number): string {
    const parts = [...this.#itemsText(), ...this.#bytesText(now)];
    // What moves no bytes shows that it is alive.
    if (parts.length === 0) parts.push(formatDuration((now - this.#started) / 1000));
    return `${parts.join(', ')}${this.#retriesText(now)}`;
  }

  #itemsText(): readonly string[] {
    return this.#itemsTotal === 0 ? [] : [`${this.#itemsDone} of ${count(this.#itemsTotal, 'item')}`];
  }

  #bytesText(now: number): readonly string[] {
    if (this.#total === 0 && this.#done === 0) {
      return this.#unsized > 0 && this.#itemsTotal > 0 ? [`${this.#unsized} not sized yet`] : [];
    }
    const first = this.#samples[0];
    const rate =
      first === undefined || now === first.at ? 0 : ((this.#done - first.done) * 1000) / (now - first.at);
    if (this.#unsized > 0) {
      return [
        `${formatBytes(this.#done)} so far`,
        `${this.#unsized} not sized yet`,
        `${formatBytes(rate)}/s`,
      ];
    }
    const total = Math.max(this.#total, this.#done);
    const percent = total > 0 ? ` (${Math.floor((100 * this.#done) / total)} %)` : '';
    const left = this.#total - this.#done;
    return [
      `${formatBytes(this.#done)} of ${formatBytes(total)}${percent}`,
      `${formatBytes(rate)}/s`,
      ...(rate > 0 && left > 0 ? [`${formatDuration(left / rate)} left`] : []),
    ];
  }

  #retriesText(now: number): string {
    if (this.#retries === 0 || this.#lastRetry === undefined) return '';
    const { what, until } = this.#lastRetry;
    const waits = until > now ? `, waits ${formatDuration(Math.ceil((until - now) / 1000))}` : '';
    return `; ${this.#retries === 1 ? '1 retry' : `${this.#retries} retries`}, last: ${what}${waits}`;
  }

  #erase(): void {
    if (this.#drawn === 0) return;
    const up = this.#drawn > 1 ? `\u001b[${this.#drawn - 1}A` : '';
    this.#write(`\r${up}\u001b[J`);
    this.#drawn = 0;
  }
}

/** Host, and status or cause: `ghcr.io 429`. */
function shortReason({ message, status, failure, code }: CodedError): string {
  const [, host] = /\bhttps?:\/\/([^/\s]+)/.exec(message) ?? [];
  return [host, status ?? failure?.cause ?? code].filter((part) => part !== undefined).join(' ');
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

/**
 * Progress on the standard error: one line that is redrawn on a terminal, a plain line every ten seconds elsewhere,
 * nothing with --quiet.
 */
import type { Progress } from '@omni-airgap/content';
import { formatBytes, formatDuration } from './format.ts';

export type ProgressMode = 'terminal' | 'plain' | 'quiet';

const redrawMs = 120;
const plainMs = 10_000;
/** The rate is that of the last few seconds, so it follows a line that gets slower. */
const windowMs = 5_000;

export class ProgressView implements Progress {
  readonly #mode: ProgressMode;
  readonly #write: (text: string) => void;
  readonly #verb: string;
  readonly #started = Date.now();
  readonly #samples: { readonly at: number; readonly done: number }[] = [];
  #total = 0;
  #done = 0;
  #timer: NodeJS.Timeout | undefined;
  #drawn = false;

  /** @param verb what is being done, such as `fetch` */
  constructor(verb: string, mode: ProgressMode, write: (text: string) => void) {
    this.#verb = verb;
    this.#mode = mode;
    this.#write = write;
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

  note(text: string): void {
    if (this.#mode === 'quiet') return;
    this.#erase();
    this.#write(`${this.#verb}: ${text}\n`);
  }

  /** Removes the line and stops drawing. */
  end(): void {
    clearInterval(this.#timer);
    this.#erase();
  }

  /** Seconds since it began. */
  get seconds(): number {
    return (Date.now() - this.#started) / 1000;
  }

  #draw(): void {
    const now = Date.now();
    this.#samples.push({ at: now, done: this.#done });
    while (this.#samples.length > 2 && now - (this.#samples[0]?.at ?? now) > windowMs) this.#samples.shift();
    const line = `${this.#verb}: ${this.#describe(now)}`;
    if (this.#mode === 'plain') this.#write(`${line}\n`);
    else this.#write(`\r\u001b[K${line}`);
    this.#drawn = true;
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
    if (this.#drawn && this.#mode === 'terminal') this.#write('\r\u001b[K');
    this.#drawn = false;
  }
}

/**
 * Work that shares resources: a discrete-event simulation of processor sharing. Every job of a resource gets the same part of
 * it, and a job goes on at the rate of its tightest resource. What the others leave over is given to nobody, so a
 * simulated site is never faster than a real one, and no resource is ever used beyond its capacity.
 * Source: processor sharing with virtual time, as in Demers, Keshav, Shenker, "Analysis and simulation of a fair queueing
 * algorithm", 1989.
 */

/** Something that is shared: a core, a network interface. */
export class Resource {
  readonly name: string;
  /** Units a second: seconds of processor time, or bytes. */
  readonly capacity: number;
  jobs = 0;
  /** Units that were used so far. */
  used = 0;

  constructor(name: string, capacity: number) {
    if (!(capacity > 0)) throw new Error(`${name}: the capacity must be above 0`);
    this.name = name;
    this.capacity = capacity;
  }
}

export interface Use {
  readonly resource: Resource;
  /** Units of the resource for one unit of work. */
  readonly cost: number;
}

interface Job {
  /** The progress of its class at which it is done. */
  readonly end: number;
  readonly done: () => void;
}

/** Jobs of one kind: they use the same resources and go on at the same rate. */
export class JobClass {
  readonly uses: readonly Use[];
  /** Units of work a second that a single job never exceeds, such as the network of its own machine. */
  readonly most: number;
  readonly jobs = new Heap<Job>(({ end }) => end);
  /** Units of work of a job that was always there. */
  progress = 0;
  rate = 0;

  constructor(uses: readonly Use[], most = Number.POSITIVE_INFINITY) {
    this.uses = uses.filter(({ cost }) => cost > 0);
    this.most = most;
    if (this.uses.length === 0 && most === Number.POSITIVE_INFINITY)
      throw new Error('jobs that use nothing end at once');
  }
}

export class Simulation {
  readonly #classes: readonly JobClass[];
  readonly #timers = new Heap<{ readonly at: number; readonly run: () => void }>(({ at }) => at);
  /** Seconds. */
  now = 0;

  /** @param classes all that will ever have a job */
  constructor(classes: readonly JobClass[]) {
    this.#classes = classes;
  }

  after(seconds: number, run: () => void): void {
    this.#timers.push({ at: this.now + seconds, run });
  }

  /** @param work units of it */
  add(jobs: JobClass, work: number, done: () => void): void {
    for (const { resource } of jobs.uses) resource.jobs++;
    jobs.jobs.push({ end: jobs.progress + work, done });
  }

  /** Runs until nothing is left to do. */
  run(): void {
    for (;;) {
      let next = this.#timers.least()?.at ?? Number.POSITIVE_INFINITY;
      let ending: JobClass | undefined;
      for (const one of this.#classes) {
        const first = one.jobs.least();
        if (first === undefined) continue;
        one.rate = rateOf(one);
        const at = this.now + Math.max(0, first.end - one.progress) / one.rate;
        if (at < next) [next, ending] = [at, one];
      }
      if (next === Number.POSITIVE_INFINITY) return;
      this.#advance(next);
      if (ending === undefined) this.#timers.pop()?.run();
      else {
        const job = ending.jobs.pop();
        for (const { resource } of ending.uses) resource.jobs--;
        job?.done();
      }
    }
  }

  #advance(to: number): void {
    const passed = to - this.now;
    this.now = to;
    for (const one of this.#classes) {
      if (one.jobs.size === 0) continue;
      const work = one.rate * passed;
      one.progress += work;
      for (const { resource, cost } of one.uses) resource.used += work * one.jobs.size * cost;
    }
  }
}

function rateOf({ uses, most }: JobClass): number {
  let rate = most;
  for (const { resource, cost } of uses) rate = Math.min(rate, resource.capacity / resource.jobs / cost);
  return rate;
}

/** The least entry first. */
class Heap<T> {
  readonly #entries: T[] = [];
  readonly #keyOf: (entry: T) => number;

  constructor(keyOf: (entry: T) => number) {
    this.#keyOf = keyOf;
  }

  get size(): number {
    return this.#entries.length;
  }

  least(): T | undefined {
    return this.#entries[0];
  }

  push(entry: T): void {
    const entries = this.#entries;
    let at = entries.push(entry) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (this.#key(above) <= this.#key(at)) return;
      this.#swap(above, at);
      at = above;
    }
  }

  pop(): T | undefined {
    const entries = this.#entries;
    const [first] = entries;
    const last = entries.pop();
    if (entries.length === 0 || last === undefined) return first;
    entries[0] = last;
    for (let at = 0; ; ) {
      const [left, right] = [2 * at + 1, 2 * at + 2];
      let least = at;
      if (left < entries.length && this.#key(left) < this.#key(least)) least = left;
      if (right < entries.length && this.#key(right) < this.#key(least)) least = right;
      if (least === at) return first;
      this.#swap(least, at);
      at = least;
    }
  }

  #key(at: number): number {
    return this.#keyOf(this.#entries[at] as T);
  }

  #swap(a: number, b: number): void {
    const entries = this.#entries;
    [entries[a], entries[b]] = [entries[b] as T, entries[a] as T];
  }
}

/** What a benchmark is given, and what it gives back. */
export interface BenchmarkContext {
  /** An empty folder on a disk; removed afterwards. */
  readonly folder: string;
  /** How much content to move: MiB. */
  readonly sizeMiB: number;
}

/** Prints what it measured. @returns what missed its mark, one line each */
export type Benchmark = (context: BenchmarkContext) => Promise<readonly string[]>;

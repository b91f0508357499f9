/**
 * Whether the machine does other work: its processors are looked at for a second before something is measured. A load average
 * would not tell: it falls for minutes after a program has ended. Source: Linux proc(5), /proc/stat.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** Share of all processors at other work, above which times say little. */
export const quietShare = 0.05;
const lookMs = 1000;

/** Ticks of all processors since the machine started, and this process's own among them. */
export interface ProcessorTimes {
  readonly all: number;
  readonly idle: number;
  readonly own: number;
}

/**
 * Waits for a quiet machine.
 * @param seconds to wait at most; 0 looks once
 * @param look takes a second, gives the share of all processors at other work: 0 to 1
 * @returns the share that a quiet machine was left with, else the largest that was seen
 */
export async function waitForQuiet(
  seconds: number,
  look: () => Promise<number> = otherWork,
): Promise<number> {
  let most = 0;
  for (let left = seconds; ; left--) {
    const share = await look();
    if (share <= quietShare) return share;
    most = Math.max(most, share);
    if (left <= 0) return most;
  }
}

/** @returns the share of all processors that others took between the two: 0 to 1 */
export function shareOfOthers(before: ProcessorTimes, after: ProcessorTimes): number {
  const all = after.all - before.all;
  const others = all - (after.idle - before.idle) - (after.own - before.own);
  return all <= 0 ? 0 : Math.max(0, others / all);
}

async function otherWork(): Promise<number> {
  const before = processorTimes();
  await sleep(lookMs);
  return shareOfOthers(before, processorTimes());
}

function processorTimes(): ProcessorTimes {
  // user nice system idle iowait irq softirq steal; what guests take is in user already.
  const ticks = readFileSync('/proc/stat', 'latin1').split('\n', 1)[0]?.trim().split(/\s+/).slice(1, 9);
  const [user = 0, nice = 0, system = 0, idle = 0, wait = 0, ...more] = (ticks ?? []).map(Number);
  const { user: ownUser, system: ownSystem } = process.cpuUsage();
  return {
    all: more.reduce((sum, one) => sum + one, user + nice + system + idle + wait),
    idle: idle + wait,
    // Microseconds; a tick is a hundredth of a second.
    own: (ownUser + ownSystem) / 1e4,
  };
}

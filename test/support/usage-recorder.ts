/** Preloaded into the command by the tests: when it ends, what it used is left in the file they named. */
import { readFileSync, writeFileSync } from 'node:fs';

const file = process.env['TEST_USAGE_FILE'];
if (file !== undefined) {
  process.on('exit', () => {
    // The kernel's own marks: ru_maxrss would count the test runner, from before this program was loaded into it.
    const peak = /^VmHWM:\s+([0-9]+) kB$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1];
    const written = /^write_bytes: ([0-9]+)$/m.exec(readFileSync('/proc/self/io', 'latin1'))?.[1];
    writeFileSync(
      file,
      JSON.stringify({ peakBytes: Number(peak) * 1024, diskBytesWritten: Number(written) }),
    );
  });
}

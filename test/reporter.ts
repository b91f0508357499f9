/**
 * A vitest reporter that ends a run with what was left out and why, and one line `N passed, N failed, N skipped`
 * that people and machines can read. Files that could not be loaded and errors outside tests count as failed.
 */
import type { Reporter, TestModule } from 'vitest/node';

interface Count {
  passed: number;
  failed: number;
  skipped: number;
}

const fromEnvironment = (name: string): number => Number(process.env[name] ?? 0);

export default class ClosingLineReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const count: Count = {
      passed: fromEnvironment('CHECKS_PASSED'),
      failed: fromEnvironment('CHECKS_FAILED') + unhandledErrors.length,
      skipped: 0,
    };
    const reasons = new Map<string, number>();
    for (const module of modules) {
      if (module.errors().length > 0) count.failed++;
      for (const suite of module.children.allSuites()) if (suite.errors().length > 0) count.failed++;
      for (const test of module.children.allTests()) {
        const result = test.result();
        if (result.state === 'passed' || result.state === 'failed') {
          count[result.state]++;
          continue;
        }
        count.skipped++;
        const reason =
          (result.state === 'skipped' ? result.note : undefined) ?? `no reason: ${test.fullName}`;
        reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
      }
    }
    for (const [reason, tests] of reasons) console.log(`left out (${tests}): ${reason}`);
    const skipped = count.skipped === 0 ? '' : `, ${count.skipped} skipped`;
    console.log(`${count.passed} passed, ${count.failed} failed${skipped}`);
  }
}

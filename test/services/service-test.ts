/**
 * Tests that need programs of the system: they run when all are installed, else they are skipped with the
 * names of the Debian packages; under CI=true a missing program is a failure.
 */
import { describe, type TestContext, test } from 'vitest';
import { MissingService, requireCommands } from './require.ts';

/** A group of tests that needs these programs; `body` is not run without them. */
export function describeWith(commands: readonly string[], title: string, body: () => void): void {
  const missing = missingOf(commands);
  if (missing === undefined) describe(title, body);
  else test(title, (context) => leaveOut(context, missing));
}

/** A group of tests that needs root too: it makes devices, mounts or namespaces. */
export function describeAsRoot(commands: readonly string[], title: string, body: () => void): void {
  if (process.getuid?.() === 0) describeWith(commands, title, body);
  else test(title, (context) => leaveOut(context, new Error('root is needed to make bare Debian systems')));
}

/** One test that needs these programs. @param timeout ms */
export function testWith(
  commands: readonly string[],
  title: string,
  run: (context: TestContext) => Promise<void> | void,
  timeout?: number,
): void {
  const missing = missingOf(commands);
  if (missing === undefined) test(title, run, timeout);
  else test(title, (context) => leaveOut(context, missing));
}

function missingOf(commands: readonly string[]): MissingService | undefined {
  try {
    requireCommands(...commands);
    return undefined;
  } catch (error) {
    if (error instanceof MissingService) return error;
    throw error;
  }
}

function leaveOut(context: TestContext, missing: Error): void {
  if (process.env['CI'] === 'true') throw missing;
  context.skip(missing.message);
}

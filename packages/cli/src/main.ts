/** The omni-airgap command: reads the command line, runs one command, ends with its exit code. */
import { enableCompileCache } from 'node:module';

// Before the imports that cost: a compiled copy of every module is kept for the next start.
enableCompileCache();
// Certificates are always checked (oci/http); Node.js would warn on the standard error that they are not.
delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
/** Milliseconds that messages may take to be read once the command has ended. */
const lastWordsMs = 2000;
// Without top-level await: the single executable of a release is a CommonJS bundle, which has none.
void import('./run.ts').then(async ({ run }) => {
  process.exitCode = await run(process.argv.slice(2));
  // A reader of messages that has stopped reading must not keep the process from ending.
  if (process.stderr.writableLength > 0) setTimeout(() => process.exit(), lastWordsMs).unref();
});

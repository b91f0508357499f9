/** The omni-airgap command: reads the command line, runs one command, ends with its exit code. */
import { run } from './run.ts';

// Certificates are always checked (oci/http); Node.js would warn on the standard error that they are not.
delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
/** Milliseconds that messages may take to be read once the command has ended. */
const lastWordsMs = 2000;
// Without top-level await: the single executable of a release is a CommonJS bundle, which has none.
void run(process.argv.slice(2)).then((code) => {
  process.exitCode = code;
  // A reader of messages that has stopped reading must not keep the process from ending.
  if (process.stderr.writableLength > 0) setTimeout(() => process.exit(), lastWordsMs).unref();
});

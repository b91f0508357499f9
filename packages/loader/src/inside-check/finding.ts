/** What a check found: one line, and what to do when it is bad. */
import { isCoded, messageOf, printable } from '@omni-airgap/oci/base';

export interface Finding {
  /** What was looked at: `registry`, `object store`, `omni`. */
  readonly subject: string;
  /** What about it: `push`, `certificate`. */
  readonly what: string;
  /** `note`: works, and somebody should know this. */
  readonly state: 'ok' | 'note' | 'failed';
  readonly detail: string;
}

/** Runs one check; what it throws is a finding too. Checks go on after a failure: people fix all at once. */
export async function finding(
  subject: string,
  what: string,
  run: () => Promise<string | { readonly note: string }>,
): Promise<Finding> {
  try {
    const answer = await run();
    return typeof answer === 'string'
      ? { subject, what, state: 'ok', detail: answer }
      : { subject, what, state: 'note', detail: answer.note };
  } catch (error) {
    if (isCoded(error, 'ABORTED', 'INTERNAL')) throw error;
    return { subject, what, state: 'failed', detail: printable(messageOf(error), 500) };
  }
}

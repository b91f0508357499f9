/** Many items, some of which failed: the others are done, and the worst failure decides how the command ends. */
import { CodedError, ExitCode, exitCodeOf, messageOf } from '@omni-airgap/oci/base';

export interface Failure {
  readonly name: string;
  readonly error: unknown;
}

/** Wrong content is worse than a refused request, and that is worse than one to be tried again. */
const severity: readonly number[] = [
  ExitCode.integrity,
  ExitCode.refused,
  ExitCode.usage,
  ExitCode.incomplete,
];

/** lock.json lists them all. */
const mostNamed = 5;

/** One error for all of them. @param total items there were */
export function failureOf(failures: readonly Failure[], total: number): CodedError {
  const rank = (error: unknown): number => {
    const at = severity.indexOf(exitCodeOf(error));
    return at < 0 ? severity.length : at;
  };
  const [worst] = [...failures].sort((a, b) => rank(a.error) - rank(b.error));
  const message = worst === undefined ? 'nothing failed' : `${worst.name}: ${messageOf(worst.error)}`;
  const others = failures.filter((failure) => failure !== worst).map(({ name }) => name);
  const named = others.slice(0, mostNamed).join(', ');
  const more = others.length > mostNamed ? ` and ${others.length - mostNamed} more` : '';
  const rest =
    others.length === 0 ? '' : `; ${failures.length} of ${total} items failed, also ${named}${more}`;
  const code = worst?.error instanceof CodedError ? worst.error.code : 'INCOMPLETE';
  return new CodedError(code, `${message}${rest}`, { cause: worst?.error });
}

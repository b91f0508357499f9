/** Errors, strict JSON, and text for people: what every module here stands on. */

export { giveBack } from './chunk-memory.ts';
export {
  CodedError,
  type ErrorCode,
  ExitCode,
  exitCodeOf,
  isCoded,
  messageOf,
  recoded,
  systemCodeOf,
} from './errors.ts';
export {
  type JsonObject,
  type JsonValue,
  parseStrictJson,
  parseStrictObject,
  refuseOtherCase,
} from './json.ts';
export { NamePattern } from './name-pattern.ts';
export { settleAll, WorkQueue, withCleanUp } from './tasks.ts';
export { byText, formatBytes, formatTime, printable } from './text.ts';
export { Thread } from './thread.ts';

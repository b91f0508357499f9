/** Errors, strict JSON, and text for people: what every module here stands on. */

export { allDone } from './all-done.ts';
export { byText } from './by-text.ts';
export { giveBack } from './chunk-memory.ts';
export {
  CodedError,
  type ErrorCode,
  ExitCode,
  exitCodeOf,
  isCoded,
  messageOf,
  systemCodeOf,
} from './errors.ts';
export { type JsonObject, type JsonValue, parseStrictJson, parseStrictObject } from './json.ts';
export { printable } from './printable.ts';
export { formatBytes } from './size-text.ts';
export { formatTime } from './time-text.ts';

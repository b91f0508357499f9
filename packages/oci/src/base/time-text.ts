/** Times for people, on screens, in pages and in text files. */

/** `2026-01-31 09:05 UTC` @param time ISO 8601 */
export function formatTime(time: string): string {
  return `${new Date(time).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}

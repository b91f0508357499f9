/** Tasks side by side, of which none may be left running behind an error. */

/** Waits for all, then throws the first failure. @returns what they gave, in their order */
export async function allDone<T>(tasks: readonly Promise<T>[]): Promise<T[]> {
  const ended = await Promise.allSettled(tasks);
  return ended.map((one) => {
    if (one.status === 'rejected') throw one.reason;
    return one.value;
  });
}

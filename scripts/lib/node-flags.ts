/** The flags of Node.js that scripts/lib/bootstrap.sh starts the program with, for what measures and tests it. */
export const nodeFlags: readonly string[] = [
  '--max-semi-space-size=4',
  '--disable-warning=ExperimentalWarning',
];

/** The thread that checks passwords. A release has this file and its library as text inside: see scripts/release.ts. */
import { parentPort } from 'node:worker_threads';
import bcrypt from 'bcryptjs';
import type { Question } from './passwords.ts';

parentPort?.on('message', ({ password, hash }: Question) => {
  parentPort?.postMessage(bcrypt.compareSync(password, hash));
});

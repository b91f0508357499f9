/** Appends records to a journal: `journal-child.ts PATH NAME COUNT`. */
import { Journal } from '../src/fs/journal.ts';

const [path = '', name = '', count = '0'] = process.argv.slice(2);
const journal = new Journal(path);
for (let n = 0; n < Number(count); n++) await journal.append({ name, n, filler: 'x'.repeat(n * 50) });

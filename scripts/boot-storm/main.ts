/**
 * How long nodes take that boot at once, from the costs in docs/performance/serve-replicas.json:
 *
 *   node scripts/boot-storm/main.ts                        the tables of docs/scaling.md
 *   node scripts/boot-storm/main.ts --write                the same, into the page
 *   node scripts/boot-storm/main.ts --nodes 500 --replicas 2 --gigabits 10 [--redirect]    another site
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { plain } from '../benchmarks/harness/tables.ts';
import { firstBoot, freshPage, pagePath, readMeasured, sectionsOf, tableOfSites } from './report.ts';

const { values } = parseArgs({
  options: {
    write: { type: 'boolean', default: false },
    nodes: { type: 'string' },
    replicas: { type: 'string', default: '3' },
    gigabits: { type: 'string', default: '25' },
    redirect: { type: 'boolean', default: false },
  },
});
const measured = readMeasured();
if (values.nodes !== undefined) {
  const [nodes = 0, replicas = 0, gigabits = 0] = [values.nodes, values.replicas, values.gigabits].map(
    Number,
  );
  if (![nodes, replicas, gigabits].every((one) => Number.isInteger(one) && one > 0)) {
    console.error('--nodes, --replicas and --gigabits must be whole numbers above 0');
    process.exit(2);
  }
  const machine = { cores: 16, gigabits };
  const site = {
    ...{ nodes, replicas, replicasOfMachine: 8, isRedirecting: values.redirect, within: 10 },
    ...{ balancer: machine, registryCores: 16, objects: machine, replicaGigabits: gigabits, nodeGigabits: 1 },
  };
  console.log(plain(tableOfSites([site], firstBoot, measured)));
} else if (values.write) {
  const path = join(import.meta.dirname, '..', '..', pagePath);
  writeFileSync(path, freshPage(readFileSync(path, 'utf8'), measured));
} else {
  for (const text of Object.values(sectionsOf(measured))) console.log(`${text}\n`);
}

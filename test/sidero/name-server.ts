/**
 * The DNS of a site: every name below `site` is 127.0.0.1, and no other exists. Run as `node name-server.ts LOG`; it
 * listens on port 53 of 127.0.0.1 and writes the names that do not exist into the file, a line for each.
 * Source: RFC 1035 section 4.1.
 */
import { createSocket } from 'node:dgram';
import { appendFileSync, writeFileSync } from 'node:fs';

const [log = ''] = process.argv.slice(2);
const addressType = 1;
const socket = createSocket('udp4', (query, sender) => {
  const labels: string[] = [];
  let end = 12;
  for (let size = query[end] ?? 0; size > 0; size = query[end] ?? 0) {
    labels.push(query.toString('latin1', end + 1, end + 1 + size));
    end += size + 1;
  }
  const isOurs = labels.at(-1)?.toLowerCase() === 'site';
  if (!isOurs) appendFileSync(log, `${labels.join('.')}\n`);
  const hasAnswer = isOurs && query.readUInt16BE(end + 1) === addressType;
  const header = Buffer.from(query.subarray(0, 12));
  header.writeUInt16BE(isOurs ? 0x8580 : 0x8583, 2);
  [1, hasAnswer ? 1 : 0, 0, 0].forEach((count, i) => void header.writeUInt16BE(count, 4 + 2 * i));
  // The name by a pointer to the question, type A, class IN, a minute, four bytes.
  const answer = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
  const question = query.subarray(12, end + 5);
  socket.send(Buffer.concat([header, question, ...(hasAnswer ? [answer] : [])]), sender.port, sender.address);
});
socket.bind(53, '127.0.0.1', () => writeFileSync(log, ''));

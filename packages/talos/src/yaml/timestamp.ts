/** Dates and times, with all that Go's time.Parse lets pass for the four layouts the library tries. */
import { Timestamp } from './value.ts';

const datePattern = /^(\d{4})-(\d{1,2})-(\d{1,2})/;
/** `T` or `t` and a zone, or spaces and none. A fraction may follow a comma too; digits behind the ninth are lost. */
const timePattern =
  /^(?:[Tt](\d{1,2}):(\d{1,2}):(\d{1,2})([.,]\d+)?(Z|[+-]\d\d:\d\d)| +(\d{1,2}):(\d{1,2}):(\d{1,2})([.,]\d+)?)$/;

const pad = (value: number, width = 2): string => String(value).padStart(width, '0');

function daysIn(year: number, month: number): number {
  if (month === 2) return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 29 : 28;
  return [4, 6, 9, 11].includes(month) ? 30 : 31;
}

interface Zone {
  /** As it is written back. */
  readonly text: string;
  /**
   * Go compares times by the address of their zone: one each for UTC, for an offset of zero (the local zone of a
   * factory) and for whole hours from -12 to 14; others are made anew for each time, and equal to none.
   */
  readonly isShared: boolean;
  readonly isLocal: boolean;
}

const utc: Zone = { text: 'Z', isShared: true, isLocal: false };

/** Undefined when it is out of range. Up to 24:60 is let through. */
function zoneOf(zone: string): Zone | undefined {
  if (zone === 'Z') return utc;
  const hours = Number(zone.slice(1, 3));
  const minutes = Number(zone.slice(4));
  if (hours > 24 || minutes > 60) return undefined;
  const total = hours * 60 + minutes;
  if (total === 0) return { text: 'Z', isShared: true, isLocal: true };
  const sign = zone.charAt(0);
  return {
    text: `${sign}${pad(Math.floor(total / 60))}:${pad(total % 60)}`,
    isShared: total % 60 === 0 && total <= (sign === '-' ? 12 : 14) * 60,
    isLocal: false,
  };
}

function timestamp(moment: string, zone: Zone): Timestamp {
  const text = moment + zone.text;
  return new Timestamp(
    text,
    zone.isShared ? `timestamp ${text}${zone.isLocal ? ' local' : ''}` : Symbol(text),
  );
}

/** Undefined for text that is no date or time. */
export function parseTimestamp(text: string): Timestamp | undefined {
  const date = datePattern.exec(text);
  if (date === null) return undefined;
  const [year, month, day] = [Number(date[1]), Number(date[2]), Number(date[3])];
  if (month < 1 || month > 12 || day < 1 || day > daysIn(year, month)) return undefined;
  const rest = text.slice(date[0].length);
  const dateText = `${pad(year, 4)}-${pad(month)}-${pad(day)}`;
  if (rest === '') return timestamp(`${dateText}T00:00:00`, utc);
  const time = timePattern.exec(rest);
  if (time === null) return undefined;
  const [hour, minute, second] = [
    Number(time[1] ?? time[6]),
    Number(time[2] ?? time[7]),
    Number(time[3] ?? time[8]),
  ];
  const zone = zoneOf(time[5] ?? 'Z');
  if (hour > 23 || minute > 59 || second > 59 || zone === undefined) return undefined;
  const fraction = (time[4] ?? time[9] ?? '').slice(1, 10).replace(/0+$/, '');
  return timestamp(
    `${dateText}T${pad(hour)}:${pad(minute)}:${pad(second)}${fraction === '' ? '' : `.${fraction}`}`,
    zone,
  );
}

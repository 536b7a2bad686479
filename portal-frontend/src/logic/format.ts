/** Numbers and times as people say them. Pure: the present is an argument. */

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** `3 minutes`, `2 hours`, `5 days`: one unit, rounded down. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < MINUTE) return count(whole, 'second');
  if (whole < HOUR) return count(Math.floor(whole / MINUTE), 'minute');
  if (whole < 2 * DAY) return count(Math.floor(whole / HOUR), 'hour');
  return count(Math.floor(whole / DAY), 'day');
}

/** `just now`, `3 minutes ago`, `in 12 days`; nothing for a time that is not known. */
export function relative(at: string | null | undefined, now: number): string | undefined {
  const time = parse(at);
  if (time === undefined) return undefined;
  const seconds = (time - now) / 1000;
  if (Math.abs(seconds) < 5) return 'just now';
  return seconds < 0 ? `${duration(-seconds)} ago` : `in ${duration(seconds)}`;
}

/** Date and time in the reader's own way of writing. */
export function dateTime(at: string | null | undefined): string | undefined {
  const time = parse(at);
  if (time === undefined) return undefined;
  return new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' }).format(
    time,
  );
}

/** `12.3 MB`: powers of 1000, as in app specifications. */
export function bytes(value: number): string {
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  let size = Math.max(0, value);
  let unit = 0;
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || size >= 99.95 ? 0 : 1;
  return `${size.toFixed(digits)} ${units[unit]}`;
}

/** `1 app`, `2 apps`. */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

/** `4:05`, for a countdown. */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.ceil(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`;
}

/** `router-proxy`, `back_off` → `Router proxy`, `Back off`. */
export function spoken(name: string): string {
  const words = name.replace(/[-_]/g, ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function parse(at: string | null | undefined): number | undefined {
  if (at === null || at === undefined) return undefined;
  const time = Date.parse(at);
  return Number.isNaN(time) ? undefined : time;
}

/** Whether a date survives seconds as a float; from about the year 140,000 on some do not. */
export function isExactDate(date: Date): boolean {
  const ms = date.getTime();
  return Number.isNaN(ms) || Math.round(ms / 1000 * 1000) === ms;
}

/** Two lines of docs/performance.md; what is between them is made by a command. */
export type Marks = readonly [begin: string, end: string];

/** Replaces what is between the marks. @throws {Error} if they are not there. */
export function replaceBetween([begin, end]: Marks, document: string, text: string): string {
  const from = document.indexOf(begin), to = document.indexOf(end);
  if (from < 0 || to < from) {
    throw new Error(`Cannot write docs/performance.md: it lacks the lines ${begin} and ${end}.`);
  }
  return `${document.slice(0, from + begin.length)}\n\n${text}\n\n${document.slice(to)}`;
}

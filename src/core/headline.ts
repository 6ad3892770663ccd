/** What a message of many lines says, in one: its first line, and the next one if that only announces it. */
export function headline(message: string): string {
  const [first = "", second = ""] = message.split("\n").map((line) => line.trim()).filter((line) =>
    line !== ""
  );
  return first.endsWith(":") && second !== "" ? `${first} ${second}` : first;
}

import { printable } from "../base/printable.ts";
import type { Attempt } from "./types.ts";

/** What a message of many lines says, in one: its first line, and the next one if that only announces it. */
export function headline(message: string): string {
  const [first = "", second = ""] = message.split("\n").map((line) => line.trim()).filter((line) =>
    line !== ""
  );
  return first.endsWith(":") && second !== "" ? `${first} ${second}` : first;
}

/** `FILE:LINE:COLUMN` of the first frame of the stack in a message of many lines; empty if there is none. */
export function placeIn(message: string): string {
  for (const line of message.split("\n")) {
    const frame = /^\s*at (?:.*\()?(?:file:\/\/)?((?:\/|[A-Za-z]:[\\/]).*:\d+:\d+)\)?$/.exec(line);
    if (frame !== null) return frame[1]!;
  }
  return "";
}

/** Where a fault of the code lies, whose message does not tell: ` (plugin.ts:12:7)`; empty of any other failure. */
export function placeOfFault({ message, stack }: Pick<Attempt, "message" | "stack">): string {
  if (!/^(?:Type|Reference|Range|Syntax)Error\b/.test(message)) return "";
  const [, place] = /\n\s*at (?!.*\b(?:node|bun|ext):).*?([^/\\(\s]+:\d+:\d+)\)?(?:\n|$)/.exec(stack) ?? [];
  return place === undefined ? "" : ` (${printable(place, 100)})`;
}

import { Console } from "node:console";
import { LineStream } from "./line_stream.ts";

/**
 * Sends what a plugin writes with `console` to `writeLine`, a line at a time: stdout is for data, and stderr has a
 * status. What only a debugger sees (`profile`, `timeStamp`) is left as it is.
 */
export function redirectConsole(writeLine: (line: string) => void): void {
  const stream = new LineStream(writeLine);
  const made = new Console({ stdout: stream, stderr: stream, colorMode: false });
  const own = globalThis.console as unknown as Record<string, unknown>;
  for (const name of Object.getOwnPropertyNames(own)) {
    const method = (made as unknown as Record<string, unknown>)[name];
    if (typeof method === "function") own[name] = method.bind(made);
  }
  // Bun's alone.
  if (typeof own["write"] === "function") own["write"] = (...texts: unknown[]) => writeAll(stream, texts);
}

function writeAll(stream: LineStream, texts: readonly unknown[]): number {
  const text = texts.map((part) => part instanceof Uint8Array ? new TextDecoder().decode(part) : String(part))
    .join("");
  stream.write(text);
  return text.length;
}

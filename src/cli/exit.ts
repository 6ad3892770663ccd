import { endProcess, programEnded } from "../base/exit_guard.ts";

/** Ends the process once stdout and stderr have taken what was written, whatever else is still open. */
export async function exit(code: number): Promise<never> {
  programEnded(code);
  await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
  return endProcess(code);
}

/** A reader that went away is no reason to stay. Nor is a plugin that put another `write` over the stream's own. */
function flushed(stream: NodeJS.WriteStream): Promise<void> {
  const { write } = Object.getPrototypeOf(stream) as NodeJS.WriteStream;
  return new Promise((resolve) => write.call(stream, "", "utf8", () => resolve()));
}

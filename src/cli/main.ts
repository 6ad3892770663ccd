import { TaskmasterError } from "../base/errors.ts";
import { readCommandLine } from "./command_line.ts";
import { commands } from "./commands.ts";

/**
 * Runs the program: `argv` are the words behind its name. Resolves with the exit code, and never rejects: an
 * error that a person can mend is shown as its sentence, any other with its stack, as exit code 1.
 */
export async function main(argv: readonly string[]): Promise<number> {
  try {
    // Before anything of a plugin is loaded, nor any process started: neither may find it there.
    const tokenText = process.env["TASKMASTER_TOKEN"];
    delete process.env["TASKMASTER_TOKEN"];
    if (argv[0] === "worker") return await runWorker();
    const line = readCommandLine(argv);
    const command = await commands[line.command].load();
    return await command({ line, argv, env: process.env, tokenText });
  } catch (error) {
    return report(error);
  }
}

async function runWorker(): Promise<number> {
  const { runWorker } = await import("../worker/" + "run_worker.ts");
  await runWorker();
  return 0;
}

/** Shows an error that ends the program, and says what it exits with. */
export function report(error: unknown): number {
  if (error instanceof TaskmasterError) {
    process.stderr.write(`taskmaster: ${error.message}\n`);
    return error.exitCode;
  }
  const text = error instanceof Error ? error.stack ?? `${error.name}: ${error.message}` : String(error);
  process.stderr.write(
    `taskmaster: unexpected error; the run can be resumed with the same command.\n${text}\n`,
  );
  return 1;
}

import type { CommandName, OptionName } from "./options.ts";

/** For one start only: left in the environment, it would start every resume over. */
const flagsOnly: readonly OptionName[] = ["reset", "force"];

/** The variable that sets an option for a command. */
export function environmentName(name: OptionName, command: CommandName): string | undefined {
  if (flagsOnly.includes(name)) return undefined;
  if (name === "host") {
    return command === "master" ? "TASKMASTER_LISTEN" : command === "run" ? undefined : "TASKMASTER_HOST";
  }
  return `TASKMASTER_${name.toUpperCase().replaceAll("-", "_")}`;
}

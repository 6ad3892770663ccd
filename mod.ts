export * from "./src/base/errors.ts";
export type { Context, JobContext, Jobs, Plugin, PluginLog, Summary } from "./src/plugin/types.ts";
export { main } from "./src/cli/main.ts";
import { main } from "./src/cli/main.ts";

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));

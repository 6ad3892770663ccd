import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";
import { join } from "node:path";
import { bun, deno, root } from "../test/kit/runtimes.ts";
import { jobsOf } from "./systems.ts";

/** Where, when and with what it was measured: paragraphs of the document. Called before anything is measured. */
export function circumstances(rounds: number, isQuick: boolean): string[] {
  const model = cpus()[0]?.model.trim() ?? "unknown CPU";
  const memory = Math.round(totalmem() / 2 ** 30);
  const version = (command: string, ...args: string[]) =>
    execFileSync(command, args, { encoding: "utf8", cwd: root }).split("\n")[0]!.trim();
  const cborX = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).dependencies["cbor-x"];
  const count = (jobs: number) => jobs.toLocaleString("en-US");
  return [
    `Measured on ${
      new Date().toISOString().slice(0, 10)
    }: ${cpus().length} cores (${model}), ${memory} GiB, ` +
    `Linux ${release()}; Bun ${version(bun, "--version")}, ${version(deno, "--version")}, cbor-x ${cborX}; ` +
    `load average before it ${
      loadavg()[0]!.toFixed(1)
    }; ${rounds} interleaved rounds, median (least to most).`,
    `A round of taskmaster or of the bare loop is ${count(jobsOf.binary.small)} small jobs or ` +
    `${
      count(jobsOf.binary.row)
    } rows, under Deno half of that: some ten seconds, as are those of peers with ` +
    "clients in Bun, since the rate of two or three is that of code being compiled. Rates of shorter and longer " +
    'runs stand under "Growth" below.',
    ...isQuick ? ["**Small counts (`--quick`): they show that it works, not how fast it is.**"] : [],
  ];
}

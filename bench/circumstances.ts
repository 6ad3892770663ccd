import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";
import { join } from "node:path";
import { bun, deno, root } from "./rig.ts";

/** Where, when and with what it was measured: paragraphs of the document. Called before anything is measured. */
export function circumstances(rounds: number, isQuick: boolean): string[] {
  const model = cpus()[0]?.model.trim() ?? "unknown CPU";
  const memory = Math.round(totalmem() / 2 ** 30);
  const version = (command: string, ...args: string[]) =>
    execFileSync(command, args, { encoding: "utf8", cwd: root }).split("\n")[0]!.trim();
  const cborX = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).dependencies["cbor-x"];
  return [
    `Measured on ${
      new Date().toISOString().slice(0, 10)
    }: ${cpus().length} cores (${model}), ${memory} GiB, ` +
    `Linux ${release()}; Bun ${version(bun, "--version")}, ${version(deno, "--version")}, cbor-x ${cborX}; ` +
    `load average before it ${
      loadavg()[0]!.toFixed(1)
    }; ${rounds} interleaved rounds, median (least to most).`,
    ...isQuick ? ["**Small counts (`--quick`): they show that it works, not how fast it is.**"] : [],
  ];
}

import { join } from "node:path";
import type { Rig } from "../rig.ts";
import type { Load, System } from "../system.ts";
import { findProgram, python, pythonEnv } from "./versions.ts";

const program = join(import.meta.dirname!, "manager_queue.py");
const slaves = 2;

export const manager: System = {
  id: "manager",
  label: "multiprocessing manager",
  kind: "peer",
  setting: "`queue.Queue(10000)` served by Python's `BaseManager`, filled in the same process; " +
    `${slaves} slaves call \`get\` and \`task_done\` for each job. In memory; a slave's death loses its job`,
  jobs: { small: 15_000, row: 15_000 },
  find: () => findProgram(python, ["--version"], "python3"),
  async run({ shape, jobs }: Load, rig: Rig) {
    const master = rig.start(python, [program, "master", shape, String(jobs), String(slaves)], pythonEnv);
    const [, port] = await master.printed(/^port (\d+)\n/m);
    for (let at = 0; at < slaves; at++) rig.start(python, [program, "slave", port!], pythonEnv);
    return rig.measure(master);
  },
};

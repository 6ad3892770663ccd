import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Rig } from "../rig.ts";
import { makerOf } from "../rows.ts";
import type { Load, System } from "../system.ts";
import { findProgram } from "./versions.ts";

export const parallel: System = {
  id: "parallel",
  label: "GNU parallel",
  kind: "peer",
  setting:
    "`parallel -j2 true` over lines of JSON: a process for each job, no log of finished ones (`--joblog`)",
  jobs: { small: 500, row: 500 },
  find: () => findProgram("parallel", ["--version"], "parallel"),
  async run({ shape, jobs }: Load, rig: Rig) {
    const lines = join(rig.folder, "lines");
    const make = makerOf(shape);
    writeFileSync(lines, Array.from({ length: jobs }, (_, id) => `${JSON.stringify(make(id))}\n`).join(""));
    // its start is a part of it: nothing of it outlives the jobs
    const script = 'echo begin; parallel --will-cite -j2 -a "$1" true && echo end';
    return rig.measure(rig.start("sh", ["-c", script, "sh", lines]));
  },
};

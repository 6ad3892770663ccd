import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { median } from "../statistics.ts";
import { atMost, type Load, shown } from "./load.ts";
import type { Program, ToldEvent } from "../../test/kit/program.ts";
import { portOf } from "../../test/kit/scenario.ts";
import { Place, pluginPath } from "./place.ts";
import { nowMs } from "./times.ts";

/** How soon a job whose slave was killed begins at another slave. */
export const requeue: Load = {
  name: "requeue",
  about: "Two slaves, one of them killed (SIGKILL) while it runs a job: until that job begins at the other",
  async measure(isQuick) {
    const samples = isQuick ? 3 : 12;
    using place = new Place();
    const master = place.taskmaster("master", pluginPath("requeued"), [
      `dir=${place.folder}`,
      `jobs=${samples}`,
    ]);
    const port = await portOf(master);
    const slaves = [startSlave(place, port)];
    const found: number[] = [];
    for (let id = 0; id < samples; id++) {
      slaves.push(startSlave(place, port));
      await master.event((event) => event.event === "joined" && indexOf(master, event) === id + 1);
      await pause(300); // until its worker is ready too
      writeFileSync(join(place.folder, `go-${id}`), "");
      const pid = Number(await contents(place, `begun-${id}`));
      const killedMs = nowMs();
      slaves.find((slave) => slave.pid === pid)!.process.kill("SIGKILL");
      found.push(Number(await contents(place, `again-${id}`)) - killedMs);
    }
    const spread = ` (${shown(Math.min(...found))} to ${shown(Math.max(...found))})`;
    return {
      rows: [atMost("SIGKILL to the job's second beginning, median", median(found), 100, "ms", spread)],
    };
  },
};

function startSlave(place: Place, port: number): Program {
  return place.taskmaster("slave", pluginPath("requeued"), ["--host", `127.0.0.1:${port}`, "--procs", 1]);
}

function indexOf(master: Program, event: ToldEvent): number {
  return master.events("joined").indexOf(event);
}

async function contents(place: Place, name: string): Promise<string> {
  const path = join(place.folder, name);
  for (let tries = 0; tries < 3000 && existsSync(place.folder); tries++) {
    const text = existsSync(path) ? readFileSync(path, "utf8") : "";
    if (text !== "") return text;
    await pause(5);
  }
  throw new Error(`No handler wrote ${name}`);
}

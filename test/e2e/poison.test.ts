import t from "tap";
import { Scenario } from "../kit/scenario.ts";
import { MemoryCage } from "./memory_cage.ts";
import { poison, type PoisonPlan } from "./poison.ts";

// A part of `npm run poison`: each way to die, in the sizes in which it is hardest to tell who it was.

const plans: readonly PoisonPlan[] = [
  { how: "kill", restart: "SIGKILL", pauseMs: 0, concurrency: 100, procs: 1, killers: 2 },
  { how: "exit", restart: "SIGINT", pauseMs: 20, concurrency: 100, procs: 2, killers: 2 },
  { how: "outside", restart: "SIGKILL", pauseMs: 20, concurrency: 1, procs: 2, killers: 2 },
];

for (const plan of plans) {
  const { how, pauseMs, concurrency, procs, killers, restart } = plan;
  const sizes = `${killers} killers, ${pauseMs} ms, ${concurrency} at once, ${procs} workers, ${restart}`;
  t.test(`jobs that end their worker, ${how}: ${sizes}`, async (t) => {
    const scenario = new Scenario();
    t.teardown(() => scenario.end());
    const { problems } = await poison(scenario, plan);
    t.same(problems, []);
  });
}

const cage = MemoryCage.open(400 << 20);
const skip = typeof cage === "string" && cage;
t.test("jobs that are killed for want of memory", { skip }, async (t) => {
  if (typeof cage === "string") return;
  const scenario = new Scenario();
  t.teardown(async () => {
    await scenario.end();
    cage.close();
  });
  const sizes = { pauseMs: 20, concurrency: 4, procs: 2, killers: 1 };
  const { problems } = await poison(scenario, {
    how: "memory",
    restart: "SIGINT",
    ...sizes,
    within: cage.within,
  });
  t.same(problems, []);
  t.match(scenario.deadLetters()[0]?.attempts[0]?.error, /SIGKILL/);
});

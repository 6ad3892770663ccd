import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import t from "tap";
import { interpreters } from "../kit/runtimes.ts";

const script = fileURLToPath(new URL("./promises.ts", import.meta.url));

function answersIn(
  [command, ...args]: readonly string[],
): { runtime: string; answers: object; asked: number } {
  const { stdout, stderr, status } = spawnSync(command!, [...args, script], {
    encoding: "utf8",
    timeout: 60_000,
  });
  if (status !== 0) throw new Error(`${command} ended with ${status}: ${stderr}`);
  return JSON.parse(stdout);
}

const kinds = {
  "awaits nothing": "done",
  "awaits": "done",
  "awaits what is there": "done",
  "rejects at once": "failed",
  "skips at once": "skipped",
  "never read": "done",
  "disguised": "done",
  "lazy": "done",
};

/** What is answered at once, and how it ends in any case. */
function expected(atOnce: readonly string[]): object {
  return Object.fromEntries(
    Object.entries(kinds).map(([name, kind]) => [name, { isAtOnce: atOnce.includes(name), kind }]),
  );
}

t.test("in Bun an async handler that awaits nothing is answered as one that is not async", async (t) => {
  const { runtime, answers, asked } = answersIn(interpreters.bun);
  t.equal(runtime, "bun");
  t.equal(asked, 1, "one whose work begins with `then` has begun it");
  t.same(answers, expected(["awaits nothing", "skips at once", "never read"]));
});

t.test("elsewhere it is answered as soon as that is known", async (t) => {
  const { runtime, answers, asked } = answersIn(interpreters.deno);
  t.equal(runtime, "other");
  t.equal(asked, 1);
  t.same(answers, expected([]));
});

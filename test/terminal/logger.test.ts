import t from "tap";
import { makeLog } from "../../src/terminal/logger.ts";

function logger(format: "text" | "json", level: "debug" | "info" | "warn" | "error" = "info") {
  const lines: string[] = [];
  return {
    lines,
    log: makeLog({ level, format, isQuiet: false, colours: false, write: (line) => lines.push(line) }),
  };
}

t.test("makeLog() writes one line a message, with its fields", async (t) => {
  const { lines, log } = logger("text");
  log("warn", "Slave left", { slave: "web1", jobs: 3 });
  t.equal(lines.length, 1);
  t.match(lines[0], /^\[\d\d:\d\d:\d\d\] WARN: Slave left \{"slave":"web1","jobs":3\}$/);
});

t.test("makeLog() leaves out what is less serious than its level", async (t) => {
  const { lines, log } = logger("text", "warn");
  log("debug", "a");
  log("info", "b");
  log("warn", "c");
  log("error", "d");
  t.equal(lines.length, 2);
});

t.test("makeLog() lets no foreign text break the line, or out of it", async (t) => {
  const hostile = "x\n\u001b[2J\u202e\u009b";
  const cycle: Record<string, unknown> = {};
  cycle["self"] = cycle;
  for (const format of ["text", "json"] as const) {
    const { lines, log } = logger(format);
    log("info", hostile, {
      hostile,
      [hostile]: 1,
      error: new Error(hostile),
      deep: { hostile },
      long: "y".repeat(10_000),
      cycle,
      big: 5n,
      bytes: new Uint8Array(3),
    });
    t.equal(lines.length, 1);
    t.notMatch(lines[0], /[\p{Cc}\p{Cf}]/u, format);
    t.ok(lines[0]!.length < 2_000, format);
  }
});

t.test("makeLog() as JSON is one object a line", async (t) => {
  const { lines, log } = logger("json");
  log("error", "no", { port: 5 });
  t.match(JSON.parse(lines[0]!), { level: "error", msg: "no", port: 5, time: /^\d{4}-.*Z$/ });
});

t.test("makeLog() keeps its own names to itself", async (t) => {
  const { lines, log } = logger("json");
  log("info", "yes", { msg: "no", level: "error" });
  t.match(JSON.parse(lines[0]!), { level: "info", msg: "yes", msg_: "no", level_: "error" });
});

t.test("makeLog() shows the fields that pino has names for like any other", async (t) => {
  const { lines, log } = logger("text");
  log("info", "yes", { pid: 5, hostname: "web1", name: "n", caller: "c" });
  t.match(lines[0], /INFO: yes \{"pid":5,"hostname":"web1","name":"n","caller":"c"\}$/);
});

const stack = "TypeError: no\u001b[2J\n    at f (/srv/x.ts:3:5)\n    at g (/srv/\u202ey.ts:1:1)\n";

t.test("makeLog() shows a stack as lines, none of which can pass for a line of the log", async (t) => {
  const { lines, log } = logger("text");
  log("error", stack, {
    slave: "web1",
    cause: `Error: why\n[00:00:00] INFO: forged\n    at h (/srv/z.ts:1:1)`,
  });
  t.equal(lines.length, 1, "written at once");
  t.same(lines[0]!.split("\n").map((line) => line.replace(/^\[\d\d:\d\d:\d\d\]/, "[time]")), [
    '[time] ERROR: TypeError: no\\e[2J {"slave":"web1"}',
    "        at f (/srv/x.ts:3:5)",
    "        at g (/srv/\\u202ey.ts:1:1)",
    "    cause: Error: why",
    "    [00:00:00] INFO: forged",
    "        at h (/srv/z.ts:1:1)",
  ]);
});

t.test("makeLog() as JSON keeps a stack in one line, its breaks as JSON writes them", async (t) => {
  const { lines, log } = logger("json");
  log("error", stack, { cause: stack });
  t.equal(lines.length, 1);
  t.notMatch(lines[0], "\n");
  const shown = "TypeError: no\\e[2J\n    at f (/srv/x.ts:3:5)\n    at g (/srv/\\u202ey.ts:1:1)";
  t.match(JSON.parse(lines[0]!), { msg: shown, cause: shown });
});

import t from "tap";
import { makeLog } from "../../src/terminal/logger.ts";

function logger(format: "text" | "json", level: "debug" | "info" | "warn" | "error" = "info") {
  const lines: string[] = [];
  return { lines, log: makeLog({ level, format, colours: false, write: (line) => lines.push(line) }) };
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

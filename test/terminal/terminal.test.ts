import { PassThrough } from "node:stream";
import t from "tap";
import { Terminal, type TerminalOptions } from "../../src/terminal/terminal.ts";

function terminal(more: Partial<TerminalOptions> = {}, tty: object = {}) {
  const stream = new PassThrough();
  let text = "";
  stream.on("data", (chunk) => text += chunk);
  const output = Object.assign(stream, tty) as TerminalOptions["output"];
  const options = {
    output,
    level: "info",
    format: "text",
    isQuiet: false,
    hasStatus: true,
    env: {},
    ...more,
  } as const;
  return { terminal: new Terminal(options), text: () => text };
}

const colourful = { isTTY: true, columns: 80, rows: 24, hasColors: () => true };

t.test("Terminal with --quiet says warnings and errors only", async (t) => {
  const { terminal: quiet, text } = terminal({ isQuiet: true });
  quiet.say("hello");
  quiet.log("info", "news");
  quiet.log("warn", "careful");
  t.notOk(quiet.hasStatus);
  t.match(text(), /^\[[\d:]+\] WARN: careful\n$/);
});

t.test("Terminal with JSON logs writes nothing but JSON lines", async (t) => {
  const { terminal: json, text } = terminal({ format: "json" }, colourful);
  json.say("Taskmaster server running on '0.0.0.0:5050'");
  json.status(() => "Current Job: 1");
  json.log("error", "no");
  t.notOk(json.isLive, "and nothing is redrawn");
  t.same(text().trimEnd().split("\n").map((line) => JSON.parse(line).msg), [
    "Taskmaster server running on '0.0.0.0:5050'",
    "Current Job: 1",
    "no",
  ]);
});

const colours: readonly (readonly [string, object, Record<string, string>, boolean])[] = [
  ["a terminal that has colours", colourful, {}, true],
  ["NO_COLOR", colourful, { NO_COLOR: "1" }, false],
  ["an empty NO_COLOR", colourful, { NO_COLOR: "" }, true],
  ["a terminal without colours", { ...colourful, hasColors: () => false }, {}, false],
  ["a pipe", { hasColors: () => true }, {}, false],
];
for (const [what, tty, env, expected] of colours) {
  t.test(`Terminal and colours: ${what}`, async (t) => {
    const { terminal: coloured, text } = terminal({ env }, tty);
    coloured.log("info", "news");
    t.equal(text().includes("\u001b["), expected);
  });
}

t.test("Terminal outlives a reader that went away", async (t) => {
  const { terminal: broken } = terminal();
  const output = new PassThrough();
  new Terminal({ output, level: "info", format: "text", isQuiet: false, hasStatus: true, env: {} });
  t.doesNotThrow(() => output.emit("error", new Error("EPIPE")));
  broken.close();
});

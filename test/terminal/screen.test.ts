import { PassThrough } from "node:stream";
import t from "tap";
import { type Output, Screen } from "../../src/terminal/screen.ts";

const escape = "\u001b";

function output(isTTY: boolean, columns = 40): Output & { text: () => string } {
  const stream = new PassThrough();
  let text = "";
  stream.on("data", (chunk) => text += chunk);
  return Object.assign(stream, { isTTY, columns, rows: 24, text: () => text });
}

const pieces = new RegExp(`${escape}\\[\\d*[A-Za-z]|\\n|[^${escape}\\n]+`, "g");

/** What a terminal shows of what was written to it: enough of one for cursor up, erase line and column 1. */
function shown(text: string): string[] {
  const lines = [""];
  let row = 0;
  for (const [part] of text.matchAll(pieces)) {
    if (part === "\n") lines[++row] ??= "";
    else if (/\[\d*A$/.test(part)) row -= Number(/\d+/.exec(part)?.[0] ?? 1);
    else if (part.endsWith("[2K")) lines[row] = "";
    else if (!part.startsWith("\u001b")) lines[row] += part;
  }
  return lines;
}

t.test("off a terminal, Screen writes lines and not one escape", async (t) => {
  const out = output(false);
  const screen = new Screen(out);
  screen.line("hello");
  screen.status("Current Job: 1");
  screen.status("Current Job: 2");
  screen.close();
  t.equal(out.text(), "hello\nCurrent Job: 1\nCurrent Job: 2\n");
});

t.test("on a terminal, Screen redraws the status below the lines", async (t) => {
  const out = output(true);
  const screen = new Screen(out);
  screen.status("Current Job: 1");
  screen.line("first");
  screen.status("Current Job: 2");
  screen.line("second");
  t.same(shown(out.text()), ["first", "second", "Current Job: 2", ""]);
  screen.close();
  screen.line("Finished");
  t.same(shown(out.text()), ["first", "second", "Current Job: 2", "Finished", ""], "the last status stays");
  screen.status("Current Job: 3");
  t.same(shown(out.text()).length, 5, "and none comes after it");
});

t.test("on a terminal, Screen cuts the status to its width", async (t) => {
  const out = output(true, 30);
  new Screen(out).status("x".repeat(100));
  t.equal(out.text(), `${"x".repeat(28)}…\n`);
});

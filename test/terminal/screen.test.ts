import { PassThrough } from "node:stream";
import t from "tap";
import { lineOverStatus, type Output, Screen } from "../../src/terminal/screen.ts";

function output(isTTY: boolean, columns = 40): Output & { text: () => string } {
  const stream = new PassThrough();
  let text = "";
  stream.on("data", (chunk) => text += chunk);
  return Object.assign(stream, { isTTY, columns, rows: 24, text: () => text });
}

/** What a terminal shows of what was written to it: enough of one for carriage return and erase to the end. */
function shown(text: string): string[] {
  const lines = [""];
  for (const [part] of text.replaceAll("\u001b[K", "").matchAll(/[\r\n]|[^\r\n]+/g)) {
    if (part === "\n") lines.push("");
    else if (part.startsWith("\r")) lines[lines.length - 1] = "";
    else lines[lines.length - 1] += part;
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
  t.same(shown(out.text()), ["first", "Current Job: 1"]);
  screen.status("Current Job: 2");
  screen.line("second");
  t.same(shown(out.text()), ["first", "second", "Current Job: 2"]);
  screen.close();
  screen.line("Finished");
  t.same(shown(out.text()), ["first", "second", "Current Job: 2", "Finished", ""], "the last status stays");
  screen.status("Current Job: 3");
  t.same(shown(out.text()).length, 5, "and none comes after it");
});

t.test("on a terminal, what another process wrote is not erased", async (t) => {
  const out = output(true);
  const screen = new Screen(out);
  screen.status("Current Job: 1");
  lineOverStatus(out, "a worker's line");
  screen.status("Current Job: 2");
  out.write(" native text\n");
  screen.status("Current Job: 3");
  t.same(shown(out.text()), ["a worker's line", "Current Job: 2 native text", "Current Job: 3"]);
});

t.test("on a terminal, Screen cuts the status to its width, wide characters counted twice", async (t) => {
  const out = output(true, 30);
  const screen = new Screen(out);
  screen.status("x".repeat(100));
  t.same(shown(out.text()), [`${"x".repeat(28)}…`]);
  screen.status("語".repeat(100));
  t.same(shown(out.text()), [`${"語".repeat(14)}…`]);
  screen.status("x".repeat(28));
  t.same(shown(out.text()), ["x".repeat(28)], "what fits is whole");
});

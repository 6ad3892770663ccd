import { PassThrough } from "node:stream";
import t from "tap";
import { Foreground, lineOverStatus, type Output, Screen } from "../../src/terminal/screen.ts";
import { cutToWidth } from "../../src/terminal/text_width.ts";

function output(isTTY: boolean, columns = 40): Output & { text: () => string } {
  const stream = new PassThrough();
  let text = "";
  stream.on("data", (chunk) => text += chunk);
  return Object.assign(stream, { isTTY, columns, rows: 24, text: () => text });
}

function screenOn(output: Output, more: { term?: string; isForeground?: () => boolean } = {}): Screen {
  return new Screen({ output, term: "xterm", isForeground: () => true, ...more });
}

/** A status of this text, cut where the terminal ends. */
const line = (text: string) => (columns: number) => cutToWidth(text, columns);

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
  const screen = screenOn(out);
  screen.line("hello");
  screen.status(line("Current Job: 1"));
  screen.status(line("Current Job: 2"));
  screen.close();
  t.equal(out.text(), "hello\nCurrent Job: 1\nCurrent Job: 2\n");
});

t.test("on a terminal, Screen redraws the status below the lines", async (t) => {
  const out = output(true);
  const screen = screenOn(out);
  screen.status(line("Current Job: 1"));
  screen.line("first");
  t.same(shown(out.text()), ["first", "Current Job: 1"]);
  screen.status(line("Current Job: 2"));
  screen.line("second");
  t.same(shown(out.text()), ["first", "second", "Current Job: 2"]);
  screen.close();
  screen.line("Finished");
  t.same(shown(out.text()), ["first", "second", "Current Job: 2", "Finished", ""], "the last status stays");
  screen.status(line("Current Job: 3"));
  t.same(shown(out.text()).length, 5, "and none comes after it");
});

t.test("on a terminal, what another process wrote is not erased", async (t) => {
  const out = output(true);
  const screen = screenOn(out);
  screen.status(line("Current Job: 1"));
  lineOverStatus(out, "a worker's line", () => true);
  screen.status(line("Current Job: 2"));
  out.write(" native text\n");
  screen.status(line("Current Job: 3"));
  t.same(shown(out.text()), ["a worker's line", "Current Job: 2 native text", "Current Job: 3"]);
});

t.test("on a terminal, Screen cuts the status to its width, wide characters counted twice", async (t) => {
  const out = output(true, 30);
  const screen = screenOn(out);
  screen.status(line("x".repeat(100)));
  t.same(shown(out.text()), [`${"x".repeat(28)}…`]);
  screen.status(line("語".repeat(100)));
  t.same(shown(out.text()), [`${"語".repeat(14)}…`]);
  screen.status(line("x".repeat(28)));
  t.same(shown(out.text()), ["x".repeat(28)], "what fits is whole");
});

t.test("on a terminal that says 0 columns, or nothing, Screen takes it for one of 80", async (t) => {
  for (const columns of [0, NaN]) {
    const out = output(true, columns);
    screenOn(out).status(line("x".repeat(100)));
    t.same(shown(out.text()), [`${"x".repeat(78)}…`]);
  }
});

t.test("a terminal that becomes narrower gets a status that fits", async (t) => {
  const out = output(true, 60);
  const screen = screenOn(out);
  screen.status(line("x".repeat(50)));
  Object.assign(out, { columns: 20 });
  screen.line("a log line");
  t.same(shown(out.text()), ["a log line", `${"x".repeat(18)}…`]);
});

t.test("on a dumb terminal, Screen writes not one escape", async (t) => {
  const out = output(true);
  const screen = screenOn(out, { term: "dumb" });
  screen.status(line("Current Job: 1"));
  screen.line("hello");
  screen.close();
  t.notOk(screen.isLive);
  t.equal(out.text(), "Current Job: 1\nhello\n");
});

t.test("in the background, Screen writes lines; fetched back, it draws again", async (t) => {
  const out = output(true);
  let isForeground = true;
  const screen = screenOn(out, { isForeground: () => isForeground });
  screen.status(line("Current Job: 1"));
  isForeground = false;
  // What the shell writes meanwhile.
  out.write("^Z\n[1]+ Stopped\n$ ");
  const before = out.text().length;
  screen.line("a log line");
  screen.status(line("Current Job: 2"));
  t.equal(
    out.text().slice(before),
    "a log line\nCurrent Job: 2\n",
    "nothing is erased, not even the old status",
  );
  isForeground = true;
  screen.line("another");
  screen.status(line("Current Job: 3"));
  t.same(shown(out.text()).slice(-2), ["another", "Current Job: 3"]);
  isForeground = false;
  const last = out.text().length;
  screen.close();
  t.equal(out.text().slice(last), "", "no line of the shell's is ended");
});

t.test("lineOverStatus() erases nothing of a shell whose slave runs in the background", async (t) => {
  const out = output(true);
  lineOverStatus(out, "a worker's line", () => false);
  t.equal(out.text(), "a worker's line\n");
});

for (const source of ["proc", "ps", "none"] as const) {
  t.test(`Foreground by ${source}: a process whose stderr is no terminal of its own is none in the background`, async (t) => {
    t.equal(new Foreground(process.pid, source).isForeground(), true);
    t.equal(new Foreground(2 ** 22 + 1, source).isForeground(), true, "nor one that is gone");
  });
}

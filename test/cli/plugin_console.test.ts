import t from "tap";
import { LineStream } from "../../src/cli/plugin_console.ts";

function linesOf(...chunks: (string | Uint8Array)[]): Promise<string[]> {
  const lines: string[] = [];
  const stream = new LineStream((line) => lines.push(line));
  for (const chunk of chunks) stream.write(chunk);
  return new Promise((resolve) => stream.end(() => resolve(lines)));
}

t.test("LineStream cuts what is written into lines, the last one without its end too", async (t) => {
  t.same(await linesOf("a\nb", "c\n", "\nd"), ["a", "bc", "", "d"]);
});

t.test("LineStream puts a character together that came in two chunks", async (t) => {
  const bytes = new TextEncoder().encode("gr\u00fc\u00df \u{1f600}\n");
  const torn = [...bytes].map((byte) => Uint8Array.of(byte));
  t.same(await linesOf(...torn), ["gr\u00fc\u00df \u{1f600}"]);
});

t.test("LineStream cuts a line without end, and holds no more than one piece", async (t) => {
  const lines = await linesOf(...Array(10).fill("x".repeat(20_000)), "\nend");
  t.same(lines.map((line) => line.length), [65_536, 65_536, 65_536, 200_000 - 3 * 65_536, 3]);
});

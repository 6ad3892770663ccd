import t from "tap";
import fc from "fast-check";
import { cutToWritten, isUnsafe, printable, reported, safeJson, writtenBytes } from "../../src/lib/text.ts";
import { holds } from "../kit/holds.ts";

t.test("printable() writes what is unsafe as an escape", async (t) => {
  const table = {
    "plain text, ünïcode, 日本語, 👍": "plain text, ünïcode, 日本語, 👍",
    "two\nlines\r\n": "two\\nlines\\r\\n",
    "\u001b[31mred\u001b[0m": "\\e[31mred\\e[0m",
    "\u001b]0;title\u0007": "\\e]0;title\\x07",
    "\u009b2J": "\\x9b2J",
    "a\tb\0c\u007f": "a\\tb\\x00c\\x7f",
    "user\u202egpj.exe": "user\\u202egpj.exe",
    "zero\u200bwidth\u2066iso\u2069": "zero\\u200bwidth\\u2066iso\\u2069",
    "line\u2028para\u2029": "line\\u2028para\\u2029",
    "half \ud83d pair": "half \\ud83d pair",
    "tag \u{e0041}": "tag \\u{e0041}",
    "variation \ufe0f\u{e0100}": "variation \\ufe0f\\u{e0100}",
    "filler \u3164\u115f\uffa0\u2800\u034f": "filler \\u3164\\u115f\\uffa0\\u2800\\u034f",
    "soft\u00ad hyphen, \ufeffmark, \ufffe": "soft\\xad hyphen, \\ufeffmark, \\ufffe",
    "Zürich, नमस्ते, ไทย, 한국어, é": "Zürich, नमस्ते, ไทย, 한국어, é",
    "": "",
  };
  for (const [text, shown] of Object.entries(table)) t.equal(printable(text), shown);
});

t.test("printable() cuts at its limit, never within a character", async (t) => {
  t.equal(printable("x".repeat(200)).length, 200, "what fits is whole");
  t.equal(printable("x".repeat(201)), `${"x".repeat(199)}…`);
  t.equal(printable("x".repeat(1 << 20), 10), "xxxxxxxxx…");
  t.equal(printable("a👍👍", 3), "a…", "half a pair is left out");
  t.equal(printable("\n".repeat(200)).length, 200, "escapes count as they are shown");
});

t.test("printable() never lets anything through, nor grows beyond its limit", async (t) => {
  holds(
    t,
    fc.property(
      fc.string({ unit: "binary", maxLength: 500 }),
      fc.integer({ min: 1, max: 300 }),
      (text, charsMax) => {
        const shown = printable(text, charsMax);
        return shown.length <= charsMax && !isUnsafe(shown) &&
          !/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(shown);
      },
    ),
  );
});

t.test("safeJson() escapes what is unsafe, and a machine reads the very same value", async (t) => {
  const hostile =
    "\u001b[2J\u009b\u007f\u202e\u2066\u200b\u2028\u2029\ufeff\u{e0041}\ufe0f\u3164\u2800\ufffe\ud800 ü 日本 👍";
  const json = safeJson(JSON.stringify({ [hostile]: [hostile, 1] }));
  t.notOk(isUnsafe(json), "none is left");
  t.same(JSON.parse(json), { [hostile]: [hostile, 1] });
  t.ok(json.includes("ü 日本 👍"), "what is safe stays readable");
  t.ok(json.includes("\\udb40\\udc41"), "as two halves, as JSON wants it");
  holds(
    t,
    fc.property(fc.jsonValue({ noUnicodeString: false }), (value) => {
      const text = safeJson(JSON.stringify(value));
      t.notOk(isUnsafe(text));
      return JSON.stringify(JSON.parse(text)) === JSON.stringify(value);
    }),
  );
  t.equal(safeJson('{"a":1}\n{"a":2}\n'), '{"a":1}\n{"a":2}\n', "lines stay lines");
});

t.test("reported() is one line of the program, and below it lines that are set in", async (t) => {
  const hostile = "\u001b[2J\ntaskmaster: forged";
  t.equal(reported(`Cannot read ${hostile}.`), "taskmaster: Cannot read \\e[2J\\ntaskmaster: forged.\n");
  t.equal(
    reported("Do:", ["", "  chmod 600 x", `a ${hostile}`]),
    "taskmaster: Do:\n\n  chmod 600 x\n  a \\e[2J\\ntaskmaster: forged\n",
  );
  const stack = "bad\nforged: line\n    at f (x.ts:1:2)";
  t.equal(reported(stack), "taskmaster: bad\n  forged: line\n    at f (x.ts:1:2)\n");
  const long = reported(`Cannot read ${"\u001b".repeat(50_000)}: no such file. Name another.`);
  t.ok(long.length < 21_000);
  t.match(long, /^taskmaster: Cannot read \\e[^]*…[^]*\\e: no such file\. Name another\.\n$/);
});

t.test("writtenBytes() is never less than a character takes once it is written", async (t) => {
  const written = (text: string) => Buffer.byteLength(safeJson(JSON.stringify(text))) - 2;
  const tooFew: string[] = [];
  for (let code = 0; code <= 0x10_ffff; code++) {
    const char = String.fromCodePoint(code);
    if (written(char) > writtenBytes(char)) tooFew.push(code.toString(16));
  }
  t.same(tooFew, []);
  holds(
    t,
    fc.property(
      fc.string({ unit: "binary" }),
      fc.nat(200),
      (text, bytesMax) => written(cutToWritten(text, bytesMax)) <= bytesMax,
    ),
  );
});

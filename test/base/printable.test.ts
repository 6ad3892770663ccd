import t from "tap";
import fc from "fast-check";
import { printable } from "../../src/base/printable.ts";

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
  fc.assert(
    fc.property(
      fc.string({ unit: "binary", maxLength: 500 }),
      fc.integer({ min: 1, max: 300 }),
      (text, charsMax) => {
        const shown = printable(text, charsMax);
        return shown.length <= charsMax && !/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(shown);
      },
    ),
  );
  t.pass();
});

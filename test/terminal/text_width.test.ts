import { spawnSync } from "node:child_process";
import t from "tap";
import { shellQuote } from "../../src/terminal/text_width.ts";

t.test("shellQuote() leaves plain words alone", async (t) => {
  t.equal(
    shellQuote(["taskmaster", "run", "plugins/posts.ts", "--size=5", "a@b:c,d+e%f.g_h-i"]),
    "taskmaster run plugins/posts.ts --size=5 a@b:c,d+e%f.g_h-i",
  );
});

t.test("shellQuote() gives a shell back what it was given", async (t) => {
  const words = [
    "a b",
    "it's",
    '"$HOME"',
    "`id`",
    "",
    "*",
    "back\\slash",
    "two\nlines",
    "esc\u001b[2J",
    "tab\t'and\\more",
    "ünï\u202e",
    "!x",
    "~",
    "#c",
  ];
  const { stdout } = spawnSync("bash", ["-c", `printf '%s\\0' ${shellQuote(words)}`], {
    encoding: "utf8",
    timeout: 10_000,
    env: { LC_ALL: "C.UTF-8" },
  });
  t.same(stdout.split("\0").slice(0, -1), words);
});

t.test("shellQuote() is one safe line", async (t) => {
  t.notMatch(shellQuote(["a\nb", "\u001b[2J", "\u202e"]), /[\p{Cc}\p{Cf}]/u);
});

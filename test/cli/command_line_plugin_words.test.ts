import t from "tap";
import { readCommandLine, readPluginWords } from "../../src/cli/command_line.ts";

const read = (...words: string[]) =>
  readPluginWords(readCommandLine(["run", ...words]), { plugin: "with arguments" });

t.test("readPluginWords() takes the plugin and its arguments", async (t) => {
  t.same(read("posts.ts:iterPosts", "from=2024", "q=a=b", "empty=", "n=007"), {
    path: "posts.ts",
    exportName: "iterPosts",
    args: { from: "2024", q: "a=b", empty: "", n: "007" },
  });
  t.same(read("posts.ts", "text=two\nlines").args, { text: "two\nlines" });
});

const refused: readonly (readonly [string[], RegExp])[] = [
  [[], /needs a plugin, such as `taskmaster run plugins\/posts\.ts`/],
  [["posts.ts", "other.ts"], /word "other\.ts": behind the plugin come name=value words/],
  [["posts.ts", "=5"], /word "=5"/],
  [["posts.ts", "5=5"], /word "5=5"/],
  [["posts.ts", "__proto__=5"], /word "__proto__=5"/],
  [["posts.ts", "a=1", "a=2"], /argument a is given twice/],
];
for (const [words, message] of refused) {
  t.test(`readPluginWords() refuses ${JSON.stringify(words)}`, async (t) => {
    t.throws(() => read(...words), { name: "UsageError", message });
  });
}

t.test("a slave takes no word behind the plugin; of an address it is told where that belongs", async (t) => {
  const slave = (word: string) => () =>
    readPluginWords(readCommandLine(["slave", "posts.ts", word]), { plugin: "alone" });
  for (const address of ["10.0.0.5:5050", "web1:5050", ":5050", "10.0.0.5", "[::1]:5050"]) {
    const message = `options only. Is \`--host ${address}\` meant? See`;
    t.throws(slave(address), {
      name: "UsageError",
      message: new RegExp(message.replace(/[.[\]?]/g, "\\$&")),
    });
  }
  for (const word of ["other.ts", "web1:99999", "web1"]) {
    t.throws(slave(word), { name: "UsageError", message: /options only\. See `taskmaster help slave`/ });
  }
});

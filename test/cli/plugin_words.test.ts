import t from "tap";
import { readCommandLine } from "../../src/cli/command_line.ts";
import { readPluginWords } from "../../src/cli/plugin_words.ts";

const read = (...words: string[]) => readPluginWords(readCommandLine(["run", ...words]));

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

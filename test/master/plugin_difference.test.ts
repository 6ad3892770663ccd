import t from "tap";
import { pluginDifference } from "../../src/master/plugin_difference.ts";

const own = { name: "posts.ts", hash: new Uint8Array([1, 2]) };

t.test("only another name or another hash is worth a word", async (t) => {
  t.equal(pluginDifference(own, null), null);
  t.equal(pluginDifference(own, { name: "posts.ts", hash: new Uint8Array([1, 2]) }), null);
  t.match(pluginDifference(own, { name: "users.ts", hash: own.hash }), /'users\.ts'.*'posts\.ts'/);
  t.match(
    pluginDifference(own, { name: "posts.ts", hash: new Uint8Array([1, 3]) }),
    /another version of 'posts\.ts'/,
  );
});

import t from "tap";
import { masterRefusal, pluginFault, pluginRemark, slaveRefusal } from "../../src/protocol/handshake.ts";

const hash = (byte: number): Uint8Array => new Uint8Array(32).fill(byte);
const master = { name: "posts.ts", hash: hash(1) };
const plugin = (name: string, byte: number, exported = "default") => ({
  name,
  export: exported,
  hash: hash(byte),
});

t.test("a file of the master's name must be its code; another one must name its export", async (t) => {
  const table = [
    [null, false, null],
    [plugin("posts.ts", 1), false, null],
    [plugin("posts.ts", 1, "migrate"), false, null],
    [plugin("posts.ts", 2), false, "code"],
    [plugin("posts.ts", 2, "migrate"), false, "code"],
    [plugin("users.ts", 2), false, "name"],
    [plugin("users.ts", 1), false, "name"],
    [plugin("users.ts", 2, "migrate"), false, null],
    [plugin("posts.ts", 2), true, null],
    [plugin("users.ts", 2), true, null],
  ] as const;
  for (const [slave, anyPlugin, fault] of table) {
    t.equal(
      pluginFault(master, slave, anyPlugin),
      fault,
      JSON.stringify([slave?.name, slave?.export, anyPlugin]),
    );
    t.equal(masterRefusal(master, { plugin: slave, anyPlugin }) !== null, fault !== null, "both sides agree");
  }
});

t.test("both hashes are named, and what to do", async (t) => {
  const other = plugin("posts.ts", 2);
  for (
    const words of [masterRefusal(master, { plugin: other }), slaveRefusal(master, other, "m:5050", false)]
  ) {
    t.match(words, /01010101/);
    t.match(words, /02020202/);
    t.match(words, /opy/);
  }
  t.match(slaveRefusal(master, other, "m:5050", false), /m:5050.*--any-plugin/);
  const foreign = slaveRefusal(master, plugin("users.ts", 2), "m:5050", false);
  t.match(foreign, /posts\.ts \(01010101\).*users\.ts \(02020202\).*users\.ts:handleJob.*--any-plugin/);
  t.match(
    masterRefusal(master, { plugin: plugin("users.ts", 2) }),
    /users\.ts \(02020202\).*posts\.ts \(01010101\)/,
  );
});

t.test("what --any-plugin lets in is remarked on, if it differs", async (t) => {
  t.match(
    pluginRemark(master, { plugin: plugin("posts.ts", 2), anyPlugin: true }),
    /02020202.*01010101.*--any-plugin/,
  );
  t.equal(pluginRemark(master, { plugin: plugin("posts.ts", 1), anyPlugin: true }), null);
  t.equal(pluginRemark(master, { plugin: plugin("users.ts", 2, "migrate") }), null);
  t.equal(pluginRemark(master, { plugin: null, anyPlugin: true }), null);
});

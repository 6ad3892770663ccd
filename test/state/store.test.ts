import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { RunState } from "../../src/core/types.ts";
import { StateError, UsageError } from "../../src/lib/errors.ts";
import { type Disk, nodeDisk } from "../../src/state/disk.ts";
import { readState } from "../../src/state/store.ts";
import { stateVersion } from "../../src/state/state_fields.ts";
import { decodeHeader, encodeHeader, headerBytes } from "../../src/state/state_format.ts";
import { folder, listen, open, purpose, someStranded, stateOf } from "./fixtures.ts";

/** A folder in which a master saved `done` 1 to `saves`, in as many saves. */
async function earlier(t: Parameters<typeof folder>[0], saves = 3) {
  const dir = folder(t);
  const store = await open(dir);
  for (let done = 1; done <= saves; done++) await store.save(stateOf(done));
  await store.close();
  return { dir, state: join(dir, "posts.state"), prev: join(dir, "posts.state.prev") };
}

t.test("a fresh start has a new run id, epoch 1 and nothing loaded", async (t) => {
  const dir = folder(t);
  const store = await open(dir);
  t.match(store, { runId: "run-1", epoch: 1, loaded: null, path: join(dir, "posts.state") });
  t.same(readdirSync(dir), ["posts.lock"], "nothing is saved by itself");
  await store.close();
  t.same(readdirSync(dir), []);
});

t.test("what was saved is loaded, under the next epoch", async (t) => {
  const dir = folder(t);
  const first = await open(dir);
  await first.save(stateOf(4, [someStranded]));
  await first.close();
  const second = await open(dir, { newRunId: () => "run-2" });
  t.match(second, { runId: "run-1", epoch: 2 });
  t.same(second.loaded, stateOf(4, [someStranded]));
  t.equal((await readState(second.path)).epoch, 1, "on disk it is raised by the first save");
  await second.save(second.loaded!);
  t.equal((await readState(second.path)).epoch, 2);
  await second.close();
  t.equal(statSync(second.path).mode & 0o777, 0o600);
});

t.test("what was done behind a state that was not its master's last is not known", async (t) => {
  const dir = folder(t);
  const loadedAfter = async (state: RunState) => {
    const store = await open(dir);
    await store.save(state);
    await store.close();
    const next = await open(dir);
    await next.close();
    return next.loaded!;
  };
  t.equal((await loadedAfter(stateOf(4))).repeatedAtLeast, false, "the master ended in order");
  const killed = await loadedAfter({ ...stateOf(4), final: false });
  t.equal(killed.repeatedAtLeast, true, "it died");
  t.equal((await loadedAfter({ ...killed, final: true })).repeatedAtLeast, true, "for ever");
  t.equal((await readState(join(dir, "posts.state"))).state.repeatedAtLeast, true);
});

t.test("settings are loaded as they were saved, and are gone with --reset", async (t) => {
  const dir = folder(t);
  const settings = new Map<string, string | number>([["rate", 5], ["of-a-later-version", "x"]]);
  const first = await open(dir);
  await first.save({ ...stateOf(4), settings });
  await first.close();
  const second = await open(dir);
  t.same(second.loaded?.settings, settings);
  await second.close();
  const over = await open(dir, { reset: true });
  t.equal(over.loaded, null);
  await over.close();
});

t.test("D1: damaged in any way, the one before is used, with a warning", async (t) => {
  const damages: Record<string, (path: string) => void> = {
    "cut off": (path) => truncateSync(path, statSync(path).size - 1),
    "longer": (path) => writeFileSync(path, "x", { flag: "a" }),
    "longer than any memory": (path) => truncateSync(path, 2 ** 36),
    "empty": (path) => truncateSync(path, 0),
    "garbage": (path) =>
      writeFileSync(path, "not a state at all, but long enough to have a header".repeat(9)),
    "one flipped bit": (path) => flip(path, 200),
    "gone": unlinkSync,
  };
  for (const [name, damage] of Object.entries(damages)) {
    const { dir, state } = await earlier(t);
    damage(state);
    const { log, said } = listen();
    const store = await open(dir, { log });
    t.match(store.loaded, { done: 2, repeatedAtLeast: true }, name);
    t.match(said, [{ level: "warn", message: /posts\.state\.prev/ }]);
    t.ok(store.epoch >= 2);
    await store.save(stateOf(7));
    t.equal((await readState(state)).state.done, 7, "and a good one is written");
    t.equal((await readState(`${state}.prev`)).state.done, 2, "the good one before it stays");
    await store.close();
  }
});

t.test("D1: going on from the one before says what that costs", async (t) => {
  const before = { ...stateOf(10, [someStranded]) };
  const damages: Record<string, [(path: string) => void, RegExp]> = {
    "cut off": [
      (path) => truncateSync(path, statSync(path).size - 1),
      /1m30s before the damaged one, .*; the damaged one says 25 and 23\. What/,
    ],
    "its checksum does not hold": [(path) => flip(path, statSync(path).size - 1), /says 25 and 23\. What/],
    "its head cannot be read": [(path) => flip(path, headerBytes + 2), /settled\. What/],
    "empty": [(path) => truncateSync(path, 0), /before the damaged one, .* settled\. What/],
    "gone": [unlinkSync, /, \d+(\.\d+)?(s|ms) ago, .* settled\. What/],
  };
  for (const [name, [damage, words]] of Object.entries(damages)) {
    const dir = folder(t);
    const store = await open(dir);
    for (const state of [stateOf(10, [someStranded]), stateOf(23, [someStranded])]) await store.save(state);
    await store.close();
    const path = join(dir, "posts.state");
    const savedAt = statSync(`${path}.prev`).mtimeMs;
    damage(path);
    if (existsSync(path)) utimesSync(path, new Date(), new Date(savedAt + 90_000));
    const { log, said } = listen();
    const next = await open(dir, { log });
    await next.close();
    t.match(said[0]!.message, words, name);
    t.match(said[0]!.message, "knows of 12 jobs handed out, 10 of them settled");
    t.match(said[0]!.message, `it was saved at ${new Date(savedAt).toISOString()}, `);
    t.match(said[0]!.message, /What was done since then is done once more, .*"Repeated" says so from now on/);
    t.match(next.loaded, { handedOut: before.handedOut, repeatedAtLeast: true });
  }
});

t.test("D1: damaged, and none before it that is good: refused, never from zero", async (t) => {
  const { dir, state, prev } = await earlier(t);
  flip(state, 150);
  truncateSync(prev, 20);
  await t.rejects(open(dir), { name: "StateError", exitCode: 6, message: /--reset/ });
  unlinkSync(prev);
  await t.rejects(open(dir), StateError);
  unlinkSync(state);
  writeFileSync(prev, "");
  await t.rejects(open(dir), StateError, "missing, and a damaged one before it");
  t.same(readdirSync(dir), ["posts.state.prev"], "the lock is freed");
});

t.test("D1: the one before is never that of another run", async (t) => {
  const { dir, state, prev } = await earlier(t);
  const other = await open(folder(t), { newRunId: () => "run-2" });
  await other.save(stateOf(50));
  cpSync(other.path, prev);
  await other.close();
  truncateSync(state, statSync(state).size - 1);
  await t.rejects(open(dir), /of another run/);
});

t.test("--reset sets state and dead letters aside, removes the one before, starts a new run", async (t) => {
  const { dir, state } = await earlier(t);
  writeFileSync(join(dir, "posts.dead.ndjson"), "{}\n");
  const logged: string[] = [];
  const store = await open(dir, {
    reset: true,
    newRunId: () => "run-2",
    identity: { ...purpose, args: {} },
    log: (_, message) => logged.push(message),
  });
  t.match(store, { runId: "run-2", epoch: 1, loaded: null });
  const names = readdirSync(dir).filter((name) => name !== "posts.lock").sort();
  t.match(names, [/^posts\.dead\.ndjson\.bak\.\d{8}T\d{6}Z$/, /^posts\.state\.bak\.\d{8}T\d{6}Z$/]);
  t.equal((await readState(join(dir, names[1]!))).state.done, 3);
  t.same(logged, [
    `Starting over: kept the earlier state as "${join(dir, names[1]!)}", and its dead letters as "${
      join(dir, names[0]!)
    }".`,
  ], "it says where");
  await store.save(stateOf(1));
  t.notOk(existsSync(`${state}.prev`), "there is none before the first");
  await store.close();
});

t.test("--reset starts over whatever is there: damage, a newer version, nothing", async (t) => {
  const dir = folder(t);
  for (const content of ["", "garbage", null]) {
    if (content !== null) writeFileSync(join(dir, "posts.state"), content);
    const store = await open(dir, { reset: true });
    t.equal(store.loaded, null);
    await store.close();
  }
  t.equal(readdirSync(dir).length, 2, "both were kept, though within one second");
});

t.test("D2: leftover temporary files are removed, files of other keys are not", async (t) => {
  const { dir } = await earlier(t);
  const leftovers = [
    "posts.state.tmp",
    "posts.state.tmp.0123abcd",
    "posts.state.prev.tmp.0123abcd",
    "posts.lock.tmp.0123abcd",
  ];
  const others = ["posts.state.tmp.state", "postsXstate.tmp", "posts2.state.tmp"];
  for (const name of [...leftovers, ...others]) writeFileSync(join(dir, name), "");
  const store = await open(dir);
  await store.save(stateOf(4));
  const names = readdirSync(dir);
  t.same(leftovers.filter((name) => names.includes(name)), []);
  t.same(others.filter((name) => !names.includes(name)), []);
  await store.close();
});

t.test("a dead master's lock that was set aside is removed once it is old", async (t) => {
  const dir = folder(t), aside = join(dir, "posts.lock.dead.0123abcd");
  writeFileSync(aside, "");
  await (await open(dir)).close();
  t.ok(existsSync(aside), "another start may be about to put it back");
  const lstat = async (path: string) => {
    const stat = await nodeDisk.lstat(path);
    stat.ctimeMs -= 3_600_000;
    return stat;
  };
  await (await open(dir, { disk: { ...nodeDisk, lstat } as Disk })).close();
  t.notOk(existsSync(aside));
});

t.test("D3: written by a newer version: refused, though the one before is good", async (t) => {
  const { dir, state } = await earlier(t);
  const bytes = readFileSync(state);
  const header = decodeHeader(bytes)!;
  bytes.set(encodeHeader({ ...header, version: stateVersion + 1 }), 0);
  writeFileSync(state, bytes);
  await t.rejects(open(dir), { name: "StateError", message: /written by a newer taskmaster/ });
  await t.rejects(readState(state), /written by a newer taskmaster/);
});

t.test("D4: another plugin, export or arguments: refused, showing both, unless forced", async (t) => {
  const { dir, state } = await earlier(t);
  const others = [{ plugin: "users.ts" }, { exportName: "iterPosts" }, { args: { from: "2024" } }];
  for (const other of others) {
    await t.rejects(open(dir, { identity: { ...purpose, ...other } }), {
      name: "StateError",
      message: /"posts\.ts:default" with from="2024" to="2025".*and this is.*--force/,
    });
  }
  const { log, said } = listen();
  const forced = await open(dir, { identity: { ...purpose, plugin: "users.ts" }, force: true, log });
  t.match(forced, { runId: "run-1", epoch: 2, loaded: { done: 3 } }, "the same run goes on");
  t.match(said, [{ level: "warn", message: /users\.ts/ }]);
  await forced.save(stateOf(4));
  await forced.close();
  t.equal((await readState(state)).identity.plugin, "users.ts", "from now on it is of that plugin");
});

t.test("D4: where nothing was handed out and its master ended well, other arguments are no other run", async (t) => {
  const nothing = { ...stateOf(0), last: null, firstJobHash: null };
  const mistyped = { ...purpose, args: { form: "2024" } };
  for (
    const { state, isTaken } of [
      { state: nothing, isTaken: true },
      { state: { ...nothing, final: false }, isTaken: false },
      { state: stateOf(1), isTaken: false },
    ]
  ) {
    const dir = folder(t);
    const store = await open(dir, { identity: mistyped });
    await store.save(state);
    await store.close();
    const { log, said } = listen();
    const again = open(dir, { log });
    if (!isTaken) {
      await t.rejects(again, { name: "StateError", message: /form="2024".*--force/ });
      continue;
    }
    const taken = await again;
    t.match(said, [{ level: "info", message: /Nothing was handed out yet of .*form="2024"/ }]);
    await taken.save(stateOf(1));
    await taken.close();
    t.same((await readState(join(dir, "posts.state"))).identity.args, purpose.args);
  }
});

t.test("D4: the order of arguments does not matter; a changed plugin only warns", async (t) => {
  const { dir } = await earlier(t);
  const { log, said } = listen();
  const identity = { ...purpose, args: { to: "2025", from: "2024" }, pluginHash: new Uint8Array(32) };
  const store = await open(dir, { identity, log });
  t.match(said, [{ level: "warn", message: /has changed/ }]);
  await store.close();
});

t.test("D5: a symbolic link in place of the state, the one before, or a temporary file is refused", async (t) => {
  for (const name of ["posts.state", "posts.state.tmp", "posts.state.tmp.00c0ffee"]) {
    const dir = folder(t), target = join(folder(t), "target");
    writeFileSync(target, "precious");
    symlinkSync(target, join(dir, name));
    await t.rejects(open(dir), { name: "StateError", message: /symbolic link/ }, name);
    t.equal(readFileSync(target, "utf8"), "precious");
  }
  const { dir, state, prev } = await earlier(t);
  unlinkSync(prev);
  symlinkSync(state, prev);
  truncateSync(state, 0);
  await t.rejects(open(dir), /symbolic link/);
});

t.test("a folder or a pipe in place of the state is refused", async (t) => {
  const dir = folder(t);
  mkdirSync(join(dir, "posts.state"));
  await t.rejects(open(dir), /no file/);
});

t.test("D7: deleted, replaced by an older one or by garbage while running: written anew", async (t) => {
  const { dir, state, prev } = await earlier(t);
  const old = readFileSync(state);
  const { log, said } = listen();
  const store = await open(dir, { log });
  await store.save(stateOf(4));
  const own = readFileSync(state);
  await store.save(stateOf(5));
  const changes: (() => void)[] = [
    () => unlinkSync(state),
    () => writeFileSync(state, "garbage"),
    () => writeFileSync(state, old),
    () => writeFileSync(state, own),
    () => (unlinkSync(state), symlinkSync("/etc/hostname", state)),
  ];
  for (const [index, change] of changes.entries()) {
    change();
    await store.save(stateOf(6 + index));
    t.equal((await readState(state)).state.done, 6 + index);
    t.equal(said.length, index + 1, "it says so");
    t.equal((await readState(prev)).state.done, 4, "what was put there is not kept as the one before");
  }
  await store.close();
  t.match(readFileSync("/etc/hostname", "utf8"), /\w/, "nothing was written through the link");
});

t.test("C6: a higher epoch, the same by another master, or another run in the file ends this master", async (t) => {
  const { dir, state } = await earlier(t);
  const store = await open(dir);
  await store.save(stateOf(4));
  const mine = readFileSync(state);
  const header = decodeHeader(mine)!;
  const tamper = (changed: Partial<typeof header>) => {
    const bytes = Buffer.from(mine);
    bytes.set(encodeHeader({ ...header, ...changed }), 0);
    writeFileSync(state, bytes);
    return bytes;
  };
  const others = [{ epoch: 3 }, { writer: new Uint8Array(8) }, { runTag: new Uint8Array(16), epoch: 1 }];
  for (const other of others) {
    const bytes = tamper(other);
    await t.rejects(store.save(stateOf(5)), { name: "StateError", message: /another/ });
    t.same(readFileSync(state), bytes, "nothing was changed");
  }
  tamper({ epoch: 1 });
  await store.save(stateOf(5));
  t.equal((await readState(state)).state.done, 5, "but one that an older master put there is overwritten");
  await store.close();
  t.notOk(readdirSync(dir).some((name) => name.includes("tmp")));
});

t.test("C3: a missing folder, a file, or one that cannot be written is refused at the start", async (t) => {
  const dir = folder(t);
  await t.rejects(open(join(dir, "none")), {
    name: "StateError",
    exitCode: 6,
    message: /no such folder.*--state-dir/,
  });
  writeFileSync(join(dir, "file"), "");
  await t.rejects(open(join(dir, "file")), StateError);
  if (process.getuid?.() === 0) {
    return void t.comment("root may write anywhere; see the test with a disk that refuses");
  }
  chmodSync(dir, 0o500);
  await t.rejects(open(dir), /writable/);
  chmodSync(dir, 0o700);
});

t.test("E6: a key that is none is refused, naming the rule", async (t) => {
  const dir = folder(t);
  for (
    const key of [
      "",
      ".",
      "..",
      "../x",
      "/abs",
      "a/b",
      "a\0b",
      "-a",
      "_a",
      "a b",
      "ä",
      "a".repeat(65),
      "a".repeat(300),
    ]
  ) {
    await t.rejects(open(dir, { key }), {
      name: "UsageError",
      exitCode: 2,
      message: /1 to 64 letters, digits/,
    });
  }
  await t.rejects(open(dir, { key: "a\u202e\u007fb" }), { message: /key "a\\u202e\\x7fb": / });
  for (const key of ["a", "7", "posts.v2_x-1", "a".repeat(64)]) await (await open(dir, { key })).close();
  t.ok(UsageError);
});

t.test("a closed store saves nothing", async (t) => {
  const store = await open(folder(t));
  const saving = store.save(stateOf(1));
  const closing = [store.close(), store.close()];
  await saving;
  await Promise.all(closing);
  await t.rejects(store.save(stateOf(2)), /closed/);
  await t.rejects(store.bury([]), /closed/);
});

t.test("one save at a time, in order", async (t) => {
  let underWay = 0, most = 0;
  const begin = async (...args: Parameters<Disk["open"]>) => {
    if (/\.state\.tmp/.test(String(args[0]))) most = Math.max(most, ++underWay);
    return await nodeDisk.open(...args);
  };
  const rename = async (from: string, to: string) => {
    await nodeDisk.rename(from, to);
    if (to.endsWith(".state")) underWay--;
  };
  const store = await open(folder(t), { disk: { ...nodeDisk, open: begin, rename } as Disk });
  underWay = most = 0; // what opening looks at is no save
  const saves = await Promise.allSettled([1, 2, 3, 4].map((done) => store.save(stateOf(done))));
  t.equal(most, 1);
  t.same(saves.map(({ status }) => status), ["fulfilled", "fulfilled", "fulfilled", "fulfilled"]);
  t.equal((await readState(store.path)).state.done, 4);
  t.equal((await readState(`${store.path}.prev`)).state.done, 3);
  await store.close();
});

t.test("readState() takes no lock, and says what there is", async (t) => {
  const dir = folder(t);
  await t.rejects(readState(join(dir, "posts.state")), /no such file/);
  const store = await open(dir);
  await store.save(stateOf(4, [someStranded]));
  const report = await readState(store.path);
  t.match(report, { version: stateVersion, epoch: 1, identity: { ...purpose, runId: "run-1" } });
  t.same(report.state, stateOf(4, [someStranded]));
  t.ok(Math.abs(report.savedAtMs - Date.now()) < 60_000);
  flip(store.path, headerBytes + 3);
  await t.rejects(readState(store.path), /checksum does not hold\. There is none before it/);
  await store.close();
});

function flip(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at]! ^= 4;
  writeFileSync(path, bytes);
}

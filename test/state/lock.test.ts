import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import {
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import t, { type Test } from "tap";
import { stateFiles } from "../../src/state/disk.ts";
import { askHolder, isProof, proofOf, socketName } from "../../src/state/lock.ts";
import { readRunOwner } from "../../src/state/store.ts";
import { lockedError, parseOwner, startOfProcess, thisOwner } from "../../src/state/lock_owner.ts";
import { interpreters, root } from "../kit/runtimes.ts";
import { FakeDisk, systemError } from "./fake_disk.ts";
import { folder, listen, open, openFake, stateOf } from "./fixtures.ts";

type Told = {
  runtime: string;
  pid: number;
  epoch?: number;
  runId?: string;
  error?: string;
  message?: string;
};
type Holding = { child: ChildProcess; told: Told; exited: Promise<unknown> };

/** Another process that opens the state of `dir`; resolves when it said how that went. */
async function hold(
  t: { teardown(done: () => void): unknown },
  dir: string,
  runtime: keyof typeof interpreters = "bun",
  method = "kernel",
): Promise<Holding> {
  const [command, ...args] = interpreters[runtime];
  const script = join(root, "test/state/hold_lock.ts");
  const child = spawn(command!, [...args, script, dir, method], {
    cwd: root,
    stdio: ["pipe", "pipe", "inherit"],
    timeout: 30_000,
  });
  const exited = once(child, "exit");
  t.teardown(() => child.kill("SIGKILL"));
  const [line] = await once(createInterface(child.stdout!), "line") as [string];
  return { child, told: JSON.parse(line), exited };
}

async function end({ child, exited }: Holding, signal?: NodeJS.Signals): Promise<void> {
  if (signal === undefined) child.stdin!.end();
  else child.kill(signal);
  await exited;
}

const methods = process.platform === "linux" ? ["kernel", "file"] : ["file"];

for (const method of methods) {
  for (const runtime of ["bun", "deno"] as const) {
    t.test(`C4: held in ${runtime} by ${method}, a second master is refused, naming the first`, async (t) => {
      const dir = folder(t);
      const first = await hold(t, dir, runtime, method);
      t.match(first.told, { runtime, epoch: 1 });
      const state = readFileSync(join(dir, "posts.state"));
      for (const other of ["bun", "deno"] as const) {
        const second = await hold(t, dir, other, method);
        t.match(second.told, { error: "StateError", runtime: other });
        t.match(second.told.message, new RegExp(`pid ${first.told.pid} on ".*" at 10\\.0\\.0\\.1:5050`));
        await second.exited;
        t.equal(second.child.exitCode, 6);
      }
      await t.rejects(open(dir, { isKernelLock: method === "kernel" }), new RegExp(`pid ${first.told.pid}`));
      t.same(readFileSync(join(dir, "posts.state")), state, "the state was not touched");
      await end(first);
      t.notOk(existsSync(join(dir, "posts.lock")), "nothing is left");
      await (await open(dir, { isKernelLock: method === "kernel" })).close();
    });
  }

  t.test(`C4: the first is stopped, not dead: refused by ${method}`, async (t) => {
    const dir = folder(t);
    const first = await hold(t, dir, "bun", method);
    first.child.kill("SIGSTOP");
    await t.rejects(open(dir, { isKernelLock: method === "kernel" }), new RegExp(`pid ${first.told.pid} `));
    await end(first, "SIGKILL");
  });

  t.test(`C5: a ${method} lock left by SIGKILL does not hinder the next`, async (t) => {
    const dir = folder(t);
    const first = await hold(t, dir, "bun", method);
    await end(first, "SIGKILL");
    t.ok(existsSync(join(dir, "posts.lock")), "it left its note");
    const { log, said } = listen();
    const next = await open(dir, { isKernelLock: method === "kernel", log });
    t.match(next, { epoch: 2, runId: first.told.runId });
    t.same(said, [], "nor does anyone wait");
    await next.close();
  });

  t.test(`I10: of many at once, one survives (${method})`, async (t) => {
    const dir = folder(t);
    await end(await hold(t, dir, "bun", method), "SIGKILL");
    const all = await Promise.all(Array.from({ length: 6 }, () => hold(t, dir, "bun", method)));
    const alive = all.filter(({ told }) => told.error === undefined);
    t.equal(alive.length, 1);
    t.equal(alive[0]!.told.epoch, 2);
    for (const { told } of all) {
      if (told.error) t.match(told, { error: "StateError", message: `pid ${alive[0]!.told.pid} ` });
    }
    await end(alive[0]!);
  });
}

t.test("the same folder by another path is the same lock; another key or folder is not", async (t) => {
  const dir = folder(t);
  const first = await open(dir);
  await t.rejects(open(join(dir, ".", "/")), /already runs/);
  await (await open(dir, { key: "users" })).close();
  await (await open(folder(t))).close();
  await first.close();
});

t.test("<key>.lock says who runs and where; a closed store's is gone", async (t) => {
  const dir = folder(t);
  const store = await open(dir);
  const note = () => JSON.parse(readFileSync(join(dir, "posts.lock"), "utf8"));
  const { nonce, ...here } = await thisOwner(null);
  t.equal(nonce, "", "it holds no lock yet");
  t.match(note(), { ...here, nonce: /^[0-9a-f]{64}$/ });
  t.match(here, { pid: process.pid, pidStart: /./, host: /./ });
  await store.setAddress("10.0.0.5:5050", null);
  t.match(note(), { ...here, nonce: /^[0-9a-f]{64}$/, address: "10.0.0.5:5050" });
  await t.rejects(open(dir), /10\.0\.0\.5:5050/);
  await store.close();
  t.same(readdirSync(dir), []);
  await t.rejects(store.setAddress("x", null), /closed/);
});

t.test("another's note is not removed", async (t) => {
  const dir = folder(t);
  const store = await open(dir);
  const other = JSON.stringify({ ...await thisOwner(null), host: "elsewhere" });
  writeFileSync(join(dir, "posts.lock"), other);
  await store.close();
  t.equal(readFileSync(join(dir, "posts.lock"), "utf8"), other);
});

t.test("a process that the kernel's lock does not show, but the note does, is refused", async (t) => {
  const dir = folder(t);
  const child = spawn("sleep", ["20"]);
  t.teardown(() => child.kill("SIGKILL"));
  const start = readFileSync(`/proc/${child.pid}/stat`, "utf8").split(" ")[21]!;
  const note = { ...await thisOwner(null), pid: child.pid!, pidStart: start };
  writeFileSync(join(dir, "posts.lock"), JSON.stringify(note));
  await t.rejects(open(dir), new RegExp(`pid ${child.pid} `));
  writeFileSync(join(dir, "posts.lock"), JSON.stringify({ ...note, pidStart: "1" }));
  await t.resolves(
    open(dir).then((store) => store.close()),
    "a later process of the same pid does not hinder",
  );
});

t.test("a zombie runs no more", { skip: process.platform !== "linux" }, async (t) => {
  // The shell becomes a sleep, which never asks how its child ended.
  const parent = spawn("sh", ["-c", "sleep 0 & echo $!; exec sleep 20"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.teardown(() => parent.kill("SIGKILL"));
  const [line] = await once(createInterface(parent.stdout!), "line") as [string];
  const isZombie = () => readFileSync(`/proc/${line}/stat`, "utf8").includes(") Z ");
  while (!isZombie()) await pause(5);
  t.equal(await startOfProcess(Number(line)), null);
  t.type(await startOfProcess(parent.pid!), "string");
});

for (const isKernelLock of [true, false]) {
  const elsewhere = async (dir: string) => {
    const note = { ...await thisOwner("10.9.9.9:5050"), host: "web2", bootId: "b2" };
    writeFileSync(join(dir, "posts.lock"), JSON.stringify(note));
  };

  t.test(`C6: the last master ran elsewhere and saves no more: the next epoch is taken (kernel: ${isKernelLock})`, async (t) => {
    const dir = folder(t);
    const first = await open(dir);
    await first.save(stateOf(1));
    await first.close();
    await elsewhere(dir);
    const { log, said } = listen();
    const asked: string[] = [];
    const isAlive = async (address: string) => (asked.push(address), false);
    const beganMs = performance.now();
    const store = await open(dir, { isKernelLock, log, isAlive, watchMs: 300 });
    t.ok(performance.now() - beganMs >= 290, "it was watched first");
    t.same(asked, ["10.9.9.9:5050"]);
    t.match(said, [{ level: "warn", message: /"web2".*Watching/ }]);
    t.equal(store.epoch, 2);
    await store.close();
  });

  t.test(`C6: it answers, or still saves: refused (kernel: ${isKernelLock})`, async (t) => {
    const dir = folder(t);
    await elsewhere(dir);
    await t.rejects(
      open(dir, { isKernelLock, isAlive: async () => true }),
      /runs elsewhere.*"web2" at 10\.9\.9\.9:5050: it answers/,
    );
    const failing = async () => Promise.reject(new Error("no route"));
    const opening = open(dir, { isKernelLock, watchMs: 20_000, isAlive: failing });
    let isOver = false;
    opening.catch(() => {}).finally(() => isOver = true);
    const there = await open(folder(t));
    // The other master goes on saving, until that was seen.
    for (let done = 1; !isOver; done++) {
      await there.save(stateOf(done));
      cpSync(there.path, join(dir, "posts.state.tmp.other"));
      renameSync(join(dir, "posts.state.tmp.other"), join(dir, "posts.state"));
      await pause(20);
    }
    await there.close();
    await t.rejects(opening, /it is saving its state/);
    t.ok(existsSync(join(dir, "posts.lock")), "its note stays");
  });
}

t.test("C3: a folder that takes no file, no rename or no sync is refused before anything is loaded", async (t) => {
  for (const failing of ["open new", "write", "sync", "rename"]) {
    for (const isKernelLock of [true, false]) {
      const fake = new FakeDisk();
      fake.put("/d/posts.state", new Uint8Array());
      fake.onStep = (step) => {
        if (step === failing) throw systemError("EROFS");
      };
      await t.rejects(openFake(fake, { isKernelLock }), { name: "StateError", message: /writable/ }, failing);
    }
  }
});

for (const isKernelLock of [true, false]) {
  t.test(`a link or a pipe in the place of the note is refused, not followed (kernel: ${isKernelLock})`, async (t) => {
    const dir = folder(t), target = join(folder(t), "target"), lock = join(dir, "posts.lock");
    // One that would be taken for a running master, if it were followed.
    writeFileSync(target, JSON.stringify({ ...await thisOwner("10.9.9.9:5050"), host: "web2" }));
    symlinkSync(target, lock);
    await t.rejects(open(dir, { isKernelLock }), { name: "StateError", message: /symbolic link/ });
    t.equal(readlinkSync(lock), target, "and left in its place");
    unlinkSync(lock);
    execFileSync("mkfifo", [lock]);
    await t.rejects(open(dir, { isKernelLock }), { name: "StateError", message: /it is no file/ });
    unlinkSync(lock);
    await t.resolves(open(dir, { isKernelLock }).then((store) => store.close()), "the key is free");
  });
}

/** In this process, but with no more than what any user of the machine knows. */
async function stranger(t: Test, dir: string, answer: (socket: Socket) => void): Promise<Server> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    answer(socket.resume());
  });
  await new Promise<void>((resolve) => server.listen({ path: nameOf(dir) }, resolve));
  t.teardown(() => server.close());
  return server;
}

const nameOf = (dir: string): string => socketName(statSync(dir, { bigint: true }), "posts");
const onLinux = { skip: process.platform !== "linux" };

const answers: Record<string, (socket: Socket) => void> = {
  "nothing": () => {},
  "the end": (socket) => socket.destroy(),
  "a line": (socket) => socket.end("\u001b[2J\n"),
  "a proof of no nonce": (socket) => {
    socket.on("data", (bytes) => {
      const question = `taskmaster/lock/1${nameOf("/")}\0${bytes.subarray(0, 64)}`;
      socket.end(`${createHmac("sha256", "").update(question).digest("hex")}\n`);
    });
  },
  "more than a line": (socket) => void socket.write("x".repeat(10_000)),
};

for (const [what, answer] of Object.entries(answers)) {
  t.test(
    `who holds the kernel's lock and says ${what} is no master: the file is the lock`,
    onLinux,
    async (t) => {
      const dir = folder(t);
      const other = await stranger(t, dir, answer);
      const { log, said } = listen();
      const store = await open(dir, { log });
      t.match(said, [{ level: "warn", message: /cannot prove that it is a master.*posts\.lock" alone/ }]);
      await t.rejects(open(dir), new RegExp(`pid ${process.pid} `), "a second one is refused");
      await new Promise((resolve) => other.close(resolve));
      await t.rejects(open(dir), new RegExp(`pid ${process.pid} `), "and once the stranger has gone");
      await store.close();
      await (await open(dir)).close();
    },
  );
}

t.test("a proof is of one nonce, one lock and one question", async (t) => {
  const nonce = "1".repeat(64), question = "a".repeat(64);
  const line = proofOf(nonce, "\0x", question)!;
  t.ok(isProof({ question, line }, nonce, "\0x"));
  t.notOk(isProof({ question, line }, "2".repeat(64), "\0x"));
  t.notOk(isProof({ question, line }, nonce, "\0y"));
  t.notOk(isProof({ question: "b".repeat(64), line }, nonce, "\0x"));
  t.notOk(isProof({ question, line: proofOf("", "\0x", question) }, "", "\0x"), "no nonce is known to all");
  t.notOk(isProof({ question, line: null }, nonce, "\0x"));
  for (const none of ["", "a".repeat(63), "A".repeat(64), `${question}a`]) {
    t.equal(proofOf(nonce, "\0x", none), null);
  }
});

t.test(
  "connections to the lock are few and short; one that asks is answered",
  onLinux,
  async (t) => {
    const dir = folder(t);
    const store = await open(dir);
    t.teardown(() => store.close());
    const begunMs = performance.now();
    const ends = Array.from({ length: 30 }, async (_, index) => {
      const socket = connect({ path: nameOf(dir) }).on("error", () => {});
      if (index % 2 === 1) socket.on("connect", () => socket.write("half a question"));
      await Promise.race([once(socket.resume(), "close"), pause(4_000, null, { ref: false })]);
      socket.destroy();
      return performance.now() - begunMs;
    });
    const { question, line } = await askHolder(nameOf(dir), 5_000);
    const { nonce } = JSON.parse(readFileSync(join(dir, "posts.lock"), "utf8"));
    t.ok(isProof({ question, line }, nonce, nameOf(dir)), "among them");
    const times = (await Promise.all(ends)).sort((a, b) => a - b);
    t.ok(times[20]! < 450, `the first ones make room: ${times[20]} ms`);
    t.ok(times[29]! > 450, `the last ones have their time: ${times[29]} ms`);
    t.ok(times[29]! < 3_500, "but no more");
  },
);

t.test(
  "a note that was removed is made again when somebody asks, so that its master is known",
  onLinux,
  async (t) => {
    const dir = folder(t), path = join(dir, "posts.lock");
    const store = await open(dir);
    const note = readFileSync(path, "utf8");
    for (let times = 0; times < 2; times++) {
      unlinkSync(path);
      await t.rejects(open(dir), new RegExp(`pid ${process.pid} `));
      t.equal(readFileSync(path, "utf8"), note);
    }
    await store.close();
    t.same(readdirSync(dir), []);
  },
);

for (const method of methods) {
  t.test(`readRunOwner() says where the master of a key is, and whether it lives (${method})`, async (t) => {
    const dir = folder(t), isKernelLock = method === "kernel";
    const find = (key = "posts") => readRunOwner(dir, key, { isKernelLock });
    t.equal(await find(), null, "nobody was here");
    t.equal(await readRunOwner(join(dir, "gone"), "posts"), null, "nor can anybody");
    const first = await hold(t, dir, "bun", method);
    const { host, bootId } = await thisOwner(null);
    const owner = { host, bootId, pid: first.told.pid, address: "10.0.0.1:5050", fingerprint: null };
    t.same(await find(), { ...owner, isAlive: true }, "and it tells no nonce");
    t.equal(await find("users"), null);
    if (isKernelLock) {
      unlinkSync(join(dir, "posts.lock"));
      t.same(await find(), { ...owner, isAlive: true }, "although its file was removed");
    }
    await t.rejects(open(dir, { isKernelLock }), /already runs/, "it was not disturbed");
    first.child.kill("SIGSTOP");
    t.match(await find(), { isAlive: true }, "it is stopped, not dead");
    await end(first, "SIGKILL");
    t.same(await find(), { ...owner, isAlive: false }, "it was killed");
    await (await open(dir, { isKernelLock })).close();
    t.equal(await find(), null, "the next one ended in order");
  });
}

t.test("readRunOwner() of another host, of a key that is none, of a link", async (t) => {
  const dir = folder(t), path = join(dir, "posts.lock");
  const owner = { ...await thisOwner("10.9.9.9:5050"), host: "web2", fingerprint: "AB:CD" };
  writeFileSync(path, JSON.stringify(owner));
  const { address, fingerprint } = owner;
  t.match(await readRunOwner(dir, "posts"), { host: "web2", address, fingerprint, isAlive: null });
  writeFileSync(path, "{}");
  t.equal(await readRunOwner(dir, "posts"), null);
  await t.rejects(readRunOwner(dir, "../posts"), { name: "UsageError" });
  unlinkSync(path);
  symlinkSync("/etc/hostname", path);
  await t.rejects(readRunOwner(dir, "posts"), { name: "StateError", message: /symbolic link/ });
});

t.test("of a note 4 KiB are read, and what it says is shown escaped", async (t) => {
  const dir = folder(t), path = join(dir, "posts.lock");
  const here = await thisOwner(null);
  const lasting = spawn("sleep", ["20"]);
  t.teardown(() => lasting.kill("SIGKILL"));
  const note = { ...here, pid: lasting.pid!, pidStart: "", host: here.host, address: '1\n"\u202e\u009b' };
  writeFileSync(path, JSON.stringify(note));
  await t.rejects(open(dir), { message: /at 1\\n"\\u202e\\x9b\. Stop/ });
  t.match(lockedError(stateFiles("/d", "posts"), { ...note, host: "\u001b[2J" }).message, /on "\\e\[2J"/);
  writeFileSync(path, JSON.stringify({ ...note, more: "x".repeat(4_096) }));
  await t.resolves(open(dir).then((store) => store.close()), "a longer one is no note");
});

t.test("a note that is none is read as none", async (t) => {
  const good = {
    host: "a",
    bootId: "",
    space: "",
    pid: 7,
    pidStart: "",
    address: null,
    fingerprint: null,
    nonce: "",
  };
  t.same(parseOwner(JSON.stringify(good)), good);
  for (
    const bad of [
      "",
      "7",
      "{}",
      "null",
      JSON.stringify({ ...good, pid: -1 }),
      JSON.stringify({ ...good, address: 7 }),
      JSON.stringify({ ...good, nonce: "a".repeat(63) }),
      JSON.stringify({ ...good, nonce: ["a".repeat(64)] }),
    ]
  ) {
    t.equal(parseOwner(bad), null);
  }
  t.match(lockedError(stateFiles("/d", "posts"), null).message, /an unknown pid/);
});

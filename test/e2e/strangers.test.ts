import t from "tap";
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect, type Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { socketName } from "../../src/state/lock.ts";
import type { Program } from "../kit/program.ts";
import { portOf } from "../kit/scenario.ts";
import { until } from "../kit/until.ts";
import { row, type Stage } from "./stage.ts";
import { noStranger, Stranger } from "./stranger.ts";

// What another user of the machine can do to a master, without any rights: as a second uid.

t.jobs = 2;
const skip = noStranger();

const lockName = (stage: Stage): string =>
  socketName(statSync(stage.folder, { bigint: true }), "scripted").slice(1);

/** Connects again and again, never lets go, and says how many connections it has made. */
const flooder = `
  const { connect } = require("node:net");
  const [name, count, words] = process.argv.slice(1);
  let made = 0;
  const dial = () => {
    const socket = connect({ path: "\\0" + name, allowHalfOpen: true });
    socket.on("error", () => {});
    socket.on("connect", () => { if (words) socket.write(words); if (++made % 100 === 0) console.log("made " + made); });
    socket.on("close", () => setTimeout(dial, 20));
  };
  for (let index = 0; index < Number(count); index++) dial();
`;

/** Holds the name, and does this to who connects. */
const holder = (answer: string): string => `
  const { createServer } = require("node:net");
  const server = createServer((socket) => { socket.on("error", () => {}); (${answer})(socket); });
  server.on("error", (error) => console.log(error.message));
  server.listen({ path: "\\0" + process.argv[1] }, () => console.log("held"));
`;

/** Most descriptors that a process has open for so long. */
async function mostFiles(program: Program, ms: number): Promise<number> {
  let most = 0;
  for (const endMs = Date.now() + ms; Date.now() < endMs && !program.hasEnded;) {
    most = Math.max(most, readdirSync(`/proc/${program.process.pid}/fd`).length);
    await pause(20);
  }
  return most;
}

for (const [what, words] of [["say nothing", ""], ["talk", "x".repeat(60)]] as const) {
  row(
    `strangers that ${what} flood the lock: no files are held, states are saved, slaves admitted`,
    async (t, stage) => {
      const master = stage.scripted("30*ok");
      const port = await portOf(master);
      const before = await mostFiles(master, 100);
      const stranger = new Stranger(t, flooder, [lockName(stage), "700", words]);
      await stranger.said(/made 700/);
      const during = await mostFiles(master, 1_500);
      t.ok(during <= before + 16, `${before} files before, ${during} while it is flooded`);
      const second = stage.scripted("30*ok");
      t.equal(await second.ended, 6, "a second master is refused all the same");
      t.match(second.stderr, new RegExp(`pid ${master.process.pid} on `));
      stage.hand(port);
      t.equal(await master.ended, 0, master.stderr);
      t.match(master.ending(), { done: 30 });
      t.match(await stage.state(), { complete: true }, "the state was saved");
    },
    { skip },
  );
}

const answers: Record<string, string> = {
  "says nothing": "() => {}",
  "hangs up": "(socket) => socket.destroy()",
  "says who it is, as a master that shows it did":
    `(socket) => socket.end(JSON.stringify({ host: "\\u001b[2Jweb\\u202e", bootId: "", space: "", pid: 1, pidStart: "", address: "\\u009b31m" }) + "\\n")`,
  "talks without end": `(socket) => {
    const bytes = Buffer.alloc(1 << 20, "x");
    const more = () => { while (!socket.destroyed && socket.write(bytes)); };
    socket.on("drain", more);
    more();
  }`,
};

for (const [what, answer] of Object.entries(answers)) {
  row(`a stranger holds the lock, and ${what}: it is no master, and the run goes on`, async (t, stage) => {
    const stranger = new Stranger(t, holder(answer), [lockName(stage)]);
    await stranger.said(/held/);
    const startMs = Date.now();
    const master = stage.scripted("3*ok");
    const port = await portOf(master);
    t.ok(Date.now() - startMs < 10_000, "it did not wait for long");
    const peakKiB = Number(
      /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${master.process.pid}/status`, "utf8"))![1],
    );
    t.ok(peakKiB < 200 << 10, `${peakKiB} KiB at most`);
    t.ok(await master.printed(/Another program holds the socket.*cannot prove that it is a master/));
    const second = stage.scripted("3*ok");
    t.equal(await second.ended, 6, "the file keeps a second one away");
    t.match(second.stderr, new RegExp(`pid ${master.process.pid} on `));
    for (const { stderr } of [master, second]) {
      t.notMatch(stderr.replaceAll("\n", ""), /[\p{Cc}\p{Cf}]/u, "nothing raw");
    }
    stage.hand(port);
    t.equal(await master.ended, 0, master.stderr);
    t.match(master.ending(), { done: 3 });
  }, { skip });
}

row("who asked a master cannot play it when it is gone", async (t, stage) => {
  const first = stage.scripted("gate,3*ok");
  await portOf(first);
  const question = "a".repeat(64);
  const asking = new Stranger(
    t,
    `const socket = require("node:net").connect("\\0" + process.argv[1]);
    socket.on("connect", () => socket.write(process.argv[2] + "\\n"));
    socket.on("data", (bytes) => process.stdout.write("heard " + bytes));`,
    [lockName(stage), question],
  );
  const [, heard] = await asking.said(/heard ([0-9a-f]{64})\n/);
  first.signal("SIGKILL");
  await first.ended;
  const player = new Stranger(t, holder(`(socket) => socket.end("${heard}\\n")`), [lockName(stage)]);
  await player.said(/held/);
  const next = stage.scripted("gate,3*ok");
  stage.open();
  stage.hand(await portOf(next));
  t.equal(await next.ended, 0, next.stderr);
  t.match(next.stderr, /cannot prove/);
}, { skip });

row("what stands in <key>.lock is shown escaped, and 4 KiB of it are read", async (t, stage) => {
  const first = stage.scripted("gate,3*ok");
  await portOf(first);
  const path = join(stage.folder, "scripted.lock");
  const note = JSON.parse(readFileSync(path, "utf8"));
  const bad = { ...note, host: "\u001b[2Jweb\u202e\u009b", address: '1.2.3.4:5\n"\u0007' };
  writeFileSync(path, JSON.stringify(bad));
  const second = stage.scripted("gate,3*ok");
  t.equal(await second.ended, 6);
  t.match(second.stderr, /\\e\[2Jweb\\u202e\\x9b/);
  t.notMatch(second.stderr.replaceAll("\n", ""), /[\p{Cc}\p{Cf}]/u);
  writeFileSync(path, JSON.stringify({ ...note, more: "x".repeat(5_000) }));
  first.signal("SIGKILL");
  await first.ended;
  const third = stage.scripted("gate,3*ok");
  stage.open();
  stage.hand(await portOf(third));
  t.equal(await third.ended, 0, third.stderr);
});

row("<key>.lock is removed while its master runs: a second one is refused", async (t, stage) => {
  const first = stage.scripted("gate,3*ok");
  await portOf(first);
  rmSync(join(stage.folder, "scripted.lock"));
  const second = stage.scripted("gate,3*ok");
  t.equal(await second.ended, 6);
  t.match(second.stderr, new RegExp(`pid ${first.process.pid} on `));
  t.ok(stage.has("scripted.lock"), "it is there again");
  first.signal("SIGINT");
  t.equal(await first.ended, 130);
  t.same(first.events("joined"), []);
  t.notOk(stage.has("scripted.lock"));
}, { skip: process.platform === "linux" ? false : "the kernel keeps no lock here" });

row(
  "who connects to the socket of workers holds few files; workers are replaced all the same",
  async (t, stage) => {
    stage.env.TMPDIR = stage.folder;
    const master = stage.scripted("gate,once-exit,5*ok");
    const slave = stage.hand(await portOf(master));
    await until(() => stage.entries("B", 0).length === 1, "a worker came in");
    const [folder] = readdirSync(stage.folder).filter((name) => /^taskmaster-/.test(name));
    const before = await mostFiles(slave, 100);
    const sockets = new Set<Socket>();
    t.teardown(() => sockets.forEach((socket) => socket.destroy()));
    const words = [
      new Uint8Array(0),
      new Uint8Array(35),
      Uint8Array.from({ length: 36 }, (_, at) => at === 3 ? 2 : 0),
    ];
    for (let count = 0; count < 600; count++) {
      const socket = connect(join(stage.folder, folder!, "s")).on("error", () => {});
      sockets.add(socket);
      socket.on("connect", () => socket.write(words[count % 3]!));
    }
    const during = await mostFiles(slave, 1_000);
    t.ok(during <= before + 256 + 16, `${before} files before, ${during} while it is flooded`);
    stage.open();
    t.equal(await master.ended, 0, master.stderr);
    t.match(master.ending(), { done: 7, dead: 0 });
  },
  { skip: process.platform === "linux" ? false : "files are counted in /proc" },
);

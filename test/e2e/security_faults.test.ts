import t from "tap";
import { chmodSync, readdirSync, readFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { encode } from "../../src/protocol/cbor.ts";
import { encodeHello, encodeWelcome, Secret } from "../../src/protocol/handshake.ts";
import { authFor, Raw } from "../link/harness.ts";
import { FakeSlave } from "../kit/fake_slave.ts";
import { welcome } from "../protocol/samples.ts";
import { binary } from "../kit/runtimes.ts";
import { processesOf } from "../kit/processes.ts";
import { portOf } from "../kit/scenario.ts";
import { until } from "../kit/until.ts";
import { row, token } from "./stage.ts";

// Table E of docs/reliability.md, but for hostile frames and floods.

t.jobs = 3;

/** What anybody could make up, of a HELLO. */
const wrongProofs: Record<string, (hello: Uint8Array, replayed: Uint8Array) => Uint8Array> = {
  "another token": (hello) => authFor(hello, new Uint8Array(40).fill(8)),
  "no token": (hello) => authFor(hello, null),
  "a replayed AUTH": (_, replayed) => replayed,
  "a MAC of zeros": (hello) => authFor(hello, token).fill(0, 51, 83),
  "the MAC of other words": (hello) => authFor(hello, token).map((byte, at) => at === 90 ? byte ^ 1 : byte),
  // A bomb behind a MAC that does not hold: it must not be decoded.
  "a bomb for its words": (hello) =>
    Uint8Array.from([...authFor(hello, token).slice(0, 83)].concat(new Array(47).fill(0x81)))
      .map((byte, at) => at === 17 ? 33 + 32 + 47 : byte),
};

row("E1: no token, a wrong one, a replayed handshake: refused alike, and after 1 KiB", async (t, stage) => {
  const master = stage.scripted("3*ok");
  const port = await portOf(master);
  const honest = await Raw.connect(port);
  const replayed = authFor(await honest.bytes(50), token);
  honest.socket.write(replayed);
  t.match(await honest.greeting(), { kind: "welcome" }, "it is good once");
  const replies = new Set<string>();
  const tookMs: number[] = [];
  for (const [what, prove] of Object.entries(wrongProofs)) {
    const raw = await Raw.connect(port);
    const auth = prove(await raw.bytes(50), replayed);
    const sentAtMs = performance.now();
    raw.socket.write(auth);
    replies.add(Buffer.from(await raw.bytes(19)).toString("hex"));
    tookMs.push(performance.now() - sentAtMs);
    await raw.ended;
    t.equal(raw.received.length, 0, `${what}: nothing more comes`);
  }
  t.equal(replies.size, 1, "one answer for all");
  t.ok(Math.max(...tookMs) < 500, "none is made to wait");

  const endless = await Raw.connect(port);
  await endless.bytes(50);
  endless.socket.write(
    Buffer.concat([Buffer.from("taskmaster"), Uint8Array.of(2, 0, 0, 2, 0, 1, 0, 0), new Uint8Array(1_100)]),
  );
  t.match(
    await endless.greeting(),
    { kind: "error", code: "malformed" },
    "beyond 1 KiB nothing is waited for",
  );
  await endless.ended;

  honest.socket.destroy();
  t.same(master.events("joined"), [], "nobody joined");
  t.equal(master.stderr.match(/does not hold this master's token/g)?.length, 1, "one line for all of them");
  stage.hand(port);
  t.equal(await master.ended, 0, master.stderr);
});

row("E1: a reflected handshake: a master's own MAC proves nothing to it", async (t, stage) => {
  const master = stage.scripted("3*ok");
  const port = await portOf(master);
  const one = await Raw.connect(port);
  one.socket.write(authFor(await one.bytes(50), token));
  const told = await one.greeting();
  const mac = told.kind === "welcome" ? told.mac : new Uint8Array(32);
  const other = await Raw.connect(port);
  const auth = authFor(await other.bytes(50), token);
  auth.set(mac, 51);
  other.socket.write(auth);
  t.match(await other.greeting(), { kind: "error", code: "token" });
  one.socket.destroy();
  stage.hand(port);
  t.equal(await master.ended, 0, master.stderr);
});

row("E1: a slave with another token, or with none, exits 5 and says what to do", async (t, stage) => {
  const master = stage.scripted("3*ok");
  const port = await portOf(master);
  stage.env.TASKMASTER_TOKEN = "another-Rb7Xc2LfYp8HsNd4GjUa6EeB5wQ3kVw";
  const stranger = stage.hand(port);
  t.equal(await stranger.ended, 5);
  t.match(stranger.stderr, /token/);
  delete stage.env.TASKMASTER_TOKEN;
  const bare = stage.hand(port);
  t.equal(await bare.ended, 5);
  t.match(bare.stderr, /This user has no token[^]*Start the master first[^]*--token-file/);
  const open = stage.hand(port, ["--insecure"]);
  t.equal(await open.ended, 5);
  t.same(stage.entries("B"), []);
  t.same(master.events("joined"), []);
  master.signal("SIGINT");
  t.equal(await master.ended, 130);
});

/** A master that holds another token, or none, and hands out a job all the same. */
async function rogue(reply: (socket: Socket) => void): Promise<{ port: number; close: () => void }> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.write(encodeHello(new Uint8Array(32), new Secret(token)));
    socket.once("data", () => reply(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { port: (server.address() as AddressInfo).port, close: () => server.close() };
}

row("E2: a rogue master gets no job run: it must prove the token first", async (t, stage) => {
  const proof = {
    masterNonce: new Uint8Array(32),
    slaveNonce: new Uint8Array(32),
    role: "slave",
    certificateHash: new Uint8Array(0),
  } as const;
  const job = encode({ id: 0, act: "ok" });
  const body = encode({
    kind: "lease",
    number: 1,
    seq: 0,
    count: 1,
    attempt: 1,
    alone: "no",
    probe: false,
    jobs: job,
  });
  const lease = Buffer.concat([Buffer.alloc(4), body]);
  lease.writeUInt32BE(body.length);
  const told = encode({ ...welcome, args: { dir: stage.folder } });
  for (const secret of [new Secret(new Uint8Array(40).fill(4)), new Secret(null)]) {
    const master = await rogue((socket) =>
      socket.write(Buffer.concat([encodeWelcome(proof, told, secret), lease]))
    );
    t.teardown(() => master.close());
    const slave = stage.hand(master.port);
    t.equal(await slave.ended, 5, slave.stderr);
    t.match(slave.stderr, /did not prove that it holds this token/);
  }
  t.same(stage.entries("B"), [], "no handler ran");
  t.notOk(stage.has("runtimes"));
});

const badKeys = ["../../etc/x", "/etc/x", "", ".", "..", "a/b", "-x", "a b", "a\nb", "k".repeat(300), "ключ"];

row("E6: a key that could leave its folder: exit 2, naming the rule", async (t, stage) => {
  for (let at = 0; at < badKeys.length; at += 4) {
    await Promise.all(
      badKeys.slice(at, at + 4).map(async (key) => {
        const master = stage.start([binary], [
          "master",
          stage.plugin,
          "--host",
          "127.0.0.1:0",
          `--key=${key}`,
        ]);
        t.equal(await master.ended, 2, `${JSON.stringify(key.slice(0, 20))}: ${master.stderr}`);
        t.match(master.stderr, key === "" ? /--key needs a value/ : /1 to 64 letters, digits/);
      }),
    );
  }
  stage.env.TASKMASTER_KEY = "../x";
  const master = stage.start([binary], ["master", stage.plugin, "--host", "127.0.0.1:0"]);
  t.equal(await master.ended, 2, "by the environment too");
  t.same(stage.entries("S"), []);
});

/** Controls, but the line breaks of the program's own lines; bidi and zero-width characters. */
const unsafe = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

row(
  "E7: escapes, line breaks and bidi in jobs, errors and names are shown escaped, and cut",
  async (t, stage) => {
    const master = stage.scripted("throws:escapes,ok", [
      "--attempts",
      "1",
      "--checkpoint",
      "50ms",
      "--log-level",
      "debug",
    ]);
    const port = await portOf(master);
    const name = `\u001b[31mred\nnext line\u202e${"n".repeat(180)}`;
    const fake = await FakeSlave.join({ host: "127.0.0.1", port }, {
      token,
      name,
      credit: 0,
      plugin: {
        name: `\u001b]0;title\u0007${"p".repeat(200)}`,
        export: "\u200bdefault",
        hash: new Uint8Array(32),
      },
    });
    await fake.take("keep");
    const slave = stage.hand(port, ["--log-level", "debug"]);
    t.equal(await master.ended, 3, master.stderr);
    await fake.closed;
    const state = stage.start([binary], ["state", join(stage.folder, "scripted.state")]);
    await state.ended;
    for (
      const [who, text] of [["master", master.stderr], ["slave", slave.stderr], [
        "state",
        state.stdout,
      ]] as const
    ) {
      t.same(text.split("\n").filter((line) => unsafe.test(line)), [], who);
      t.ok(text.split("\n").every((line) => line.length < 800), `${who}: nothing is long`);
    }
    t.match(master.stderr, /'\\e\[31mred\\nnext line\\u202enn+/, "the slave's name, escaped");
    t.match(master.stderr, /\\e\[2J\\e\]0;owned\\x07 red/, "the error in the summary");
    t.notOk(master.stdout.includes("\u001b"));
  },
);

row("E7: job text in the state and in dead letters, as a person sees it", async (t, stage) => {
  const plugin = stage.write(
    "text.mts",
    `
    const text = "\\u001b[2J\\u202e\\u2028\\nline" + "x".repeat(5000);
    export function* getJobs(last) { if (last === undefined) yield { text }; }
    export function handleJob(job, ctx) { console.log("job:", job.text.slice(0, 20)); ctx.log.warn(job.text); ctx.fatal(job.text); }
  `,
  );
  const master = stage.masterOf(plugin);
  const slave = stage.hand(await portOf(master), [], plugin);
  t.equal(await master.ended, 3, master.stderr);
  await slave.ended;
  const state = stage.start([binary], ["state", join(stage.folder, "text.state")]);
  await state.ended;
  for (const [who, text] of [["master", master.stderr], ["state", state.stdout]] as const) {
    t.same(text.split("\n").filter((line) => unsafe.test(line)), [], who);
    t.ok(text.split("\n").every((line) => line.length < 800), `${who}: nothing is long`);
  }
  const line = readFileSync(join(stage.folder, "text.dead.ndjson"), "utf8");
  t.equal(line.split("\n").length, 2, "one line");
  t.notOk(line.includes("\u001b"));
});

/** A secret that nothing else contains. */
const secret = "S3cret-Nd4GjUa6EeB5wQ3kVw9TzQm7RbXc2LfY";

row(
  "E8: the token is not on the command line, not in plugins, not in workers, not in any log",
  async (t, stage) => {
    stage.env.TASKMASTER_TOKEN = secret;
    const plugin = stage.write(
      "spy.mts",
      `
    import { appendFileSync, readFileSync } from "node:fs";
    const spy = (who, ctx) => appendFileSync(ctx.args.dir + "/spied", who + " " + JSON.stringify([process.env, process.argv]) + "\\n");
    const whole = (who, ctx) => appendFileSync(ctx.args.dir + "/environ", who + " " + readFileSync("/proc/self/environ", "latin1") + "\\n");
    export async function* getJobs(last, ctx) { spy("master", ctx); yield 1; await new Promise(() => {}); }
    export function handleJob(job, ctx) { spy("worker", ctx); whole("worker", ctx); }
  `,
    );
    const words = ["--log-level", "debug"];
    const master = stage.masterOf(plugin, words);
    const slave = stage.hand(await portOf(master), words, plugin);
    await until(() => stage.has("environ"), "the job");
    const lines = processesOf(stage.folder).map((pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8"));
    t.equal(lines.length, 3);
    master.signal("SIGINT");
    await master.ended;
    slave.signal("SIGINT");
    await slave.ended;
    const spied = readFileSync(join(stage.folder, "spied"), "utf8");
    t.equal(spied.trim().split("\n").length, 2, "both sides were spied on");
    t.notMatch(spied, secret, "in no environment that a plugin sees");
    t.notMatch(
      readFileSync(join(stage.folder, "environ"), "latin1"),
      secret,
      "nor in what the kernel shows of a worker",
    );
    for (const text of [...lines, master.stderr, master.stdout, slave.stderr]) t.notMatch(text, secret);
    for (const name of readdirSync(stage.folder).filter((name) => /^spy\.(state|lock|dead)/.test(name))) {
      t.notMatch(readFileSync(join(stage.folder, name), "latin1"), secret, name);
    }
  },
);

row(
  "E8: the secret is never a word of the command line, and its file is for its owner alone",
  async (t, stage) => {
    delete stage.env.TASKMASTER_TOKEN;
    const master = stage.start([binary], [
      "master",
      stage.plugin,
      "--host",
      "127.0.0.1:0",
      "--token",
      secret,
    ]);
    t.equal(await master.ended, 2);
    t.notMatch(master.stderr, secret, "it is not repeated");
    t.match(master.stderr, /token/);
    const file = stage.write("token", `${secret}\n`);
    chmodSync(file, 0o644);
    const open = stage.scripted("ok", ["--token-file", file]);
    t.equal(await open.ended, 5);
    t.match(open.stderr, /chmod 600/);
    chmodSync(file, 0o600);
    const own = stage.scripted("ok", ["--token-file", file]);
    stage.hand(await portOf(own), ["--token-file", file]);
    t.equal(await own.ended, 0, own.stderr);
  },
);

import t from "tap";
import { readFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { formatFingerprint } from "../../src/lib/bytes.ts";
import { encode } from "../../src/protocol/cbor.ts";
import { encodeHello, encodeRefusal, encodeWelcome, Secret } from "../../src/protocol/handshake.ts";
import { hashOf, optionsOf, pair } from "../certificates/certificates.ts";
import { welcome } from "../protocol/samples.ts";
import { portOf } from "../kit/scenario.ts";
import { until } from "../kit/until.ts";
import { Attack, inside } from "../flood/attackers.ts";
import { encodeMessage } from "../../src/protocol/parse.ts";
import { heartbeat, row, token } from "./stage.ts";

// Masters and slaves that are not what they seem, or not any more: what they may cost the other side.

t.jobs = 2;

/** What a program may answer that has the master's port, and not its token. */
const forged: Readonly<Record<string, (socket: Socket) => void>> = {
  "an ERROR: token": (socket) => socket.write(encodeRefusal("token")),
  "an ERROR: version": (socket) => socket.write(encodeRefusal("version")),
  "an ERROR: certificate": (socket) => socket.write(encodeRefusal("certificate")),
  "an ERROR: info, behind AUTH": (socket) => {
    socket.write(hello(new Secret(token)));
    socket.once("data", () => socket.write(encodeRefusal("info")));
  },
  "a HELLO with the insecure flag": (socket) => socket.write(hello(new Secret(null))),
  "a HELLO of another version": (socket) => {
    const bytes = hello(new Secret(token));
    bytes[13] = 9;
    socket.write(bytes);
  },
  "a WELCOME with a bad MAC": (socket) => {
    socket.write(hello(new Secret(token)));
    socket.once("data", () => socket.write(encodeWelcome(proof, encode(welcome), new Secret(otherToken))));
  },
  "an alert of TLS": (socket) => socket.write(Uint8Array.of(0x15, 3, 3, 0, 2, 2, 80)),
};

const otherToken = new Uint8Array(40).fill(4);
const proof = {
  masterNonce: new Uint8Array(32),
  slaveNonce: new Uint8Array(32),
  role: "slave",
  certificateHash: new Uint8Array(0),
} as const;

function hello(secret: Secret): Uint8Array {
  return encodeHello(new Uint8Array(32), secret);
}

/** Answers each connection with the next of these, and the last one for ever. */
class Forger {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  answered = 0;

  constructor(answers: readonly ((socket: Socket) => void)[]) {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => {}).resume();
      answers[Math.min(this.answered++, answers.length - 1)]!(socket);
    });
  }

  async listen(port: number): Promise<void> {
    await new Promise<void>((resolve, reject) =>
      this.#server.once("error", reject).listen(port, "127.0.0.1", resolve)
    );
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  close(): Promise<unknown> {
    for (const socket of this.#sockets) socket.destroy();
    return new Promise((resolve) => this.#server.close(resolve));
  }
}

row(
  "F1: whatever answers in a dead master's place, a slave goes on, and hands in what it did",
  async (t, stage) => {
    const script = "gate:one,gate:two";
    const first = stage.scripted(script, [...heartbeat, "--checkpoint", "50ms"]);
    const port = await portOf(first);
    const slave = stage.hand(port, ["--procs", "2", "--log-level", "debug"]);
    await until(() => stage.entries("B").length === 2, "both jobs run");
    await new Promise((resolve) => setTimeout(resolve, 300)); // a checkpoint has them
    first.signal("SIGKILL");
    await first.ended;

    const forger = new Forger(Object.values(forged));
    await forger.listen(port);
    const count = Object.keys(forged).length;
    await until(() => forger.answered > count + 2 || slave.hasEnded, "each was answered");
    stage.open("one");
    await until(() => stage.entries("E").length === 1 || slave.hasEnded, "a job ends meanwhile");
    await forger.close();
    if (slave.hasEnded) return void t.fail(`the slave ended with ${await slave.ended}: ${slave.stderr}`);
    t.equal(
      slave.stderr.match(/WARN: .* it has not proved that it is the master/g)?.length,
      5,
      "warned of some reasons, once each, and then of no more",
    );

    const second = stage.scripted(script, heartbeat, port);
    await second.printed(/"event":"joined"/);
    stage.open("two");
    t.equal(await second.ended, 0, second.stderr);
    t.equal(await slave.ended, 0, slave.stderr);
    t.same(stage.entries("B").map(({ id }) => id).sort(), [0, 1], "nothing ran twice");
    t.match(second.ending(), { done: 2, repeated: 0 });
  },
);

row(
  "F1: the same of a slave with TLS: a stranger without it, or with another certificate",
  async (t, stage) => {
    const tls = optionsOf("master", stage.folder);
    const first = stage.scripted("gate:one", [...heartbeat, "--checkpoint", "50ms", ...tls]);
    const port = await portOf(first);
    const slave = stage.hand(port, ["--tls-pin", formatFingerprint(hashOf("master"))]);
    await until(() => stage.entries("B").length === 1, "the job runs");
    await new Promise((resolve) => setTimeout(resolve, 300));
    first.signal("SIGKILL");
    await first.ended;

    const plain = new Forger([(socket) => socket.write(hello(new Secret(token)))]);
    await plain.listen(port);
    await slave.printed(/WARN: .* does not speak TLS/);
    await plain.close();
    const { cert, key } = pair("relay");
    const secured = createTlsServer({ cert, key }, (socket) => void socket.on("error", () => {}).resume());
    secured.on("tlsClientError", () => {});
    await new Promise<void>((resolve) => secured.listen(port, "127.0.0.1", resolve));
    await slave.printed(/WARN: .* certificate is not the one that is pinned/);
    await new Promise((resolve) => secured.close(resolve));

    if (slave.hasEnded) return void t.fail(slave.stderr);
    const second = stage.scripted("gate:one", [...heartbeat, ...tls], port);
    await second.printed(/"event":"joined"/);
    stage.open("one");
    t.equal(await second.ended, 0, second.stderr);
    t.equal(await slave.ended, 0, slave.stderr);
    t.equal(stage.entries("B").length, 1, "it ran once");
  },
);

row("F1: before the first WELCOME of its life the same answers are the end: exit 5", async (t, stage) => {
  for (const [what, answer] of Object.entries(forged)) {
    const forger = new Forger([answer]);
    await forger.listen(0);
    t.teardown(() => forger.close());
    const slave = stage.hand(forger.port);
    t.equal(await slave.ended, 5, `${what}: ${slave.stderr}`);
  }
});

/** The most memory that a process had so far, in MiB. Linux only. */
function peakMiB(pid: number): number {
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1_024;
}

row(
  "F2: frames that never end cost a bounded memory together, and a slow link keeps its small one",
  async (t, stage) => {
    const master = stage.scripted("2*ok,gate:end", heartbeat);
    const port = await portOf(master);
    const closed: string[] = [];
    const slow = new Attack(
      port,
      1,
      inside((socket, attack) => {
        // A notice of 1,000 characters, over a link of 1 KB/s or so.
        const notice = encodeMessage({ kind: "notice", text: "n".repeat(1_000) });
        let at = 0;
        attack.every(
          50,
          socket,
          () => socket.write(notice.subarray(at % notice.length, at++ % notice.length + 1)),
        );
        socket.once("close", () => closed.push("slow"));
      }),
    );
    await until(() => master.events("joined").length === 1, "the slow one joined");
    const before = peakMiB(master.process.pid!);

    const count = 40;
    const body = Buffer.alloc(15 << 20);
    const frames = new Attack(
      port,
      count,
      inside((socket) => {
        socket.write(Uint8Array.of(1, 0, 0, 0));
        socket.write(body);
        socket.once("close", () => closed.push("long"));
      }),
    );
    await until(() => closed.length >= count - 4, "those that are too many are ended");
    t.notOk(closed.includes("slow"), "the slow one stays");
    const more = peakMiB(master.process.pid!) - before;
    t.ok(more < 400, `${Math.round(more)} MiB more, of ${count * 15} that were sent at once`);
    t.match(master.stderr, /frames that had begun took all the memory that there is for them/);
    frames.stop();
    stage.hand(port);
    await until(() => stage.entries("E").length === 2, "a real slave works meanwhile");
    slow.stop();
    stage.open("end");
    t.equal(await master.ended, 0, master.stderr);
  },
);

row(
  "F3: dead letters stop the run before they take more than --max-dead, and it goes on from there",
  async (t, stage) => {
    const plugin = stage.write(
      "bad.mts",
      `
    export function* getJobs(last = -1) { for (let id = last + 1; id < 200; id++) yield id; }
    export function handleJob(id, ctx) { ctx.fatal("\\u0001\\u009b\\u202e".repeat(1000)); }
  `,
    );
    const letters = () => stage.read("bad.dead.ndjson").toString().trimEnd().split("\n");
    const seqs = () => new Set(letters().map((line) => JSON.parse(line).seq));
    const first = stage.masterOf(plugin, ["--max-dead", "200KiB"]);
    const port = await portOf(first);
    const slave = stage.hand(port, [], plugin);
    t.equal(await first.ended, 7, first.stderr);
    t.match(
      first.stderr,
      /Ended, saved: the dead letters would take more than --max-dead allows: ".*" has .*B/,
    );
    t.match(first.stderr, /resume with a larger --max-dead, or move that file away before/);
    t.ok(stage.read("bad.dead.ndjson").length <= 200 << 10, "no byte more than that");
    t.ok(letters().every((line) => Buffer.byteLength(line) < 12 << 10), "each is bounded as it is written");
    t.match(first.ending(), { exitCode: 7, outcome: { kind: "no room" } });

    const second = stage.masterOf(plugin, ["--max-dead", "1B"], port);
    t.equal(await second.ended, 7, `none fits: ${second.stderr}`);
    t.notOk(slave.hasEnded, "a slave waits for the next master");
    const third = stage.masterOf(plugin, [], port);
    t.equal(await third.ended, 3, third.stderr);
    // where all jobs had failed before, their letters alone were left, and this master did not wait for a slave
    if (!slave.hasEnded) slave.signal("SIGTERM");
    t.equal(await slave.ended, 0, slave.stderr);
    t.equal(seqs().size, 200, "every job has its letter");
    t.match(third.ending(), { dead: 200, stranded: 0 });
  },
);

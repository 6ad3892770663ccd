import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { once } from "node:events";
import {
  callSupervisor,
  greetWorker,
  localLink,
  makeWorkerSecret,
  notProved,
  type SupervisorLink,
  type WorkerLink,
} from "../../src/link/local_link.ts";

let closed: (reason: string) => void;

t.test("supervisor and worker speak over a Unix socket; only the worker beats", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "tm-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "s");
  const accepted = new Promise<Socket>((resolve) => {
    const server = createServer((socket) => {
      server.close();
      resolve(socket);
    });
    server.listen(path, () =>
      connect({ path }, function (this: Socket) {
        worker(this);
      }));
  });
  let nowMs = 0;
  const done = new Promise<string>((resolve) => (closed = resolve));
  const supervisor = localLink(await accepted, "supervisor", { nowMs: () => nowMs });
  t.equal(supervisor.tick(0), Infinity, "a supervisor owes no beats");
  const kinds: string[] = [];
  supervisor.onMessage = (message) => {
    kinds.push(message.kind);
    if (message.kind === "hello") supervisor.send({ kind: "withdraw" });
    if (message.kind === "beat") supervisor.send({ kind: "quit", waitMs: 5_000, isSick: false });
  };
  t.equal(await done, "quit");
  t.same(kinds, ["hello", "beat"]);
  t.equal(supervisor.peer, "local");

  function worker(socket: Socket): void {
    const link = localLink(socket, "worker", { nowMs: () => nowMs, heartbeatMs: 250 });
    link.onMessage = (message) => {
      if (message.kind === "withdraw") link.tick(nowMs += 250);
      if (message.kind === "quit") void link.close("quit");
    };
    link.onClose = (reason) => closed(reason);
    link.send({ kind: "hello", pid: 1, runtime: "test" });
  }
});

t.test("a local link is not given up however much is queued", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "tm-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const server = createServer();
  const accepted = new Promise<Socket>((resolve) => server.once("connection", resolve));
  await new Promise<void>((resolve) => server.listen(join(folder, "s"), resolve));
  const link = localLink(connect(join(folder, "s")), "worker", { nowMs: () => 0 });
  const reasons: string[] = [];
  link.onClose = (reason) => reasons.push(reason);
  const supervisor = localLink(await accepted, "supervisor", { nowMs: () => 0 });
  let count = 0;
  const heard = new Promise<void>((resolve) => {
    supervisor.onMessage = () => {
      if (++count === 1_600) resolve();
    };
  });
  const message = "x".repeat(16_000);
  for (let sent = 0; sent < 1_600; sent++) link.send({ kind: "broken", message });
  t.ok(link.queuedBytes > 20_000_000, "all of it in one turn");
  t.same(reasons, []);
  await heard;
  await Promise.all([link.close("over"), supervisor.close("over")]);
  server.close();
});

/** Two ends of a connection over a Unix socket. */
async function ends(t: { testdir(): string; teardown(end: () => void): void }): Promise<[Socket, Socket]> {
  const path = join(mkdtempSync(join(tmpdir(), "tm-")), "s");
  const server = createServer();
  t.teardown(() => rmSync(join(path, ".."), { recursive: true }));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const dialed = connect(path);
  const [accepted] = await once(server, "connection") as [Socket];
  t.teardown(() => [dialed, accepted].forEach((socket) => socket.destroy()));
  server.close();
  return [accepted, dialed];
}

/** All that comes, until there is so much of it. */
async function read(socket: Socket, count: number): Promise<Buffer> {
  let bytes = Buffer.alloc(0);
  while (bytes.length < count) bytes = Buffer.concat([bytes, (await once(socket, "data"))[0] as Buffer]);
  return bytes;
}

const nowMs = (): number => 0;
const secret = makeWorkerSecret();
const supervisorOf = (socket: Socket, awaited: () => boolean = () => true): Promise<SupervisorLink> =>
  new Promise((resolve) =>
    greetWorker(socket, {
      secretOf: (worker) => worker === 7 && awaited() ? secret : undefined,
      onWorker: (_, link) => resolve(link),
      nowMs,
    })
  );
/** What becomes of who connected. */
const outcomeOf = (socket: Socket, awaited?: () => boolean): Promise<string> =>
  Promise.race([
    supervisorOf(socket, awaited).then(() => "let in"),
    once(socket, "close").then(() => "cut off"),
  ]);
/** The worker's end: its link, or why there is none. */
const workerOf = (socket: Socket, worker = 7, known = secret): Promise<WorkerLink | string> =>
  new Promise((resolve) =>
    callSupervisor(socket, {
      worker,
      secret: known,
      isInPlace: () => true,
      options: { nowMs },
      onLink: resolve,
      onEnd: resolve,
    })
  );

t.test("a worker and its supervisor prove the secret to each other, and neither tells it", async (t) => {
  const [atSupervisor, atWorker] = await ends(t);
  const said: Buffer[] = [];
  for (const socket of [atSupervisor, atWorker]) socket.on("data", (chunk: Buffer) => said.push(chunk));
  const [supervisor, worker] = await Promise.all([supervisorOf(atSupervisor), workerOf(atWorker)]);
  if (typeof worker === "string") return void t.fail(worker);
  const heard = new Promise((resolve) => supervisor.onMessage = resolve);
  worker.send({ kind: "hello", pid: 1, runtime: "test" });
  t.match(await heard, { kind: "hello" });
  for (const encoding of ["latin1", "hex", "base64", "base64url"] as const) {
    const all = Buffer.concat(said).toString("latin1");
    t.notOk(all.includes(Buffer.from(secret).toString(encoding)), `not as ${encoding}`);
  }
});

t.test("what a worker says in the turn of its proof is heard", async (t) => {
  const [atSupervisor, atWorker] = await ends(t);
  const heard = supervisorOf(atSupervisor).then((link) => new Promise((resolve) => link.onMessage = resolve));
  const worker = await workerOf(atWorker);
  if (typeof worker === "string") return void t.fail(worker);
  worker.send({ kind: "hello", pid: 1, runtime: "test" });
  t.match(await heard, { kind: "hello" });
});

t.test("a stranger that sits at the socket gets a number and a nonce, and is not believed", async (t) => {
  // What a real supervisor answered another time.
  const [first, firstWorker] = await ends(t);
  const recorded = read(firstWorker, 64);
  await Promise.all([supervisorOf(first), workerOf(firstWorker)]);
  const answers: Record<string, (call: Buffer) => Uint8Array> = {
    "zeros": () => new Uint8Array(64),
    "what the worker said": (call) => Buffer.concat([call, call]).subarray(0, 64),
    "only its nonce": (call) => Buffer.concat([call.subarray(4), new Uint8Array(32)]),
  };
  const replay = await recorded;
  answers["what was recorded"] = () => replay;
  for (const [what, answer] of Object.entries(answers)) {
    const [stranger, atWorker] = await ends(t);
    const outcome = workerOf(atWorker);
    const call = await read(stranger, 36);
    t.equal(call.length, 36, `${what}: it says no more before`);
    stranger.write(answer(call));
    t.equal(await outcome, notProved, what);
  }
  const [stranger, atWorker] = await ends(t);
  const outcome = workerOf(atWorker);
  stranger.destroy();
  t.not(await outcome, notProved, "an end is no wrong proof");
  t.type(await outcome, "string");
});

t.test("a stranger that connects is no worker, whatever it says", async (t) => {
  const [atSupervisor, dialed] = await ends(t);
  const proof = read(atSupervisor, 68);
  await Promise.all([supervisorOf(atSupervisor), workerOf(dialed)]);
  const recorded = await proof;
  const cases: Record<string, (stranger: Socket) => Promise<unknown>> = {
    "a number that nobody awaits": (stranger) => workerOf(stranger, 8),
    "another secret": (stranger) => workerOf(stranger, 7, makeWorkerSecret()),
    "what was recorded": async (stranger) => {
      stranger.write(recorded.subarray(0, 36));
      const answer = await read(stranger, 64);
      stranger.write(recorded.subarray(36));
      return answer;
    },
    "the supervisor's own proof": async (stranger) => {
      stranger.write(recorded.subarray(0, 36));
      stranger.write((await read(stranger, 64)).subarray(32));
    },
    "all at once": (stranger) => Promise.resolve(stranger.write(new Uint8Array(1_000_000))),
  };
  for (const [what, play] of Object.entries(cases)) {
    const [atSupervisor, stranger] = await ends(t);
    stranger.on("error", () => {});
    const outcome = outcomeOf(atSupervisor);
    await play(stranger);
    t.equal(await outcome, "cut off", what);
    t.ok(atSupervisor.bytesRead < 100_000, `${what}: little is read`);
  }
});

t.test("a worker that came in meanwhile cannot come in twice", async (t) => {
  const [atSupervisor, atWorker] = await ends(t);
  let isAwaited = true;
  const outcome = outcomeOf(atSupervisor, () => isAwaited);
  const worker = await workerOf(atWorker);
  isAwaited = false;
  t.not(typeof worker, "string", "it has the proof, and was slow");
  t.equal(await outcome, "cut off");
});

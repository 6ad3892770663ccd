import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { localLink } from "../../src/link/local_link.ts";

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
    link.send({ kind: "hello", pid: 1, secret: "s", runtime: "test" });
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

import t from "tap";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { FakeSlave, jobsOf } from "./fake_slave.ts";
import { start, token } from "./harness.ts";

/** A proxy to `port` that can stop reading what the master sends. */
async function slowProxy(t: { teardown(callback: () => unknown): unknown }, port: number) {
  const sockets: Socket[] = [];
  let upstream: Socket | undefined;
  const server = createServer((socket) => {
    upstream = connect(port, "127.0.0.1");
    sockets.push(socket, upstream);
    for (const each of [socket, upstream]) each.on("error", () => {});
    socket.pipe(upstream);
    upstream.on("data", (chunk) => socket.write(chunk));
    upstream.on("close", () => socket.destroy());
    socket.on("close", () => upstream?.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => {
    sockets.forEach((socket) => socket.destroy());
    server.close();
  });
  return {
    port: (server.address() as AddressInfo).port,
    pause: () => upstream!.pause(),
    resume: () => upstream!.resume(),
  };
}

t.test("a slave that reads nothing gets no more leases, and holds up nobody", async (t) => {
  const bytes = new Uint8Array(512 << 10);
  const count = 60;
  const { master, join } = await start(t, {
    getJobs: function* () {
      for (let id = 0; id < count; id++) yield { id, bytes };
    },
  });
  const proxy = await slowProxy(t, master.address.port);
  const slow = await FakeSlave.join({ host: "127.0.0.1", port: proxy.port }, {
    token,
    credit: 1,
    name: "slow",
  });
  const first = await slow.lease();
  proxy.pause();
  slow.credit = 1_000;
  slow.answer(first);
  await until(() => master.status().done === 1 && master.status().inFlight > 0);
  const quick = await join({ credit: 2, name: "quick" });
  const done = quick.work();
  await until(() => master.status().buffered === 0 && master.status().slaves === 2);
  const { inFlight } = master.status();
  t.ok(
    inFlight >= 2 && inFlight < 40,
    `what is under way to it stays there: ${inFlight} jobs, not all of them`,
  );
  proxy.resume();
  const rest = slow.work();
  const jobs = [...jobsOf(first), ...await done, ...await rest].map((job) => (job as { id: number }).id);
  t.same(jobs.sort((a, b) => a - b), Array.from({ length: count }, (_, id) => id), "each job once");
  t.match((await master.finished).status, { done: count, repeated: 0 });
});

/** Looks every few milliseconds; tap's own timeout ends it. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 5));
}

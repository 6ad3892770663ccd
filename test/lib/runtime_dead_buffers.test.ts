import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import t from "tap";
import { DeadBuffers } from "../../src/lib/runtime.ts";
import { bun } from "../kit/runtimes.ts";

const mebibyte = 1 << 20;
/** MiB that buffers may always grow by. */
const growth = 6;

/** A runtime that lets the dead gather until it is asked to collect; each mebibyte is a buffer. */
class FakeRuntime {
  live = 0;
  dead = 0;
  objects = 0;
  collections = 0;
  asked = 0;

  memoryUsage(): { arrayBuffers: number; heapUsed: number } {
    this.asked++;
    const arrayBuffers = (this.live + this.dead) * mebibyte;
    return { arrayBuffers, heapUsed: arrayBuffers + this.objects * mebibyte };
  }

  collect(): void {
    this.collections++;
    this.dead = 0;
  }
}

/** Each buffer made takes the place of one that dies, once there are `live`. Returns the most there ever were. */
function pass(runtime: FakeRuntime, buffers: DeadBuffers, count: number, live: number): number {
  let most = 0;
  for (let made = 0; made < count; made++) {
    if (runtime.live < live) runtime.live++;
    else runtime.dead++;
    most = Math.max(most, runtime.live + runtime.dead);
    buffers.made(mebibyte);
  }
  return most;
}

t.test("dead buffers never outgrow half of what lives, however many pass", async (t) => {
  const runtime = new FakeRuntime();
  const most = pass(runtime, new DeadBuffers(runtime), 1_000, 64);
  t.ok(most <= 64 + 32 + 1, `${most} MiB at most, of which 64 live`);
  const untilAllLive = Math.ceil(64 / growth);
  t.ok(runtime.collections <= untilAllLive + 1_000 / 32, `${runtime.collections} collections`);
});

t.test("a little garbage is not worth a collection", async (t) => {
  const runtime = new FakeRuntime();
  const most = pass(runtime, new DeadBuffers(runtime), 1_000, 1);
  t.ok(most <= 1 + growth + 1, `${most} MiB at most`);
  t.ok(runtime.collections <= 1_000 / growth, `${runtime.collections} collections`);
});

t.test("what the runtime collects by itself is not collected again", async (t) => {
  const runtime = new FakeRuntime();
  const buffers = new DeadBuffers(runtime);
  for (let round = 0; round < 100; round++) {
    pass(runtime, buffers, 5, 4);
    runtime.dead = 0;
  }
  t.equal(runtime.collections, 1, "the first, which finds out what lives");
});

t.test("what lives is measured anew once there is less of it", async (t) => {
  const runtime = new FakeRuntime();
  const buffers = new DeadBuffers(runtime);
  pass(runtime, buffers, 200, 100);
  runtime.live = runtime.dead = 0;
  const most = pass(runtime, buffers, 200, 4);
  t.ok(most <= 4 + growth + 1, `${most} MiB at most, although 100 lived before`);
});

t.test("where objects are many, a collection waits for half as many bytes of buffers", async (t) => {
  const runtime = new FakeRuntime();
  runtime.objects = 500;
  pass(runtime, new DeadBuffers(runtime), 950, 8);
  t.equal(runtime.collections, 3);
});

t.test("the runtime is not asked at each buffer; one without such a collector is left alone", async (t) => {
  const runtime = new FakeRuntime();
  const buffers = new DeadBuffers(runtime);
  for (let made = 0; made < 200_000; made++) buffers.made(7);
  t.equal(runtime.asked, 1);
  t.doesNotThrow(() => new DeadBuffers().made(64 * mebibyte), "this runtime");
});

t.test("Bun's own collector is asked for, and lets the dead gather if it is not", async (t) => {
  const [helped, alone] = [bunPeakMB("helped"), bunPeakMB("alone")];
  t.ok(helped < 17 + 8.5 + 10, `${helped} MB of buffers at most, of which 17 live`);
  t.ok(alone > 17 + 17 + 10, `${alone} MB without help`);
});

function bunPeakMB(how: string): number {
  const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));
  const args = [path("./buffers_in_bun.ts"), how];
  const { stdout, stderr, status } = spawnSync(bun, args, {
    encoding: "utf8",
    timeout: 30_000,
  });
  if (status !== 0) throw new Error(stderr);
  return Number(stdout);
}

import t from "tap";
import { StateError } from "../../src/lib/errors.ts";
import { readDeadLetters } from "../kit/dead_letters.ts";
import { SaveError } from "../../src/state/disk.ts";
import { FakeDisk, systemError } from "./fake_disk.ts";
import { attempt, listen, openFake, someStranded, spanOf, stateOf, untouched } from "./fixtures.ts";

/** Stands for the end of the process: nothing after it happens. */
class Crash extends Error {}

/** Lets `steps` steps happen, then none. */
function crashAfter(fake: FakeDisk, steps: number): void {
  let left = steps;
  fake.onStep = () => {
    if (left-- <= 0) throw new Crash();
  };
}

/** Deterministic, in [0, 1). */
function fractionsFrom(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** What a life of a master had been told is durable when it was cut off. */
async function live(
  fake: FakeDisk,
  saves: number,
  openings = {},
): Promise<{ durable: number; tried: number }> {
  let durable = 0, tried = 0;
  let store;
  try {
    store = await openFake(fake, openings);
    durable = store.loaded?.done ?? 0;
    for (let done = durable + 1; done <= durable + saves; done++) {
      tried = done;
      await store.save(stateOf(done, [{ ...someStranded, history: untouched }]));
      durable = done;
      saves -= 1;
    }
  } catch (error) {
    if (!(error instanceof Crash) && !(error instanceof SaveError) && !(error instanceof StateError)) {
      throw error;
    }
  } finally {
    await store?.close();
  }
  return { durable, tried };
}

async function stepsOf(prepare: () => Promise<FakeDisk>, openings = {}): Promise<number> {
  const fake = await prepare();
  const before = fake.steps;
  await live(fake, 2, openings);
  return fake.steps - before;
}

const earlier = async () => {
  const fake = new FakeDisk();
  await live(fake, 3);
  return fake;
};

t.test("killed at any step of two saves: the old or the new state loads, never an older one", async (t) => {
  const steps = await stepsOf(earlier);
  t.ok(steps >= 30, `${steps} steps`);
  for (let at = 0; at < steps; at++) {
    const fake = await earlier();
    crashAfter(fake, at);
    const { durable, tried } = await live(fake, 2);
    const after = await openFake(fake.killed());
    const done = after.loaded?.done ?? 0;
    t.ok(
      done >= Math.max(3, durable) && done <= Math.max(3, durable, tried),
      `step ${at}: ${done}, durable ${durable}`,
    );
    await after.close();
  }
});

t.test("a power cut at any step: the same, whatever was written of what was not synced", async (t) => {
  const steps = await stepsOf(earlier);
  for (let at = 0; at < steps; at++) {
    for (let seed = 1; seed <= 4; seed++) {
      const fake = await earlier();
      crashAfter(fake, at);
      const { durable, tried } = await live(fake, 2);
      const after = await openFake(fake.powerCut(fractionsFrom(at * 100 + seed)));
      const done = after.loaded?.done ?? 0;
      const isRight = done >= Math.max(3, durable) && done <= Math.max(3, durable, tried);
      if (!isRight) t.fail(`step ${at}, seed ${seed}: ${done}, durable ${durable}, tried ${tried}`);
      await after.close();
    }
  }
});

t.test("the state is never absent between two saves", async (t) => {
  const fake = await earlier();
  const store = await openFake(fake);
  let looks = 0;
  fake.onStep = () => {
    looks += 1;
    if (!fake.names.has("/d/posts.state") || !fake.names.has("/d/posts.state.prev")) t.fail("it is absent");
  };
  await store.save(stateOf(9));
  t.ok(looks > 8);
  await store.close();
});

t.test("a power cut at any step of a reset: the earlier run or a new one, never a mix", async (t) => {
  const reset = { reset: true, newRunId: () => "run-2" };
  const steps = await stepsOf(earlier, reset);
  for (let at = 0; at < steps * 5; at++) {
    const step = Math.floor(at / 5);
    const fake = await earlier();
    fake.put("/d/posts.dead.ndjson", new TextEncoder().encode("{}\n"));
    crashAfter(fake, step);
    await live(fake, 2, reset);
    const cut = fake.powerCut(fractionsFrom(at + 1));
    const after = await openFake(cut, { newRunId: () => "run-3" });
    if (after.runId === "run-1") t.equal(after.loaded?.done, 3, `step ${step}: the earlier run`);
    else t.ok((after.loaded?.done ?? 0) <= 2, `step ${step}: a new run`);
    t.ok(after.loaded !== null || after.runId === "run-3");
    if (after.runId !== "run-1") {
      t.notOk(cut.names.has("/d/posts.dead.ndjson"), "the new run has no old dead letters");
    }
    await after.close();
  }
});

t.test("a power cut at any step of a bury: what was reported is there, and the next line is whole", async (t) => {
  const letter = (seq: number) => ({
    seq,
    job: spanOf(seq, [{ id: seq }]).bytes,
    history: { ...untouched, attempts: [attempt] },
  });
  for (let at = 0; at < 30; at++) {
    for (let seed = 1; seed <= 5; seed++) {
      const fake = await earlier();
      const store = await openFake(fake);
      crashAfter(fake, at);
      let buried = 0;
      for (const seq of [1, 2, 3]) {
        if (!await store.bury([letter(seq)]).then(() => true, () => false)) break;
        buried = seq;
      }
      await store.close();
      const cut = fake.powerCut(fractionsFrom(at * 10 + seed));
      const next = await openFake(cut);
      await next.bury([letter(9)]);
      const { letters, damagedLines } = await readDeadLetters("/d/posts.dead.ndjson", cut.disk);
      const seqs = letters.map(({ seq }) => seq);
      if (damagedLines > 0 || seqs.at(-1) !== 9) t.fail(`step ${at}: ${seqs}, ${damagedLines} damaged`);
      for (let seq = 1; seq <= buried; seq++) if (!seqs.includes(seq)) t.fail(`step ${at}: ${seq} is lost`);
      await next.close();
    }
  }
});

for (const code of ["ENOSPC", "EIO"]) {
  t.test(`${code} at any step of a save: it says so, the good file stays, the next save succeeds`, async (t) => {
    const probe = await openFake(await earlier());
    await probe.close();
    let failures = 0;
    for (let at = 0;; at++) {
      const fake = await earlier();
      const { log } = listen();
      const store = await openFake(fake, { log });
      let left = at, hit = "";
      fake.onStep = (step, path) => {
        if (left-- === 0) throw systemError(code, hit = `${step} ${path}`);
      };
      const error = await store.save(stateOf(4)).then(() => null, (error: unknown) => error);
      fake.onStep = () => {};
      if (hit === "") {
        await store.close();
        break;
      }
      if (error !== null) {
        failures += 1;
        t.ok(error instanceof SaveError, `${hit} is tried again`);
        t.match((error as Error).message, code);
      }
      if (fake.openFiles > 0) t.fail(`${hit}: a file stays open`);
      await store.save(stateOf(5));
      t.notOk(fake.listing.some((name) => name.includes(".tmp")), "nothing is left behind");
      await store.close();
      const next = await openFake(fake);
      t.equal(next.loaded?.done, 5);
      await next.close();
    }
    t.ok(failures >= 8, `${failures} steps can fail`);
  });
}

t.test("EIO at any step of a start: it is refused, and says so, before a job is handed out", async (t) => {
  const letters = new TextEncoder().encode('{"seq":1,"handled":"now"}\n');
  for (let at = 0;; at++) {
    const fake = await earlier();
    fake.put("/d/posts.dead.ndjson", letters);
    let left = at, hit = "";
    fake.onStep = (step, path) => {
      if (left-- === 0) throw systemError("EIO", hit = `${step} ${path}`);
    };
    const start = async () => {
      const store = await openFake(fake);
      await store.setAddress("web1:5050", null).finally(() => store.close());
    };
    const error = await start().then(() => null, (error: unknown) => error);
    if (fake.openFiles > 0) t.fail(`${hit}: a file stays open`);
    if (hit === "") return t.ok(at >= 20, `${at} steps`);
    // what is only removed may stay
    if (error === null) t.match(hit, /lock/, `${hit} is survived`);
    else if (!(error instanceof StateError) || !error.message.includes("EIO")) t.fail(`${hit}: ${error}`);
  }
});

t.test("EIO at any step of a bury: nothing stays open, and the next one succeeds", async (t) => {
  for (let at = 0;; at++) {
    const fake = await earlier();
    const store = await openFake(fake);
    let left = at, hit = "";
    fake.onStep = (step, path) => {
      if (left-- === 0) throw systemError("EIO", hit = `${step} ${path}`);
    };
    const letters = [{ seq: 1, job: spanOf(1, [{ id: 1 }]).bytes, history: untouched }];
    await store.bury(letters).catch((error: unknown) => t.ok(error instanceof SaveError, hit));
    fake.onStep = () => {};
    if (fake.openFiles > 0) t.fail(`${hit}: a file stays open`);
    await store.bury(letters);
    await store.close();
    if (hit === "") return t.ok(at >= 6, `${at} steps`);
  }
});

t.test("a failed sync: the file it was of is never renamed into place", async (t) => {
  const fake = await earlier();
  const store = await openFake(fake);
  const written: string[] = [], renamed: string[] = [];
  let isFirst = true;
  fake.onStep = (step, path) => {
    if (step === "open new") written.push(path);
    if (step === "rename") renamed.push(path);
    if (step === "sync" && isFirst) {
      isFirst = false;
      throw systemError("EIO");
    }
  };
  await t.rejects(store.save(stateOf(4)), SaveError);
  t.same(renamed, []);
  t.notOk(fake.names.has(written[0]!), "it is gone");
  await store.save(stateOf(4));
  t.equal(written.length, 2, "written again from memory");
  await store.close();
});

t.test("short writes are gone on with", async (t) => {
  const fake = await earlier();
  const store = await openFake(fake);
  fake.writeMax = 7;
  await store.save(stateOf(4, [someStranded]));
  fake.writeMax = Infinity;
  await store.close();
  const next = await openFake(fake);
  t.equal(next.loaded?.done, 4);
  await next.close();
});

t.test("a write that takes nothing is no space left", async (t) => {
  const fake = await earlier();
  const store = await openFake(fake);
  fake.writeMax = 0;
  await t.rejects(store.save(stateOf(4)), /no space left/);
  fake.writeMax = Infinity;
  await store.close();
});

t.test("without hard links, the one before is a copy that is synced", async (t) => {
  const fake = await earlier();
  const store = await openFake(fake);
  const synced: string[] = [];
  fake.onStep = (step, path) => {
    if (step === "link") throw systemError("EPERM");
    if (step === "sync") synced.push(path);
  };
  await store.save(stateOf(4));
  await store.save(stateOf(5));
  t.ok(synced.some((path) => path.startsWith("/d/posts.state.prev.tmp.")));
  await store.close();
  fake.onStep = () => {};
  fake.names.delete("/d/posts.state");
  const next = await openFake(fake);
  t.equal(next.loaded?.done, 4);
  await next.close();
});

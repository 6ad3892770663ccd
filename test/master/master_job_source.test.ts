import t, { type Test } from "tap";
import { IterableSource } from "../../src/plugin/iterable_source.ts";
import type { JobSource, Reading, SourceNeeds } from "../../src/plugin/source.ts";
import { decode, JobEncoder } from "../../src/protocol/cbor.ts";
import { jobsIn } from "../kit/fake_slave.ts";

/** The source of a master: of all of `src` only the file that chooses it is another. */
let chosen: JobSource;
const { start } = await t.mockImport<typeof import("./harness.ts")>("./harness.ts", {
  "../../src/plugin/kinds.ts": { sourceOf: () => chosen },
});

function startWith(
  t: Test,
  source: JobSource,
  options?: Parameters<typeof start>[2],
): ReturnType<typeof start> {
  chosen = source;
  return start(t, {}, options);
}

/** Rows in memory, encoded by the source itself; each has its index for a cursor. Blocks of three at most. */
class RowSource implements JobSource {
  readonly name = "rows";
  readonly lasts: unknown[] = [];
  readonly readings: RowReading[] = [];
  readonly rows: readonly unknown[];
  /** Before which row a reading fails, once. */
  failsAt = -1;

  constructor(rows: readonly unknown[]) {
    this.rows = rows;
  }

  read(last: Uint8Array | undefined, needs: SourceNeeds): Reading {
    this.lasts.push(last && decode(last));
    const from = last === undefined ? 0 : decode(last) as number + 1;
    const reading = new RowReading(this, from, needs);
    this.readings.push(reading);
    return reading;
  }
}

class RowReading implements Reading {
  isOver = false;
  unanswered: number | null = null;
  isClosed = false;
  readonly #source: RowSource;
  readonly #needs: SourceNeeds;
  readonly #jobs = new JobEncoder();
  readonly #cursors = new JobEncoder();
  #next: number;

  constructor(source: RowSource, from: number, needs: SourceNeeds) {
    this.#source = source;
    this.#next = from;
    this.#needs = needs;
    this.pull();
  }

  pull(): void {
    queueMicrotask(() => this.#yield());
  }

  close(): Promise<void> {
    this.isOver = this.isClosed = true;
    return Promise.resolve();
  }

  #yield(): void {
    const { rows } = this.#source;
    for (let room = this.#room(); room > 0 && this.#next < rows.length; room = this.#room()) {
      if (this.#next === this.#source.failsAt) return this.#fail();
      for (; room > 0 && this.#next < rows.length && this.#next !== this.#source.failsAt; room--) {
        this.#jobs.append(rows[this.#next]);
        this.#cursors.append(this.#next++);
      }
      const block = { ...this.#jobs.take(), cursors: this.#cursors.take() };
      this.#needs.tell({ kind: "yielded", block, moreAtHand: this.#next < rows.length });
    }
    if (this.isOver || this.#next < rows.length) return;
    this.isOver = true;
    this.#needs.tell({ kind: "source ended" });
  }

  #room(): number {
    return this.isOver ? 0 : Math.min(3, this.#needs.demand().jobs);
  }

  #fail(): void {
    this.#source.failsAt = -1;
    this.isOver = true;
    this.#needs.tell({ kind: "source failed", message: "rows were locked", fatal: false });
  }
}

const letters = ["a", "b", "c", "d", "e", "f", "g", "h"];

t.test("a source that encodes its own blocks feeds a master, and never beyond its demand", async (t) => {
  const source = new RowSource(letters);
  const { master, join } = await startWith(t, source, { jobsMax: 4 });
  const slave = await join({ credit: 2 });
  const first = await slave.lease();
  t.same(jobsIn(first), ["a", "b"]);
  t.match(master.status(), { handedOut: 2, buffered: 2 }, "four are yielded, as many as may be");
  slave.answer(first);
  t.same(await slave.work(), letters.slice(2));
  t.match(await master.finished, { outcome: { kind: "complete" }, status: { done: 8, stranded: 0 } });
  t.same(source.lasts, [undefined]);
});

t.test("it is opened again at its own cursor: after a failure, and by the master that resumes", async (t) => {
  const stateDir = t.testdir();
  const source = new RowSource(letters);
  source.failsAt = 5;
  const { master, join, logged } = await startWith(t, source, { stateDir, jobsMax: 5 });
  const slave = await join({ credit: 2 });
  for (let count = 0; count < 3; count++) slave.answer(await slave.lease());
  t.match(logged.join("\n"), /warn: rows were locked; it is called again in 1 s/);
  const lost = await slave.lease();
  t.same(jobsIn(lost), ["f", "g"]);
  t.same(source.lasts, [undefined, 4], "behind what it yielded before");
  master.stop();
  master.stop();
  t.match((await master.finished).status, { done: 5, stranded: 2 });

  const again = new RowSource([...letters, "i"]);
  const resumed = await startWith(t, again, { stateDir });
  const other = await resumed.join();
  t.same((await other.work()).sort(), ["f", "g", "h", "i"], "what was not done, and what is new");
  t.same(again.lasts, [6]);
  t.match(await resumed.master.finished, { outcome: { kind: "complete" }, status: { done: 9 } });
});

t.test("it is closed when the run stops", async (t) => {
  const source = new RowSource(letters);
  const { master, join } = await startWith(t, source, { jobsMax: 2 });
  await (await join()).lease();
  t.match(source.readings, [{ isClosed: false, isOver: false }]);
  master.stop();
  await master.finished;
  t.match(source.readings, [{ isClosed: true }]);
});

t.test("values of another source than getJobs are read as those of getJobs are", async (t) => {
  const opened: unknown[] = [];
  const source = new IterableSource({
    name: "numbers",
    jobs: function* (last) {
      opened.push(last);
      for (let number = (last as number ?? 0) + 1; number <= 5; number++) {
        if (number === 4 && last === undefined) throw new Error("the line is down");
        yield { number };
      }
    },
    cursor: (job) => (job as { number: number }).number,
  });
  const { master, join, logged } = await startWith(t, source);
  const slave = await join();
  t.same(await slave.work(), [1, 2, 3, 4, 5].map((number) => ({ number })));
  t.same(opened, [undefined, 3]);
  t.match(await master.finished, { outcome: { kind: "complete" }, status: { done: 5 } });
  t.match(logged.join("\n"), /warn: numbers threw: the line is down; it is called again in 1 s/);
});

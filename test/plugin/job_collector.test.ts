import t from "tap";
import { JobCollector } from "../../src/plugin/job_collector.ts";
import { decode, encode } from "../../src/protocol/cbor.ts";

type Job = Readonly<{ id: number; text?: string }>;

/** What `last` would be behind each of these jobs, and whether they are encoded beside the jobs. */
function cursorsOf(
  cursor: (job: Job) => unknown,
  jobs: readonly Job[],
): { last: unknown[]; areBeside: boolean } {
  const collector = new JobCollector(cursor as (job: unknown) => unknown);
  for (const job of jobs) collector.append(job);
  const { cursors, ...own } = collector.take();
  const { bytes, ends } = cursors ?? own;
  const last = [...ends].map((end, index) => decode(bytes.slice(index === 0 ? 0 : ends[index - 1], end)));
  return { last, areBeside: cursors !== null };
}

const jobs: readonly Job[] = Array.from({ length: 700 }, (_, id) => ({ id, text: `job ${id}` }));

t.test("a job that is its own cursor is encoded once, whatever cursors the block has beside", (t) => {
  t.same(cursorsOf((job) => job, jobs), { last: jobs, areBeside: false });
  t.same(cursorsOf(({ id }) => id, jobs), { last: jobs.map(({ id }) => id), areBeside: true });
  for (const at of [0, 1, 400, 699]) {
    const cursor = (job: Job) => job.id === at ? -job.id : job;
    t.same(cursorsOf(cursor, jobs), { last: jobs.map(cursor), areBeside: true }, `but for job ${at}`);
  }
  t.end();
});

t.test("a cursor is what the function returned, even if it changed the job", (t) => {
  const cursor = (job: Job) => Object.assign(job, { at: 7 });
  const last = jobs.slice(0, 3).map((job) => ({ ...job, at: 7 }));
  t.same(cursorsOf(cursor, jobs.slice(0, 3).map((job) => ({ ...job }))), { last, areBeside: true });
  t.end();
});

t.test("a job whose cursor cannot be kept is not added, and its neighbours keep theirs", (t) => {
  const collector = new JobCollector((job) => job === 2 ? Symbol("no") : job === 3 ? 33 : job);
  collector.append(0);
  collector.append(1);
  t.throws(() => collector.append(2), /symbol/);
  collector.append(3);
  const { bytes, ends, cursors } = collector.take();
  const three = [0, 1, 3].map((job) => encode(job));
  t.same([Buffer.from(bytes), [...ends]], [Buffer.concat(three), [1, 2, 3]]);
  t.same(Buffer.from(cursors!.bytes), Buffer.concat([0, 1, 33].map((cursor) => encode(cursor))));
  collector.append(5);
  t.same(collector.take(), { bytes: encode(5), ends: Uint32Array.of(1), cursors: null });
  t.end();
});

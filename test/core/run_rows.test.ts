import t from "tap";
import type { Block, Unsendable } from "../../src/lib/bytes.ts";
import type { Effect } from "../../src/core/types.ts";
import { blockOf, brief, settings, TestRun } from "./fixture.ts";

// Rows that cannot be sent: each is set aside in its turn, and no other job pays for it.

const encoder = new TextEncoder();
const cursorOf = (id: number): Uint8Array => encoder.encode(`cursor ${id}`);

const row = (id: number): Unsendable => ({
  cursor: cursorOf(id),
  path: "$.name",
  reason: `half a pair in ${id}`,
  dataFault: "half a pair",
});

/** Jobs with cursors, as where rows can be set aside. */
function jobs(first: number, count: number): Block {
  const all = Array.from({ length: count }, (_, at) => cursorOf(first + at));
  let end = 0;
  const ends = Uint32Array.from(all, ({ length }) => end += length);
  return {
    ...blockOf(first, count),
    cursors: { bytes: Uint8Array.from(all.flatMap((bytes) => [...bytes])), ends },
  };
}

type Run = TestRun & { give(first: number, count: number): Run; bad(id: number): Run };

function start(...args: ConstructorParameters<typeof TestRun>): Run {
  const run = new TestRun(...args) as Run;
  run.give = (first, count) =>
    run.say({ kind: "yielded", block: jobs(first, count), moreAtHand: false }) as Run;
  run.bad = (id) => run.say({ kind: "unsendable", row: row(id) }) as Run;
  return run;
}

const buried = (effects: readonly Effect[]): number[] =>
  effects.flatMap((effect) => effect.kind === "bury" ? effect.letters.map(({ seq }) => seq) : []);
const leased = (effects: readonly Effect[]): string[] =>
  brief(effects.filter((effect) => effect.kind === "lease"));
const sum = ({ handedOut, done, skipped, dead, stranded }: Run["status"]): boolean =>
  handedOut === done + skipped + dead + stranded;

t.test("a row keeps its place: nothing behind it is handed out before its letter is durable", async (t) => {
  const run = start().give(0, 3).bad(3).give(4, 2).join(1, 2) as Run;
  let effects = run.run.takeEffects();
  t.same([leased(effects), buried(effects)], [["1:0-2 no"], []], "one job is before it still");
  run.say({ kind: "credit", session: 1, credit: 100 });
  effects = run.run.takeEffects();
  t.same([leased(effects), buried(effects)], [["1:2-3 no"], [3]], "in the turn in which the last one went");
  const letter = effects.find(({ kind }) => kind === "bury") as Extract<Effect, { kind: "bury" }>;
  t.same(letter.letters[0], {
    seq: 3,
    job: null,
    history: { failures: 0, crashes: 0, crashesInCompany: 0, lostSessions: 0, attempts: [] },
    row: row(3),
  });
  t.match(run.state, { handedOut: 3, dead: 0 }, "no state has it as handed out");
  t.same(run.state.last!.cursor, cursorOf(2));
  run.pass(3_000);
  t.same(run.take("lease"), []);
  run.say({ kind: "buried", seqs: [3, 4] });
  t.match(run.state, { handedOut: 4, dead: 1 }, "handed out and dead in one step");
  t.same(run.state.last, {
    cursor: cursorOf(3),
    jobHash: settings.digest(Uint8Array.of(0xff, ...cursorOf(3))),
  }, "`last` moves over it");
  t.same(brief(run.leases()), ["1:4-6 no"]);
  t.ok(sum(run.status));
});

t.test("rows side by side are one write; those that come meanwhile are the next one", async (t) => {
  const run = start().bad(0).bad(1).bad(2).give(3, 1).bad(4).bad(5).join(1, 10) as Run;
  let effects = run.run.takeEffects();
  t.same([leased(effects), buried(effects)], [[], [0]], "the first one did not wait for others");
  run.say({ kind: "buried", seqs: [0, 1] });
  effects = run.run.takeEffects();
  t.same([leased(effects), buried(effects)], [[], [1, 2]]);
  run.say({ kind: "buried", seqs: [1, 3] });
  effects = run.run.takeEffects();
  t.same([leased(effects), buried(effects)], [["1:3-4 no"], [4, 5]]);
  run.say({ kind: "buried", seqs: [4, 6] }).say({ kind: "source ended" });
  t.match(run.status, { handedOut: 6, dead: 5, stranded: 1 });
  run.answer(1, { masterId: "m1", number: 1 }, { done: [3, 4] });
  t.same(run.take("end")[0]!.outcome, { kind: "complete", ignoredLast: false });
  t.same(
    run.status.failures,
    [{ message: "cannot be sent: half a pair in 0", count: 5, differ: true }],
    "by what is wrong with them",
  );
});

t.test("what comes while a row's letter is being written waits for it", async (t) => {
  const run = start().bad(0).join(1, 5) as Run;
  t.same(buried(run.run.takeEffects()), [0]);
  run.give(1, 2);
  t.same(leased(run.run.takeEffects()), []);
  run.say({ kind: "buried", seqs: [0, 1] });
  t.same(leased(run.run.takeEffects()), ["1:1-3 no"]);
});

t.test("a run is not over before its last row is on record", async (t) => {
  const run = start().bad(0).say({ kind: "source ended" }) as Run;
  t.same(run.run.takeEffects().map(({ kind }) => kind), ["open source", "bury"]);
  run.say({ kind: "buried", seqs: [0, 1] });
  t.same(run.take("end")[0]!.outcome, { kind: "complete", ignoredLast: false });
  t.match(run.state, { handedOut: 1, dead: 1, complete: true });
});

t.test("a stop waits for the letter that is being written, and forgets the rows behind it", async (t) => {
  const run = start().bad(0).give(1, 1).bad(2) as Run;
  run.run.takeEffects();
  run.say({ kind: "stop" });
  t.same(run.take("end"), []);
  run.say({ kind: "buried", seqs: [0, 1] });
  t.same(run.take("end")[0]!.outcome, { kind: "stopped" });
  t.match(run.state, { handedOut: 1, dead: 1 });
  t.match(run.run.demand(), { jobs: 0 });
});

t.test("a letter that is durable only after the end still counts, for the last state", async (t) => {
  const run = start().bad(0) as Run;
  run.run.takeEffects();
  run.say({ kind: "stop" }).say({ kind: "stop" });
  t.equal(run.take("end").length, 1);
  t.match(run.state, { handedOut: 0, dead: 0, last: null });
  run.say({ kind: "buried", seqs: [0, 1] });
  t.match(run.state, { handedOut: 1, dead: 1 });
});

t.test("a resume's first row that is the same is dropped; the row mended, or another, is not", async (t) => {
  const before = start().give(0, 1).bad(1).join(1, 5) as Run;
  const [lease] = before.leases();
  before.say({ kind: "buried", seqs: [1, 2] });
  before.done(lease!);
  const { state } = before;
  const again = start(state).bad(1).bad(2) as Run;
  t.same(again.take("open source")[0]!.last, cursorOf(1));
  again.say({ kind: "buried", seqs: [2, 3] });
  t.match(again.state, { handedOut: 3, dead: 2 }, "the first one is on record already");
  t.match(start(state).bad(2).run.takeEffects().at(-1), { kind: "bury", letters: [{ seq: 2, row: row(2) }] });
  const mended = start(state).give(1, 1).join(1, 5) as Run;
  t.same(brief(mended.leases()), ["1:2-3 no"], "it can be sent now: it runs");
});

t.test("a source that starts over is known by its first row, too", async (t) => {
  const before = start().bad(0).give(1, 1).join(1, 5) as Run;
  before.run.takeEffects();
  before.say({ kind: "buried", seqs: [0, 1] });
  before.done(before.leases()[0]!).say({ kind: "source ended" });
  const { state } = before;
  t.match(state, { complete: true, handedOut: 2 });
  const again = start(state).bad(0) as Run;
  t.same(again.run.takeEffects().map(({ kind }) => kind), ["open source", "close source", "end"]);
  t.match(again.state, { handedOut: 2, dead: 1, complete: true });
});

t.test("a source that throws goes on behind the latest row", async (t) => {
  const run = start().give(0, 1).bad(1) as Run;
  run.run.takeEffects();
  run.say({ kind: "source failed", message: "gone", fatal: false }).pass(1_000);
  t.same(run.take("open source")[0]!.last, cursorOf(1));
  run.bad(1).give(2, 1).join(1, 5);
  t.same(brief(run.leases()), ["1:0-1 no"], "the same row again is dropped: one letter is on its way");
  run.say({ kind: "buried", seqs: [1, 2] });
  t.same(brief(run.leases()), ["1:2-3 no"]);
});

t.test("rows count in the buffer's caps until they are on record", async (t) => {
  const run = start(null, { jobsMax: 3, bytesMax: 1_000 }).give(0, 1).bad(1).bad(2) as Run;
  t.same(run.run.demand(), { jobs: 0, bytes: 0 });
  run.join(1, 5);
  const [lease] = run.leases();
  run.done(lease!).say({ kind: "buried", seqs: [1, 3] });
  t.same(run.run.demand(), { jobs: 3, bytes: 1_000 });
  t.equal(run.run.memoryBytes, 0);
});

t.test("an answer for the seq of a row, or a letter of no row that waits, changes nothing", async (t) => {
  const run = start().give(0, 1).bad(1).give(2, 1).join(1, 5) as Run;
  const [lease] = run.leases();
  const before = JSON.stringify(run.status);
  run.answer(1, lease!.lease, { done: [1, 2] });
  run.say({ kind: "buried", seqs: [2, 3] }).say({ kind: "buried", seqs: [0, 1] });
  t.equal(JSON.stringify(run.status), before);
});

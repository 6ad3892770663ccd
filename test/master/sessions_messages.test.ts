import t from "tap";
import { web1 as intro } from "../kit/fake_slave.ts";
import { JobSpan } from "../../src/lib/bytes.ts";
import type { RunEvent } from "../../src/core/types.ts";
import { type LeaseEffect, Session } from "../../src/master/sessions.ts";
import type { MasterMessage, SlaveMessage } from "../../src/protocol/messages.ts";

/** A session over a wire that notes what is sent, and what the core was told. */
function open() {
  const sent: MasterMessage[] = [];
  const sentJobs: (readonly Uint8Array[])[] = [];
  const closed: string[] = [];
  const told: RunEvent[] = [];
  const wire = {
    isCongested: false,
    peer: "web1",
    send: (message: MasterMessage, jobs?: readonly Uint8Array[]) => {
      sent.push(message);
      if (jobs !== undefined) sentJobs.push(jobs);
    },
    close: async (reason: string) => void closed.push(reason),
  };
  const session = new Session(1, intro, wire, (event) => told.push(event), 0);
  const receive = (message: SlaveMessage) => session.receive(message, "now");
  return { session, wire, sent, sentJobs, closed, told, receive };
}

const ready: SlaveMessage = { kind: "ready", credit: 4, held: [] };
const answer: SlaveMessage = {
  kind: "answer",
  number: 1,
  lease: { masterId: "m", number: 1 },
  credit: 4,
  done: [0, 2],
  skipped: [],
  failed: [],
  crash: null,
  released: [],
};

const endless: readonly SlaveMessage[] = [
  { kind: "beat" },
  { kind: "credit", credit: 1 },
  { kind: "notice", text: "" },
  { kind: "again", count: 1 },
  { kind: "excused", jobs: [] },
  { kind: "late", errors: Array.from({ length: 100 }, () => ({ seq: null, message: "late" })), count: 100 },
];

t.test("words beside answers lose the session if they do not end", async (t) => {
  for (const message of endless) {
    const { receive, closed } = open();
    receive(ready);
    let said = 0;
    for (; closed.length === 0 && said < 100_000; said++) receive(message);
    t.match(closed, ["it said more beside answers than there can be to say"], message.kind);
    t.ok(said > 900, `${message.kind}: ${said} of them are none too many`);
  }
});

function block(...jobs: number[]) {
  return {
    bytes: new Uint8Array(jobs),
    ends: new Uint32Array(jobs.map((_, index) => index + 1)),
    cursors: null,
  };
}

function lease(number: number, ...parts: JobSpan[]): LeaseEffect {
  return {
    kind: "lease",
    session: 1,
    lease: { masterId: "m", number },
    parts,
    attempt: 1,
    alone: "no",
    probe: false,
  };
}

t.test("ready joins; answers and credit follow", async (t) => {
  const { told, receive } = open();
  receive(ready);
  receive(answer);
  receive({ ...answer, number: 2, credit: 6 });
  receive({ kind: "credit", credit: 8 });
  receive({ kind: "credit", credit: 8 });
  t.match(told, [
    { kind: "joined", session: 1, slaveId: "s", slaveName: "web1", credit: 4 },
    { kind: "answered", number: 1, at: "now", answer: { done: [0, 2] } },
    { kind: "answered", number: 2 },
    { kind: "credit", credit: 6 },
    { kind: "credit", credit: 8 },
  ]);
  t.equal(told.length, 5, "a credit that is known is not said again");
});

t.test("answers are numbered 1, 2, 3", async (t) => {
  for (const numbers of [[2], [0], [1, 3], [1, 1, 3]]) {
    const { closed, told, receive } = open();
    receive(ready);
    for (const number of numbers) receive({ ...answer, number });
    t.match(closed, [/it numbered its answer \d, behind \d/], numbers.join(" "));
    t.equal(told.length, numbers.length, "the core hears of those before only");
  }
});

t.test("an answer given again is stale, and no offence", async (t) => {
  const { closed, told, receive } = open();
  receive(ready);
  for (const number of [1, 2, 2, 1, 3]) receive({ ...answer, number });
  t.same(closed, []);
  t.equal(told.filter(({ kind }) => kind === "answered").length, 5, "the core finds nothing in them");
});

t.test("an answer that names a job twice costs the session", async (t) => {
  const failure = { seq: 1, how: "threw", message: "no", stack: "", durationMs: 1 } as const;
  const twice: Partial<typeof answer>[] = [
    { skipped: [1, 3] },
    { failed: [failure] },
    { done: [], failed: [failure, failure] },
    { crash: { suspects: [0, 1], reason: "" } },
    { released: [1, 2] },
    { done: [], skipped: [5, 9], released: [8, 12] },
  ];
  for (const parts of twice) {
    const { closed, told, receive } = open();
    receive(ready);
    receive({ ...answer, ...parts } as SlaveMessage);
    t.match(closed, [/it named a job twice in answer 1/], JSON.stringify(parts));
    t.equal(told.length, 1);
  }
  const { closed, receive } = open();
  receive(ready);
  receive({
    ...answer,
    skipped: [2, 3],
    failed: [{ ...failure, seq: 7 }, { ...failure, seq: 3 }],
    crash: { suspects: [4, 6], reason: "" },
    released: [6, 7, 8, 9],
  });
  t.same(closed, []);
});

t.test("a goodbye is never out of place, and tells the core nothing", async (t) => {
  const { closed, told, receive } = open();
  receive({ kind: "bye", reason: "" });
  receive(ready);
  receive({ kind: "bye", reason: "" });
  t.same(closed, []);
  t.equal(told.length, 1);
});

t.test("a message out of place costs the session", async (t) => {
  for (const messages of [[answer], [{ kind: "leaving" } as const], [ready, ready]]) {
    const { closed, receive } = open();
    for (const message of messages) receive(message);
    t.equal(closed.length, 1, messages.map(({ kind }) => kind).join(" "));
  }
  const { closed, receive } = open();
  receive({ kind: "beat" });
  t.same(closed, [], "a beat is never out of place");
});

t.test("the core hears of bytes and of the end once the slave has joined, and only then", async (t) => {
  const early = open();
  early.session.hear();
  early.session.lost("now");
  t.same(early.told, []);
  for (const how of ["closed", "drained"] as const) {
    const { session, told, receive } = open();
    receive(ready);
    if (how === "drained") receive({ kind: "leaving" });
    session.hear();
    session.lost("now");
    session.lost("now");
    t.match(told.at(-2), { kind: "heard", session: 1 });
    t.match(told.at(-1), { kind: "left", session: 1, how, at: "now" });
  }
  const ended = open();
  ended.receive(ready);
  void ended.session.end("silent");
  ended.session.lost("now");
  ended.receive(answer);
  t.same(ended.closed, ["silent"]);
  t.equal(ended.told.length, 1, "the core ended it: it is told nothing");
});

t.test("a lease of several parts is one message with the jobs one behind the other", async (t) => {
  const { session, sent, sentJobs, receive } = open();
  receive(ready);
  session.lease(lease(7, new JobSpan(block(1, 2, 3), 1, 2, 10), new JobSpan(block(4), 0, 1, 12)));
  t.match(sent, [{ kind: "lease", number: 7, seq: 10, count: 3, attempt: 1, alone: "no" }]);
  t.same(sentJobs, [[new Uint8Array([2, 3]), new Uint8Array([4])]]);
});

t.test("a congested link gets no lease, and its slave no credit, until it drains", async (t) => {
  const { session, wire, sent, told, receive } = open();
  receive(ready);
  told.length = 0;
  const send = wire.send;
  wire.send = (message) => (send(message), void (wire.isCongested = true));
  session.lease(lease(1, new JobSpan(block(1), 0, 1, 0)));
  session.lease(lease(2, new JobSpan(block(2, 3), 0, 2, 1), new JobSpan(block(4), 0, 1, 3)));
  t.equal(sent.length, 1);
  t.match(told, [
    { kind: "credit", session: 1, credit: 0 },
    {
      kind: "answered",
      number: 0,
      answer: { lease: { masterId: "m", number: 2 }, done: [], released: [1, 4] },
    },
  ], "what the core leased before it knew is handed back");
  receive({ kind: "credit", credit: 9 });
  t.equal(told.length, 2, "what the slave says meanwhile is kept");
  wire.isCongested = false;
  session.drained();
  t.same(told[2], { kind: "credit", session: 1, credit: 9 });
});

t.test("whatever fills the link, the core is told no credit, and so before a lease is handed back", async (t) => {
  const { session, wire, told, receive } = open();
  receive(ready);
  told.length = 0;
  wire.send = () => void (wire.isCongested = true);
  session.send({ kind: "keep", leases: [] });
  t.same(told, [{ kind: "credit", session: 1, credit: 0 }], "a long list of leases that are kept");

  const other = open();
  other.receive(ready);
  other.told.length = 0;
  other.wire.isCongested = true;
  other.session.lease(lease(1, new JobSpan(block(1), 0, 1, 0)));
  t.match(other.told, [{ kind: "credit", credit: 0 }, { kind: "answered", answer: { released: [0, 1] } }]);
  t.equal(other.told.length, 2);
});

import { mock } from "node:test";
import t, { type Test } from "tap";
import * as ownClock from "../../src/lib/clock.ts";
import { decode, encode } from "../../src/protocol/cbor.ts";
import { type AnyPlugin, type Failed, read, Taker } from "./taker.ts";

/** Sources by another clock than this process has. */
async function takers(t: Test, clock: Partial<typeof ownClock>): Promise<typeof import("./taker.ts")> {
  return await t.mockImport("./taker.ts", { "../../src/lib/clock.ts": { ...ownClock, ...clock } });
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
/** Long enough for what must not happen to happen, were the source wrong: some turns, no time. */
async function someTurns(): Promise<void> {
  for (let count = 0; count < 5; count++) await turn();
}

t.test("getJobs may return an array, an iterable, an async iterable, or a promise of one", async (t) => {
  const kinds: readonly AnyPlugin[] = [
    { getJobs: () => [1, 2, 3] as never[] },
    { getJobs: () => new Set([1, 2, 3]) as never },
    {
      getJobs: function* () {
        yield* [1, 2, 3] as never[];
      },
    },
    {
      getJobs: async function* () {
        yield* [1, 2, 3] as never[];
      },
    },
    { getJobs: async () => [1, 2, 3] as never[] },
    {
      getJobs: () =>
        Promise.resolve((async function* () {
          yield* [1, 2, 3] as never[];
        })()),
    },
    { getJobs: () => ({ [Symbol.iterator]: () => [1, 2, 3].values() }) as never },
  ];
  for (const plugin of kinds) t.same((await read(plugin)).slice(0, 2), [[1, 2, 3], "ended"]);
});

t.test("anything else that getJobs returns is refused in words", async (t) => {
  const table: readonly [unknown, string][] = [
    ["abc", "getJobs returned a string: it must return an array"],
    [Object("abc"), "getJobs returned an instance of String: it must return an array"],
    [7, "getJobs returned a number"],
    [{}, "getJobs returned an object that is not iterable"],
    [{ next() {} }, "It has `next()`"],
    [undefined, "getJobs returned undefined"],
    [null, "getJobs returned null"],
    [function* () {}, "If that is a generator function, call it"],
  ];
  for (const [returned, words] of table) {
    for (const value of [returned, Promise.resolve(returned)]) {
      const [, over] = await read({ getJobs: () => value as never });
      t.match(over, { fatal: true }, `${String(returned)} cannot be helped by calling again`);
      t.ok((over as Failed).message.includes(words), (over as Failed).message);
    }
  }
});

t.test("undefined, null, 0, '' and false are jobs like any other", async (t) => {
  const jobs = [undefined, null, 0, "", false, 0n];
  t.same(await read({ getJobs: () => jobs as never }).then((all) => all.slice(0, 2)), [jobs, "ended"]);
});

t.test("each job arrives as it was when yielded, though the generator reuses its object", async (t) => {
  const reused = { id: 0 };
  const expected = [{ id: 1 }, { id: 2 }, { id: 3 }];
  const fill = () => (reused.id++, reused as never);
  const sync = await read({
    getJobs: function* () {
      yield fill();
      yield fill();
      yield fill();
    },
  });
  t.same(sync[0], expected);
  reused.id = 0;
  const cursor = (job: { id: number }) => job.id;
  const [jobs, , taker] = await read({
    cursor,
    getJobs: async function* () {
      yield fill();
      yield fill();
      yield fill();
    },
  });
  t.same([jobs, taker.cursors], [expected, [1, 2, 3]], "and so does its cursor");
});

t.test("last is decoded, and undefined on a fresh start", async (t) => {
  const seen: unknown[] = [];
  const taker = new Taker({ getJobs: (last: unknown) => (seen.push(last), [{ id: 4n }] as never) });
  taker.source.open(undefined);
  await taker.over;
  const again = new Taker({ getJobs: (last: unknown) => (seen.push(last), []) });
  again.source.open(taker.blocks[0]!.bytes);
  await again.over;
  t.same(seen, [undefined, { id: 4n }].map((last) => last && decode(taker.blocks[0]!.bytes)));
});

t.test("a last that is an object is compared with nothing, where all jobs would be skipped", async (t) => {
  const first = new Taker({ getJobs: () => [{ id: 4 }] as never });
  first.source.open(undefined);
  await first.over;
  const opened = async (getJobs: (last: never) => unknown) => {
    const taker = new Taker({ getJobs: getJobs as never });
    taker.source.open(first.blocks[0]!.bytes);
    return { how: await taker.over, jobs: taker.jobs };
  };
  const rows = [{ id: 4 }, { id: 5 }];
  const wrong: readonly ((last: never) => unknown)[] = [
    (last) => rows.filter(({ id }) => id > last),
    function* (last) {
      yield* rows.filter(({ id }) => id >= last);
    },
    async (last) => await Promise.resolve(rows.filter(({ id }) => id >= last + 1)),
  ];
  for (const getJobs of wrong) {
    const { how } = await opened(getJobs);
    t.match(how, {
      fatal: true,
      message: /^getJobs compares `last`, .* start over with --reset\n/,
    });
    t.match(how, { message: /\n {4}at .*source\.test\.ts:\d+/ });
  }
  t.same(
    (await opened((last: { id: number }) => rows.filter(({ id }) => id > last.id))).jobs,
    [{ id: 5 }],
    "its fields are there",
  );
  t.same((await opened((last) => [last, ...Object.keys(last), `${last}`])).jobs, [
    { id: 4 },
    "id",
    "[object Object]",
  ]);
});

t.test("getJobs sees its arguments, and nothing of it runs inside open", async (t) => {
  let seen: unknown;
  const taker = new Taker({ getJobs: (_last: unknown, ctx) => ((seen = ctx.args), []) }, { table: "posts" });
  taker.source.open(undefined);
  t.equal(seen, undefined);
  await taker.over;
  t.same(seen, { table: "posts" });
});

/** Works for a millisecond. */
function spinMs(): void {
  for (const until = performance.now() + 1; performance.now() < until;);
}

for (const kind of ["sync", "async"] as const) {
  const counting = (from = 0, work: () => void = () => {}) => {
    const state = { asked: from, returned: 0 };
    const next = () => (work(), { done: false, value: { id: state.asked++ } });
    const iterator = {
      next: kind === "sync" ? next : async () => next(),
      return: () => (state.returned++, { done: true, value: undefined }),
      [kind === "sync" ? Symbol.iterator : Symbol.asyncIterator]: () => iterator,
    };
    return { state, plugin: { getJobs: () => iterator as never } };
  };

  t.test(`a ${kind} source yields no more than the demand in jobs, and goes on at pull`, async (t) => {
    const { state, plugin } = counting();
    const taker = new Taker(plugin);
    taker.limit = { jobs: 10, bytes: Infinity };
    const block = taker.nextBlock();
    taker.source.open(undefined);
    await block;
    await someTurns();
    t.same([taker.count, state.asked], [10, 10]);
    taker.source.pull();
    await someTurns();
    t.equal(state.asked, 10, "a pull without demand changes nothing");
    taker.limit = { jobs: 13, bytes: Infinity };
    taker.source.pull();
    await taker.nextBlock();
    await someTurns();
    t.same([taker.count, state.asked], [13, 13]);
    await taker.source.close();
  });

  t.test(`a ${kind} source oversteps the demand in bytes by one job at most`, async (t) => {
    const { state, plugin } = counting();
    const taker = new Taker(plugin);
    taker.limit = { jobs: Infinity, bytes: 21 };
    const block = taker.nextBlock();
    taker.source.open(undefined);
    await block;
    await someTurns();
    t.ok(taker.bytes >= 21 && taker.bytes < 21 + 10, `${taker.bytes} bytes`);
    t.equal(state.asked, taker.count);
    await taker.source.close();
  });

  t.test(`an endless ${kind} source comes in blocks of some 64 KiB, and lets the event loop run`, async (t) => {
    const { plugin } = counting();
    const taker = new Taker(plugin);
    taker.source.open(undefined);
    for (let turns = 0; turns < 20; turns++) await turn();
    await taker.source.close();
    t.ok(taker.count > 1000, `${taker.count} jobs`);
    t.ok(Math.max(...taker.blocks.map((block) => block.bytes.length)) < (64 << 10) + 100);
    t.ok(Math.max(...taker.blocks.map((block) => block.ends.length)) <= 4096);
  });

  t.test(`a slow ${kind} source holds the event loop some 5 ms at a time`, async (t) => {
    const { plugin, state } = counting(0, spinMs);
    const taker = new Taker(plugin);
    taker.source.open(undefined);
    const asked: number[] = [];
    for (let turns = 0; turns < 20; turns++) {
      const before = state.asked;
      await turn();
      asked.push(state.asked - before);
    }
    await taker.source.close();
    t.ok(Math.max(...asked) <= 7, `jobs of 1 ms a turn: ${asked}`);
  });

  t.test(`close returns a ${kind} iterator once, and no hook is called afterwards`, async (t) => {
    const { state, plugin } = counting();
    const taker = new Taker(plugin);
    taker.onBlock = () => void taker.source.close();
    taker.source.open(undefined);
    await taker.nextBlock();
    await taker.source.close();
    const count = taker.count;
    await taker.source.close();
    taker.source.pull();
    await someTurns();
    t.same([state.returned, taker.count], [1, count]);
  });

  t.test(`a bad job of a ${kind} source names its number and path; jobs before it are handed over`, async (t) => {
    let isReturned = false;
    const yieldAll = function* () {
      try {
        yield* [{ id: 1 }, { id: 2 }, { user: { tags: [1, () => 1] } }] as never[];
      } finally {
        isReturned = true;
      }
    };
    const getJobs = kind === "sync" ? yieldAll : async function* () {
      yield* yieldAll();
    };
    const taker = new Taker({ getJobs });
    taker.firstSeq = 40;
    taker.source.open(undefined);
    const over = await taker.over as Failed;
    t.match(
      over.message,
      /^getJobs yielded job 42, which cannot be sent: at \$\.user\.tags\[1\] there is a function$/,
    );
    t.same([taker.jobs, over.fatal], [[{ id: 1 }, { id: 2 }], true]);
    await taker.source.close();
    t.ok(isReturned, "the generator cleans up");
  });

  t.test(`a ${kind} getJobs that throws midway is told with its stack; it may be opened again`, async (t) => {
    let calls = 0;
    const yieldAll = function* () {
      yield ++calls as never;
      if (calls < 2) throw new Error("connection reset");
    };
    const getJobs = kind === "sync" ? yieldAll : async function* () {
      yield* yieldAll();
    };
    const taker = new Taker({ getJobs });
    taker.source.open(undefined);
    const over = await taker.over as Failed;
    t.match(over.message, /^getJobs threw: connection reset\nError: connection reset\n\s+at .*yieldAll/);
    t.same([taker.jobs, over.fatal], [[1], false]);
    taker.source.open(undefined);
    await taker.nextBlock();
    t.same(taker.jobs, [1, 2]);
    await taker.source.close();
  });
}

t.test("getJobs that throws at once, or rejects, is told likewise", async (t) => {
  const thrower = {
    getJobs: () => {
      throw new TypeError("no table");
    },
  };
  const rejecter = { getJobs: () => Promise.reject(new TypeError("no table")) };
  for (const plugin of [thrower, rejecter]) {
    const [, over] = await read(plugin);
    t.match(over, { fatal: false, message: /^getJobs threw: TypeError: no table\n/ });
  }
});

t.test("a job of an idle source is handed over at once, one by one", async (t) => {
  let give: (id: number) => void = () => {};
  const taker = new Taker({
    getJobs: async function* () {
      while (true) yield await new Promise<never>((resolve) => give = resolve as unknown as typeof give);
    },
  });
  taker.source.open(undefined);
  await someTurns();
  for (let id = 0; id < 3; id++) {
    const block = taker.nextBlock();
    give(id);
    await block;
    t.equal(taker.count, id + 1);
    await someTurns();
  }
  const closed = taker.source.close();
  give(3);
  await closed;
  t.equal(taker.count, 3, "a job that comes after close is not handed over");
});

t.test("jobs that are already there are gathered into one block", async (t) => {
  const [, , taker] = await read({
    getJobs: async function* () {
      for (let id = 0; id < 50; id++) yield id as never;
    },
  });
  t.equal(taker.blocks.length, 1);
});

t.test("close aborts the signal while next() is pending, and waits for the generator's finally", async (t) => {
  const steps: string[] = [];
  const taker = new Taker({
    getJobs: async function* (_last, { signal }) {
      try {
        yield 1 as never;
        await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      } finally {
        await turn();
        steps.push("closed");
      }
    },
  });
  const block = taker.nextBlock();
  taker.source.open(undefined);
  await block;
  await taker.source.close();
  t.same(steps, ["closed"]);
});

t.test("close gives up on a next() that never ends, after 5 s", async (t) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  t.teardown(() => mock.timers.reset());
  const { Taker } = await takers(t, { setTimeout });
  const taker = new Taker({
    getJobs: async function* () {
      yield await new Promise<never>(() => {});
    },
  });
  taker.source.open(undefined);
  await someTurns();
  let isClosed = false;
  const closed = taker.source.close().then(() => isClosed = true);
  mock.timers.tick(4_999);
  await someTurns();
  t.notOk(isClosed);
  mock.timers.tick(1);
  await closed;
  t.ok(isClosed);
});

t.test("close before getJobs has settled never iterates", async (t) => {
  let give: (jobs: never[]) => void = () => {};
  const taker = new Taker({ getJobs: () => new Promise<never[]>((resolve) => give = resolve) });
  taker.source.open(undefined);
  await someTurns();
  const closed = taker.source.close();
  give([1] as never[]);
  await closed;
  t.equal(taker.count, 0);
});

t.test("a cursor that is undefined, a promise, throws, or cannot be sent ends the run and names the job", async (t) => {
  const table: readonly [(job: unknown) => unknown, RegExp][] = [
    [() => undefined, /^getJobs yielded job 1, of which cursor\(job\) returned undefined/],
    [async () => 1, /^getJobs yielded job 1, of which cursor\(job\) returned a promise/],
    [() => {
      throw new Error("no id");
    }, /^getJobs yielded job 1, of which cursor\(job\) threw: no id\nError: no id\n/],
    [
      () => [Symbol("x")],
      /^getJobs yielded job 1, whose cursor cannot be sent: at \$\[0\] there is a symbol/,
    ],
  ];
  for (const [bad, words] of table) {
    const cursor = (job: unknown) => job === 2 ? bad(job) : Number(job) + 10;
    const [jobs, over, taker] = await read({ getJobs: () => [1, 2, 3] as never, cursor });
    t.match(over, { fatal: true, message: words });
    t.same([jobs, taker.cursors], [[1], [11]]);
  }
});

t.test("a job that is refused after its cursor was taken leaves no cursor behind", async (t) => {
  const [jobs, , taker] = await read({ getJobs: () => [1, () => 1] as never, cursor: () => 5 });
  t.same([jobs, taker.cursors], [[1], [5]]);
});

t.test("two equal neighbouring cursors are warned about once, with their numbers", async (t) => {
  const [, , taker] = await read({ getJobs: () => [{ id: 1 }, { id: 2 }, { id: 2 }, { id: 2 }] as never });
  t.equal(taker.warnings.length, 1);
  t.match(taker.warnings[0], /^Jobs 1 and 2 have the same cursor/);
  const [, , distinct] = await read({ getJobs: () => [1, 2, 1, 2, 21, 1] as never });
  t.same(distinct.warnings, []);
});

t.test("equal neighbours that nobody takes are of no account", async (t) => {
  const taker = new Taker({ getJobs: () => [1, 1] as never });
  taker.takes = false;
  taker.source.open(undefined);
  await taker.over;
  t.equal(taker.blocks.length, 1);
  t.same(taker.warnings, []);
});

t.test("equal neighbours are found across blocks, and by cursor, not by job", async (t) => {
  const taker = new Taker({
    getJobs: () => [{ id: 7, n: 1 }, { id: 7, n: 2 }, { id: 7, n: 3 }] as never,
    cursor: (job: { id: number }) => job.id,
  });
  taker.limit = { jobs: 1, bytes: Infinity };
  const block = taker.nextBlock();
  taker.source.open(undefined);
  await block;
  taker.limit = { jobs: 2, bytes: Infinity };
  taker.source.pull();
  await taker.nextBlock();
  taker.limit = { jobs: Infinity, bytes: Infinity };
  taker.source.pull();
  await taker.over;
  t.equal(taker.blocks.length, 3);
  t.match(taker.warnings, [/^Jobs 0 and 1 /]);
  t.equal(taker.warnings.length, 1, "once, however many there are");
});

t.test("each block says whether the source had more at hand", async (t) => {
  async function* jobs(): AsyncGenerator<number> {
    yield 0;
    await turn();
    await turn();
    yield* Array.from({ length: 5_000 }, (_, id) => id);
  }
  const [, , pausing] = await read({ getJobs: jobs as never });
  const [pause, ...full] = pausing.moreAtHand;
  const end = full.pop();
  t.same([pause, end], [false, false], "a pause, and the end");
  t.ok(full.length > 0 && full.every((more) => more), "full blocks, and spent turns, in between");

  const five = [0, 1, 2, 3, 4];
  for (
    const getJobs of [() => five, async function* () {
      yield* five;
    }]
  ) {
    const taker = new Taker({ getJobs: getJobs as never });
    taker.limit = { jobs: 3, bytes: Infinity };
    taker.source.open(undefined);
    await taker.nextBlock();
    taker.limit = { jobs: Infinity, bytes: Infinity };
    taker.source.pull();
    await taker.over;
    t.same(taker.moreAtHand, [true, false], "the demand was used up, then the end");
  }
});

t.test("a full block may leave before the next one is made", async (t) => {
  let turns = 0;
  const turnsAtBlock: number[] = [];
  const taker = new Taker({
    getJobs: () => Array.from({ length: 10_000 }, (_, id) => id) as never,
  });
  const count = (): void => {
    turns++;
    counting = setImmediate(count);
  };
  taker.onBlock = () => turnsAtBlock.push(turns);
  let counting = setImmediate(count);
  taker.source.open(undefined);
  await taker.over;
  clearImmediate(counting);
  t.equal(new Set(turnsAtBlock).size, turnsAtBlock.length, `blocks at the turns ${turnsAtBlock}`);
  t.ok(turnsAtBlock.length >= 3);
});

t.test("a job that was not waited for, or not iterated, is refused with what is missing", async (t) => {
  class Query extends Promise<unknown> {}
  class Builder {
    toSQL() {}
  }
  const table: readonly [unknown, RegExp][] = [
    [{ p: Promise.resolve(1) }, /at \$\.p there is an instance of Promise: an `await` is missing$/],
    [
      [new Query(() => {})],
      /at \$\[0\] there is an instance of Query, a query that was not run: a `for await`/,
    ],
    [
      { rows: { then: () => {} } },
      /at \$\.rows there is an object with a method `then`, a query that was not run/,
    ],
    [
      { q: new Builder() },
      /at \$\.q there is an instance of Builder, a query that was not run: a `for await`/,
    ],
    [
      [async function* () {}()],
      /at \$\[0\] there is an instance of AsyncGenerator: a `for await` over it is missing$/,
    ],
    [[function* () {}()], /at \$\[0\] there is an instance of Generator: a `yield\*` is missing$/],
  ];
  for (const [job, words] of table) {
    const [, over] = await read({ getJobs: () => [job] as never });
    t.match(over, { fatal: true, message: words });
  }
});

const half = "x\ud800";
const cursor = (job: { id: number }) => job.id;
const rowsOf = ({ rows }: Taker) =>
  rows.map(({ after, path, reason, cursor }) => [after, decode(cursor), path, reason]);
const surrogate = "a string with half a surrogate pair";

for (const kind of ["sync", "async"] as const) {
  t.test(`a row of a ${kind} source with a fault of its data is handed over in its place`, async (t) => {
    const yieldAll = function* () {
      yield { id: 1 } as never;
      yield { id: 2, name: half } as never;
      yield { id: 3, deep: JSON.parse('{"a":{"__proto__":1}}') } as never;
      yield { id: 4 } as never;
      yield { id: 5, [half]: 1 } as never;
    };
    const getJobs = kind === "sync" ? yieldAll : async function* () {
      yield* yieldAll();
    };
    const [jobs, over, taker] = await read({ getJobs, cursor });
    t.same([jobs, taker.cursors, over], [[{ id: 1 }, { id: 4 }], [1, 4], "ended"]);
    t.same(rowsOf(taker), [
      [1, 2, "$.name", surrogate],
      [1, 3, "$.deep.a", "a property named __proto__"],
      [2, 5, "$<key>", surrogate],
    ]);
    t.same(taker.rows.map(({ dataFault }) => dataFault), [
      surrogate,
      "a property named __proto__",
      surrogate,
    ]);
    t.same(taker.warnings, []);
  });
}

t.test("every fault of the data costs one row: too long, too deep, too large", async (t) => {
  const nested = (levels: number): unknown => levels === 0 ? 0 : [nested(levels - 1)];
  const bad = [
    { id: 1, big: "x".repeat(2 << 20) },
    { id: 2, rows: Array(2_000).fill("x".repeat(1_000)) },
    { id: 3, raw: new Uint8Array(1 << 20) },
    { id: 4, deep: nested(40) },
    { id: 5, huge: 2n ** 9_000n },
    new Map<unknown, unknown>([["id", 6], ["half", half]]),
  ];
  const [jobs, over, taker] = await read({
    getJobs: () => [{ id: 0 }, ...bad, { id: 7 }] as never,
    cursor: (job: { id?: number }) => job instanceof Map ? 6 : job.id,
  });
  t.same([jobs, over], [[{ id: 0 }, { id: 7 }], "ended"]);
  t.same(rowsOf(taker).map(([after, cursor]) => [after, cursor]), [1, 2, 3, 4, 5, 6].map((id) => [1, id]));
});

t.test("a row whose cursor cannot be kept ends the run, as does a fault of the program", async (t) => {
  const job = { id: 2, name: half };
  const table: readonly [AnyPlugin["cursor"], unknown, RegExp][] = [
    [
      undefined,
      job,
      /^getJobs yielded job 1, which cannot be sent: at \$\.name .*half a surrogate pair\. .*export `cursor`/,
    ],
    [
      () => half,
      job,
      /^getJobs yielded job 1, which cannot be sent: at \$\.name .*, and whose cursor cannot be sent: at \$ /,
    ],
    [() => undefined, job, /^getJobs yielded job 1, of which cursor\(job\) returned undefined/],
    [
      () => 7,
      { id: 2, name: half, f: () => 1 },
      /job 1, which cannot be sent: at \$\.f there is a function$/,
    ],
    [() => undefined, Promise.resolve(1), /job 1, which cannot be sent: .*Promise: an `await` is missing$/],
  ];
  for (const [cursorOf, bad, words] of table) {
    let given = 0;
    const next = async () => ({ done: false, value: given++ === 0 ? { id: 1 } : bad });
    const [jobs, over, taker] = await read({
      getJobs: () => ({ [Symbol.asyncIterator]: () => ({ next }) }) as never,
      ...(cursorOf &&
        { cursor: (job: unknown) => (job as { id: number }).id === 1 ? 1 : cursorOf(job as never) }),
    });
    t.match(over, { fatal: true, message: words });
    t.same([jobs, taker.rows], [[{ id: 1 }], []]);
  }
});

t.test("where the run's first 100 rows are all so, the program is at fault; fewer, or later ones, are rows", async (t) => {
  const bad = (from: number, count: number) =>
    Array.from({ length: count }, (_, at) => ({ id: from + at, name: half }));
  const [none, over, taker] = await read({ getJobs: () => [...bad(0, 100), { id: 100 }] as never, cursor });
  t.match(over, {
    fatal: true,
    message: /^getJobs yielded 100 rows, and none of them can be sent: job 0 has at \$\.name /,
  });
  t.same([none, taker.rows], [[], []], "none was set aside: it begins with them again");
  const late = await read({ getJobs: () => [...bad(0, 99), { id: 99 }, ...bad(100, 150)] as never, cursor });
  t.same([late[0], late[1], late[2].rows.length], [[{ id: 99 }], "ended", 249]);
  t.same(late[2].rows.map(({ after }) => after), [...Array(99).fill(0), ...Array(150).fill(1)], "in order");
  const few = await read({ getJobs: () => bad(0, 20) as never, cursor });
  t.same([few[1], few[2].rows.length], ["ended", 20], "all of a short source");
  const resumed = new Taker({ getJobs: () => bad(50, 300) as never, cursor });
  resumed.source.open(encode(49));
  t.same([await resumed.over, resumed.rows.length], ["ended", 300], "a resume goes on with them");
});

t.test("rows count in the demand, and as neighbours with equal cursors", async (t) => {
  const taker = new Taker({
    getJobs: () => [{ id: 1 }, { id: 2, name: half }, { id: 2, name: half }, { id: 2 }] as never,
    cursor,
  });
  taker.source.open(undefined);
  await taker.over;
  t.equal(taker.warnings.length, 1);
  t.match(taker.warnings, [/^Jobs 1 and 2 have the same cursor/]);
});

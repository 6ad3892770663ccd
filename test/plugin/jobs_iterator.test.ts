// deno-lint-ignore-file require-yield -- generators that yield nothing are what is tried here
import { EventEmitter } from "node:events";
import { Readable } from "node:stream";
import t from "tap";
import { type AnyPlugin, type Failed, read, Taker } from "./taker.ts";

const revoked = (): unknown => {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
};
const wait = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const sync = (iterator: object): unknown => ({ [Symbol.iterator]: () => iterator });
const async = (iterator: object): unknown => ({ [Symbol.asyncIterator]: () => iterator });
/** An iterator whose `next()` gives these answers in turn, and then `{ done: true }`. */
const answers = (...all: unknown[]) => ({ next: () => all.length > 0 ? all.shift() : { done: true } });
const getting = (jobs: unknown): AnyPlugin => ({ getJobs: () => jobs as never });

/** What `for await` makes of it: the reference. */
async function forAwait(jobs: unknown): Promise<unknown[] | "threw"> {
  const taken: unknown[] = [];
  try {
    for await (const job of jobs as AsyncIterable<unknown>) taken.push(job);
  } catch {
    return "threw";
  }
  return taken;
}

t.test("what for await takes is taken, value for value", async (t) => {
  const two = [{ value: 1, done: false }, { value: 2, done: false }];
  const table: Readonly<Record<string, () => unknown>> = {
    "an array with holes": () => Object.assign([1, 2, 3], { length: 5 }),
    "a Map": () => new Map([["a", 1], ["b", 2]]),
    "a typed array": () => new Uint16Array([7, 300]),
    "a subclass of Array": () => (class Rows extends Array {}).from([1, 2]),
    "an iterator of the language": () => [1, 2].values(),
    "a stream": () => Readable.from([{ id: 1 }, { id: 2 }]),
    "a ReadableStream": () =>
      new ReadableStream({ start: (all) => (all.enqueue(1), all.enqueue(2), all.close()) }),
    "a sync generator of promises": function* () {
      yield Promise.resolve(1);
      yield 2;
      yield wait().then(() => 3);
    },
    "an array of promises": () => [wait().then(() => 1), Promise.resolve(2), 3],
    "a sync iterable of thenables": () => [{ then: (use: (value: number) => void) => use(5) }],
    "a function that is iterable": () => Object.assign(() => {}, { [Symbol.iterator]: () => [1].values() }),
    "no [Symbol.asyncIterator], but null": () => ({
      [Symbol.asyncIterator]: null,
      [Symbol.iterator]: () => [1].values(),
    }),
    "an async iterator that answers at once": () => async(answers(...two)),
    "an async iterator with a sync one behind it": () => async([1, 2].values()),
    "done as it is": () => async(answers({ value: 1 }, { value: 2, done: 0 }, { value: 3, done: 1 })),
    "undefined": () => sync(answers({ done: false }, { value: undefined })),
    "what comes after done": () => sync(answers(two[0], { value: 9, done: true }, two[1])),
    "a result that is a function": () => sync(answers(Object.assign(() => {}, { value: 4, done: false }))),
    "getters": () =>
      sync(answers({
        get value() {
          return 6;
        },
        get done() {
          return false;
        },
      })),
    "a result with a prototype": () => sync(answers(Object.create({ value: 8, done: false }))),
    "next, read once": () => {
      let reads = 0;
      const { next } = answers(...two);
      return async({
        get next() {
          if (reads++ > 0) throw new Error("read again");
          return next;
        },
      });
    },
  };
  for (const [name, make] of Object.entries(table)) {
    const isGenerator = make.constructor.name === "GeneratorFunction";
    const expected = await forAwait(make());
    const [jobs, over] = await read(isGenerator ? { getJobs: make as never } : getting(make()));
    t.same([jobs, over], [expected, "ended"], name);
  }
});

t.test("what breaks the protocol is a fatal fault that says what is expected; jobs before it are kept", async (t) => {
  const one = { value: 1, done: false };
  const result = "It must answer `{ value: job, done: false }`, and `{ done: true }` at the end";
  const broken = "The iterator of getJobs breaks the iteration protocol: ";
  const table: readonly [unknown, string][] = [
    [async(answers(one, 10)), `${broken}next() answered a number. ${result}`],
    [async(answers(one, undefined)), `${broken}next() answered undefined. ${result}`],
    [sync(answers(one, null)), `${broken}next() answered null. ${result}`],
    [sync(answers(one, "row")), `${broken}next() answered a string. ${result}`],
    [
      async(answers(one, { id: 7, name: "x" })),
      "an object without `value` (it has `id`, `name`): the job itself?",
    ],
    [sync(answers(one, {})), "an object without `value`: the job itself?"],
    [sync(answers(one, [2])), "an object without `value` (it has `0`): the job itself?"],
    [sync(answers(one, { done: false, job: 2 })), "an object without `value` (it has `done`, `job`)"],
    [sync(answers(one, Promise.resolve(one))), "next() answered a promise, where a result belongs"],
    [
      sync(answers(one, { value: 2, done: Promise.resolve(false) })),
      "whose `done` is a promise, which counts as true",
    ],
    [
      async(answers(one, { value: 2, done: () => false })),
      "whose `done` is a function, which counts as true",
    ],
    [sync(answers(one, { value: 2, done: "false" })), "whose `done` is a string, which counts as true"],
    [async(answers(one, { value: 2, done: {} })), "whose `done` is an object, which counts as true"],
    [sync(answers(one, { value: 2, done: revoked() })), "whose `done` is an object that cannot be read"],
  ];
  for (const [jobs, words] of table) {
    const [taken, over] = await read(getting(jobs));
    t.match(over, { fatal: true }, words);
    t.ok((over as Failed).message.includes(words), (over as Failed).message);
    t.same(taken, [1]);
  }
});

t.test("what gives no iterator is fatal at once, and says what is missing", async (t) => {
  const rows = [1, 2];
  const table: readonly [unknown, string][] = [
    [
      { [Symbol.asyncIterator]: 5 },
      "an object whose [Symbol.asyncIterator] is a number: it must be a method",
    ],
    [{ [Symbol.iterator]: rows.values() }, "an object whose [Symbol.iterator] is an"],
    [{ [Symbol.iterator]: () => 7 }, "[Symbol.iterator]() returned a number. It must return an object"],
    [{ [Symbol.iterator]: () => undefined }, "[Symbol.iterator]() returned undefined"],
    [{ [Symbol.iterator]: () => rows }, "returned an array, which has no `next`"],
    [{ [Symbol.iterator]: () => rows }, "`rows[Symbol.iterator]()`"],
    [{ [Symbol.asyncIterator]: async () => rows.values() }, "returned a promise, which has no `next`"],
    [{ [Symbol.asyncIterator]: async () => rows.values() }, "it must not be `async`"],
    [async({ next: 5 }), "an object whose `next` is a number"],
    [async({}), "returned an object, which has no `next`"],
    [new EventEmitter(), "getJobs returned an instance of EventEmitter that is not iterable"],
    [new EventEmitter(), "`on(emitter"],
    [{ rows: [1], rowCount: 1 }, "Its `rows` are an array: return these"],
    [{ length: 2, 0: 1, 1: 2 }, "Return `Array.from` of it"],
    [true, "getJobs returned a boolean"],
    [Symbol("jobs"), "getJobs returned a symbol"],
  ];
  for (const [jobs, words] of table) {
    t.equal(await forAwait(jobs), "threw", words);
    const [taken, over] = await read(getting(jobs));
    t.match(over, { fatal: true }, words);
    t.ok((over as Failed).message.includes(words), (over as Failed).message);
    t.same(taken, []);
  }
});

t.test("what the iterator's own code throws may pass, wherever it throws", async (t) => {
  const fail = (): never => {
    throw new TypeError("connection lost");
  };
  const one = { value: 1, done: false };
  const table: Readonly<Record<string, unknown>> = {
    "[Symbol.iterator]": {
      get [Symbol.iterator]() {
        return fail();
      },
    },
    "[Symbol.asyncIterator]()": { [Symbol.asyncIterator]: fail },
    "next": sync({
      get next() {
        return fail();
      },
    }),
    "next()": async({ next: fail }),
    "done": sync({
      next: () => ({
        get done() {
          return fail();
        },
      }),
    }),
    "value": async(answers(one, {
      get value() {
        return fail();
      },
    })),
    "a sync iterator's value": sync(
      answers(one, {
        get value() {
          return Promise.reject(new TypeError("connection lost"));
        },
      }),
    ),
    "a sync iterator's last value": sync(
      answers(one, {
        get value() {
          return Promise.reject(new TypeError("connection lost"));
        },
        done: true,
      }),
    ),
  };
  for (const [name, jobs] of Object.entries(table)) {
    const [, over] = await read(getting(jobs));
    t.match(over, { fatal: false, message: /^getJobs threw: TypeError: connection lost\n/ }, name);
  }
  const [, over] = await read(getting(revoked()));
  t.match(over, { message: /^getJobs threw: TypeError: [^\n]*$/ }, "where this program reads helps nobody");
});

t.test("a query that is iterable and a promise of all its rows is iterated", async (t) => {
  let wasAwaited = false;
  const query = {
    then: (use: (rows: number[]) => void) => (wasAwaited = true, use([1, 2])),
    async *[Symbol.asyncIterator]() {
      yield* [1, 2];
    },
  };
  t.same((await read(getting(query))).slice(0, 2), [[1, 2], "ended"]);
  t.notOk(wasAwaited, "all its rows at once may be more than fit");
});

t.test("what an iterator ends with is no job, and that is said", async (t) => {
  const [jobs, over, taker] = await read({
    getJobs: async function* () {
      yield 1 as never;
      return [2, 3];
    },
  });
  t.same([jobs, over], [[1], "ended"]);
  t.match(taker.warnings, [/ended with an array, which is not taken as a job/]);
  for (const rows of [[1, 2], new Set([1]), (async function* () {})()]) {
    const [, over] = await read({
      getJobs: function* () {
        return rows;
      } as never,
    });
    t.match(over, { fatal: true, message: /yielded nothing.*Write `yield\*` in place of `return`/ });
  }
  const silent = await read({
    getJobs: async function* () {
      return await Promise.all([wait(), wait()]) as never;
    },
  });
  t.same([silent[0], silent[1]], [[], "ended"], "undefined is left over from closing things");
});

t.test("return() that breaks the protocol or throws is told, and changes nothing", async (t) => {
  const table: readonly [unknown, RegExp | null][] = [
    [5, /its `return` is a number, and no method/],
    [() => 7, /return\(\) answered a number, and must answer an object/],
    [() => {
      throw new Error("cannot close");
    }, /could not clean up: return\(\) threw: Error: cannot close/],
    [() => Promise.reject(new DOMException("The run stops", "AbortError")), null],
    [undefined, null],
    [null, null],
    [() => ({ done: true }), null],
  ];
  for (const [close, words] of table) {
    let id = 0;
    const taker = new Taker(
      getting(async({ next: async () => ({ value: id++, done: false }), return: close })),
    );
    taker.limit = { jobs: 3, bytes: Infinity };
    taker.source.open(undefined);
    while (taker.count < 3) await taker.nextBlock();
    await taker.source.close();
    t.same(taker.jobs, [0, 1, 2]);
    if (words === null) t.same(taker.warnings, []);
    else t.match(taker.warnings, [words]);
  }
});

t.test("a rejected promise of a sync iterator lets it clean up; the ones before are kept in order", async (t) => {
  let isReturned = false;
  const [jobs, over] = await read({
    getJobs: function* () {
      try {
        yield wait().then(() => 1) as never;
        yield 2 as never;
        yield wait().then(() => Promise.reject(new Error("no page"))) as never;
      } finally {
        isReturned = true;
      }
    },
  });
  t.same(jobs, [1, 2]);
  t.match(over, { fatal: false, message: /^getJobs threw: no page/ });
  t.ok(isReturned);
});

t.test("a job, or its cursor, that cannot even be asked whether it is a promise is a job that cannot be sent", async (t) => {
  const odd: Readonly<Record<string, () => unknown>> = {
    "a proxy that was revoked": revoked,
    "a getter named then": () => ({
      get then() {
        throw new Error("not now");
      },
    }),
  };
  for (const [name, make] of Object.entries(odd)) {
    for (const open of [sync, async]) {
      const [jobs, over] = await read(getting(open(answers({ value: 1 }, { value: make() }, { value: 2 }))));
      t.same(jobs, [1], `${name}: what was yielded before is kept`);
      t.match(over, {
        fatal: true,
        message: /^getJobs yielded job 1, which cannot be sent: at \$.* cannot be read/,
      });
    }
    const [jobs, over] = await read({
      getJobs: () => [1, 2] as never,
      cursor: (job: number) => job === 2 ? make() : job,
    });
    t.same(jobs, [1], name);
    t.match(over, {
      fatal: true,
      message: /job 1, whose cursor cannot be sent: .* let cursor\(job\) return/,
    });
  }
});

t.test("what stands for the data is named with what can be sent in its place", async (t) => {
  class Row {
    id = 1;
  }
  const table: readonly [unknown, RegExp][] = [
    [new Row(), /an instance of Row: a plain object of its fields can be sent, such as `\{ \.\.\.row \}`$/],
    [/x/, /an instance of RegExp: plain data that stands for it can be sent/],
    [
      new Float64Array(2),
      /an instance of Float64Array: a `Uint8Array` of its bytes can be sent, or an array/,
    ],
    [new DataView(new ArrayBuffer(2)), /an instance of DataView: a `Uint8Array`/],
    [new SharedArrayBuffer(2), /an instance of SharedArrayBuffer: a `Uint8Array`/],
    [new (class Chunk extends Uint8Array {})(2), /an instance of Chunk: a `Uint8Array`/],
    [[Promise.resolve(1)], /at \$\[0\] there is an instance of Promise: an `await` is missing$/],
  ];
  for (const [job, words] of table) {
    t.match((await read(getting(sync(answers({ value: job })))))[1], { fatal: true, message: words });
  }
});

t.test("cursor is called with what a promise resolves to", async (t) => {
  const [, , taker] = await read({
    getJobs: () => [Promise.resolve({ id: 4 }), { id: 5 }] as never,
    cursor: (job: { id: number }) => job.id,
  });
  t.same(taker.cursors, [4, 5]);
});

const gaveUp = { fatal: true, message: "getJobs called ctx.fatal: no file=" };

t.test("ctx.fatal ends the source at once, wherever it is called, and what was yielded is kept", async (t) => {
  const table: Readonly<Record<string, [unknown[], NonNullable<AnyPlugin["getJobs"]>]>> = {
    "in getJobs": [[], (_last, { fatal }) => fatal("no file=")],
    "in an async getJobs": [[], async (_last, ctx) => (await wait(), ctx.fatal("no file="))],
    "before the first yield": [[], function* (_last, ctx) {
      ctx.fatal("no file=");
    }],
    "midway": [[1, 2], function* (_last, ctx) {
      yield* [1, 2] as never[];
      ctx.fatal("no file=");
    }],
    "midway, later": [[1], async function* (_last, ctx) {
      yield 1 as never;
      await wait();
      ctx.fatal("no file=");
    }],
    "caught, and then another job": [[1], function* (_last, ctx) {
      yield 1 as never;
      try {
        ctx.fatal("no file=");
      } catch { /* as plugins do */ }
      yield 2 as never;
    }],
    "caught, and then the end": [[1], async function* (_last, ctx) {
      yield 1 as never;
      await Promise.reject().catch(() => ctx.fatal("no file=")).catch(() => {});
    }],
    "caught, and then another error": [[], async (_last, ctx): Promise<never> => {
      try {
        throw ctx.fatal("no file=");
      } catch {
        throw new Error("the cleaning up failed, too");
      }
    }],
    "caught, and then nothing for ever": [[1], async function* (_last, ctx) {
      yield 1 as never;
      try {
        ctx.fatal("no file=");
      } catch { /* as plugins do */ }
      await new Promise(() => {});
    }],
    "twice": [[], (_last, ctx): never => {
      try {
        throw ctx.fatal("no file=");
      } catch {
        throw ctx.fatal("another reason");
      }
    }],
    "beside the iterator": [[], (_last, ctx) => {
      setImmediate(() => {
        try {
          ctx.fatal("no file=");
        } catch { /* nobody waits for it */ }
      });
      return async({ next: () => new Promise(() => {}) }) as never;
    }],
  };
  for (const [name, [expected, getJobs]] of Object.entries(table)) {
    const [jobs, over] = await read({ getJobs });
    t.same([jobs, over], [expected, gaveUp], name);
  }
});

t.test("after ctx.fatal the iterator cleans up, and its signal is aborted", async (t) => {
  const steps: string[] = [];
  const [, over, taker] = await read({
    getJobs: async function* (_last, { signal, fatal }) {
      try {
        yield 1 as never;
        try {
          fatal("no file=");
        } catch { /* goes on */ }
        await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      } finally {
        steps.push("closed");
      }
    },
  });
  t.same(over, gaveUp);
  await taker.source.close();
  t.same(steps, ["closed"]);
  t.same(taker.warnings, []);
});

t.test("ctx.fatal without a reason says so; one that comes too late is told", async (t) => {
  let late: (reason: string) => never = () => {
    throw new Error("was not called");
  };
  const [jobs, over, taker] = await read({
    getJobs: (_last, { fatal }) => {
      late = fatal;
      return [1] as never;
    },
  });
  t.same([jobs, over, taker.warnings], [[1], "ended", []]);
  t.throws(() => late("no file="), { message: "ctx.fatal: no file=" });
  t.match(taker.warnings, [/^ctx\.fatal came when getJobs had ended, and changes nothing: no file=$/]);
  const [, failed] = await read({ getJobs: (_last, { fatal }) => (fatal as () => never)() });
  t.match(failed, { fatal: true, message: "getJobs called ctx.fatal: it gave no reason" });
});

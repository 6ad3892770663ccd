import t from "tap";
import { describeError, describeThrown, withoutOwnFrames } from "../../src/plugin/describe_error.ts";

class PostgresError extends Error {
  override name = "PostgresError";
}

t.test("describeError() says what was thrown", (t) => {
  const table: readonly [unknown, string][] = [
    [new Error("boom"), "boom"],
    [new TypeError("boom"), "TypeError: boom"],
    [new PostgresError("duplicate key"), "PostgresError: duplicate key"],
    [new Error(""), "Error"],
    [
      new AggregateError([new Error("connect ECONNREFUSED ::1:5432"), new Error("b")], ""),
      "connect ECONNREFUSED ::1:5432",
    ],
    [{ message: "like an error" }, "like an error"],
    ["text", "text"],
    ["", "an empty string was thrown"],
    [undefined, "undefined was thrown"],
    [null, "null was thrown"],
    [7n, "7n was thrown"],
    [Symbol("s"), "Symbol(s) was thrown"],
    [{ code: 5 }, "{ code: 5 } was thrown"],
    ["half a pair \ud800", "half a pair \ufffd"],
  ];
  for (const [thrown, message] of table) t.equal(describeError(thrown).message, message);
  t.end();
});

t.test("describeError() never throws, whatever was thrown", (t) => {
  const trap = (): never => {
    throw new Error("trap");
  };
  const hostile: readonly unknown[] = [
    new Proxy({}, {
      get: trap,
      has: trap,
      ownKeys: trap,
      getPrototypeOf: trap,
      getOwnPropertyDescriptor: trap,
    }),
    Proxy.revocable({}, {}).proxy,
    {
      get message() {
        return trap();
      },
    },
    {
      message: "ok",
      get stack() {
        return trap();
      },
    },
    {
      message: "ok",
      stack: "s",
      get cause() {
        return trap();
      },
    },
    { toString: trap, toJSON: trap, [Symbol.toPrimitive]: trap },
    Object.create(null),
    { message: { length: 5 } },
    Object.assign(new Error("x"), { name: 5, stack: 7 }),
  ];
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();
  for (const thrown of [...hostile, revoked.proxy]) {
    const { message, stack } = describeError(thrown);
    t.equal(typeof message, "string");
    t.equal(typeof stack, "string");
    t.not(message, "");
  }
  t.end();
});

t.test("a message is cut to 1,000 characters, a stack to 50 lines of 500", (t) => {
  const error = new Error("m".repeat(1 << 20));
  error.stack = `Error: m\n${"    at frame\n".repeat(5000)}`;
  const { message, stack } = describeError(error);
  t.equal(message.length, 1_000);
  t.ok(message.endsWith("m…"));
  t.equal(stack.split("\n").length, 50);
  t.equal(describeError({ message: "m", stack: "x".repeat(1 << 20) }).stack.length, 500);
  t.end();
});

t.test("a message of a thousand lines leaves room for the frames", (t) => {
  const error = new Error("line\n".repeat(1_000));
  t.match(describeError(error).stack, /^Error: line\n.*\n?\s+at .*describe_error/);
  t.end();
});

t.test("the cause is told behind the stack", (t) => {
  const error = new Error("cannot read", { cause: new TypeError("bad page") });
  t.match(describeError(error).stack, /\nCaused by: TypeError: bad page$/);
  t.end();
});

const own = new URL("../../src/worker/runner.ts", import.meta.url).pathname;
/** Stacks as runtimes write them, and what is left of each. */
const stacks: readonly (readonly [string, readonly string[], readonly string[]])[] = [
  [
    "a handler in the binary",
    [
      "Error: no",
      "    at <parse> (:0)",
      "    at parse (unknown)",
      "    at handleJob (/srv/x.ts:3:9)",
      "    at run (/$bunfs/root/taskmaster:128:2268)",
      "    at emit (node:events:100:22)",
      "    at #deliver (/$bunfs/root/taskmaster:42:115334)",
    ],
    ["Error: no", "    at <parse> (:0)", "    at parse (unknown)", "    at handleJob (/srv/x.ts:3:9)"],
  ],
  [
    "setup in the binary on Windows",
    [
      "Error: no",
      "    at setup (C:\\x.ts:3:9)",
      "    at async #setup (B:\\~BUN\\root\\taskmaster.exe:128:17210)",
      "    at processTicksAndRejections (native:7:39)",
    ],
    ["Error: no", "    at setup (C:\\x.ts:3:9)"],
  ],
  [
    "a handler in Deno, called back by this program",
    [
      "Error: no",
      "    at Object.handleJob (file:///srv/x.ts:3:57)",
      `    at Handler.run (file://${own}:73:31)`,
      "    at file:///srv/y.ts:1:1",
      `    at Runner.slice (file://${own}:94:20)`,
    ],
    ["Error: no", "    at Object.handleJob (file:///srv/x.ts:3:57)", "    at file:///srv/y.ts:1:1"],
  ],
  [
    "a fault of our own",
    ["Error: no", `    at #run (${own}:3:9)`, "    at emit (node:events:100:22)"],
    ["Error: no", `    at #run (${own}:3:9)`, "    at emit (node:events:100:22)"],
  ],
  [
    "the runtime, awaited by us",
    ["Error: no", "    at connect (native)", `    at async #run (${own}:3:9)`],
    ["Error: no"],
  ],
  [
    "a plugin that the runtime called",
    ["Error: no", "    at later (/srv/x.ts:3:9)", "    at processTicksAndRejections (native:7:39)"],
    ["Error: no", "    at later (/srv/x.ts:3:9)"],
  ],
  ["no stack of ours", ["Error: at", "    at x (native)"], ["Error: at", "    at x (native)"]],
];
for (const [what, stack, left] of stacks) {
  t.test(`withoutOwnFrames(): ${what}`, async (t) => {
    t.same(withoutOwnFrames(stack.join("\n")).split("\n"), left);
  });
}

t.test("describeThrown() says what, and below it where", async (t) => {
  const error = new TypeError("boom");
  error.stack = "TypeError: boom\n    at setup (/srv/x.ts:3:9)";
  t.equal(
    describeThrown("setup failed", error),
    "setup failed: TypeError: boom\n    at setup (/srv/x.ts:3:9)",
  );
  error.stack = "    at setup (/srv/x.ts:3:9)";
  t.equal(
    describeThrown("setup failed", error),
    "setup failed: TypeError: boom\n    at setup (/srv/x.ts:3:9)",
  );
  t.equal(describeThrown("setup failed", "text"), "setup failed: text");
});

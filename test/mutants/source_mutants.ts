import {
  type Check,
  hanging,
  type Mutant,
  type Patch,
  quickTest,
  simulation,
  test,
  throwing,
} from "./mutant.ts";

const broken = test(
  "plugin/jobs_iterator",
  "what breaks the protocol is a fatal fault that says what is expected; jobs before it are kept",
);
const taken = test("plugin/jobs_iterator", "what for await takes is taken, value for value");
const gaveUp = hanging(
  test(
    "plugin/jobs_iterator",
    "ctx.fatal ends the source at once, wherever it is called, and what was yielded is kept",
  ),
);
const firstRows = test(
  "plugin/source",
  "where the run's first 100 rows are all so, the program is at fault; fewer, or later ones, are rows",
);
const inTurn = test(
  "core/run_rows",
  "a row keeps its place: nothing behind it is handed out before its letter is durable",
);

/** The source: its iterator, what it may say of itself, and rows that cannot be sent. */
export const sourceMutants: readonly Mutant[] = [
  inFile(
    "jobs_iterator",
    "whatever is true ends the source",
    'if (typeof done === "boolean" ||',
    "if (done ||",
    broken,
  ),
  inFile(
    "jobs_iterator",
    "an answer without a value is a job",
    'if (value === undefined && !("value" in (step as object)))',
    'if (value !== undefined && !("value" in (step as object)))',
    broken,
  ),
  inFile(
    "jobs_iterator",
    "an answer that is no object is looked into",
    "  if (!isObject(step)) {",
    "  if (step === null || step === undefined) {",
    broken,
  ),
  inFile(
    "jobs_iterator",
    "a generator that returns its jobs yields none",
    "if (!yielded && holdsJobs(value)) {",
    "if (!yielded && holdsJobs(value) && isThenable(value)) {",
    test("plugin/jobs_iterator", "what an iterator ends with is no job, and that is said"),
  ),
  inFile(
    "iterable_source",
    "a call of ctx.fatal that comes too late is not told",
    "if (this.#isOver && this.#verdict === undefined) {",
    "if (this.#isOver && this.#verdict !== undefined) {",
    test("plugin/jobs_iterator", "ctx.fatal without a reason says so; one that comes too late is told"),
  ),
  inFile(
    "iterable_source",
    "promises of a synchronous iterable are not awaited",
    "if (!isThenable(job)) throw error;",
    "if (!isThenable(job) || error !== undefined) throw error;",
    taken,
  ),
  inFile(
    "iterable_source",
    "a query is awaited before it is iterated",
    "const jobs = isAsyncIterable(returned) ? returned : await returned;",
    "const jobs = isAsyncIterable(returned) ? await returned : await returned;",
    test("plugin/jobs_iterator", "a query that is iterable and a promise of all its rows is iterated"),
  ),
  inFile(
    "iterable_source",
    "ctx.fatal holds only if the plugin lets it through",
    "queueMicrotask(() => this.#fail(verdict));",
    "queueMicrotask(() => void verdict);",
    gaveUp,
  ),
  inFile(
    "iterable_source",
    "what is yielded after ctx.fatal is a job",
    "      if (this.#verdict !== undefined) throw this.#verdict;\n      if (this.#hasPromised",
    "      if (this.#hasPromised",
    gaveUp,
  ),
  inFile(
    "iterable_source",
    "a run of rows that cannot be sent goes on for ever",
    "if (this.#badRows.length < badRowsMax) return;",
    "if (this.#badRows.length < Infinity) return;",
    firstRows,
  ),
  inFile(
    "iterable_source",
    "a resume gives up at a hundred rows that cannot be sent",
    "this.#badRows = last === undefined ? [] : null;",
    "this.#badRows = [];",
    firstRows,
  ),
  inFile(
    "iterable_source",
    "a row that cannot be sent passes the jobs before it",
    "      this.#handOver(true);\n      return this.#giveRow(row);",
    "      return this.#giveRow(row);",
    test("plugin/source", "every fault of the data costs one row: too long, too deep, too large"),
  ),
  inCore(
    "ready_queues",
    "jobs pass a row that is on its way to the dead letters",
    {
      find: "if (this.#burying.length + this.#behind.length === 0) this.#pushReady(span);",
      replace: "if (this.#behind.length === 0) this.#pushReady(span);",
    },
    throwing(
      test("core/run_rows", "what comes while a row's letter is being written waits for it"),
      /not the next in order/,
    ),
  ),
  inCore(
    "ready_queues",
    "a row is buried before the jobs in front of it are handed out",
    {
      find: "if (this.count + this.#burying.length > 0 ||",
      replace: "if (this.#burying.length > 0 ||",
    },
    inTurn,
    simulation,
  ),
  inCore(
    "ready_queues",
    "rows are buried in whatever order the disk takes them",
    {
      find: "if (this.count + this.#burying.length > 0 ||",
      replace: "if (this.count > 0 ||",
    },
    test("core/run_rows", "rows side by side are one write; those that come meanwhile are the next one"),
    simulation,
  ),
  inCore("jobs", "`last` does not move over a row", {
    find: "    this.lastHandedOut = row;\n",
    replace: "",
  }, { ...inTurn, isQuick: true }),
  inCore(
    "jobs",
    "a letter of no row counts as a row's",
    {
      find: "if (this.fresh.rowsBurying === 0 || seq !== this.counts.handedOut) return null;",
      replace: "if (this.fresh.rowsBurying === 0 || seq < 0) return null;",
    },
    test(
      "core/run_rows",
      "an answer for the seq of a row, or a letter of no row that waits, changes nothing",
    ),
  ),
  inCore("source", "a row may be taken for the job that its cursor is", {
    find: "  bytes[0] = 0xff;\n",
    replace: "",
  }, inTurn),
  inCore("run", "what is handed out last brings no row behind it to its turn", {
    find: "      this.#versions.version++;\n      this.#buryRows();\n",
    replace: "      this.#versions.version++;\n",
  }, inTurn),
  {
    name: "the letter of a row that was mended stays",
    patches: [{
      file: "src/state/late_letters.ts",
      find: "if (job !== null &&",
      replace: "if (job === null) this.#jobs.delete(seq);\n        if (job !== null &&",
    }],
    checks: [
      quickTest(
        "state/late_letters",
        "that of a row that could not be sent is taken back once its seq is settled by a job",
      ),
    ],
  },
  {
    name: "an onFinish that threw is a success",
    patches: [{
      file: "src/cli/signals.ts",
      find: "      if (result.finishFault !== null) return 1;\n",
      replace: "",
    }],
    checks: [quickTest("cli/exit_code", "exitCodeOf() a run that is complete, and onFinish threw")],
  },
  inFile(
    "args",
    "an argument of a trial tells one run from another",
    ".filter(([name]) => rows[name]?.identity !== false)",
    ".filter(([name]) => rows[name] !== undefined)",
    quickTest("plugin/args", "an argument of a trial does not tell one run from another"),
  ),
  inFile(
    "args",
    "a misspelled argument is passed by",
    "!Object.hasOwn(rows, typed));",
    "!(typed in rows) && known.length === 0);",
    test("plugin/args", 'a start with {"end":"5","maxrow":"5"} is refused'),
  ),
  inFile(
    "args",
    "a required argument may be missing",
    "if (row.required !== true) return row.default;",
    'if (row.required !== true || row.type === "integer") return row.default;',
    test("plugin/args", "a start with {} is refused"),
  ),
  {
    name: "a worker gets arguments as they were typed",
    patches: [{
      file: "src/worker/session.ts",
      find: "new PluginHost(plugin, argValues(plugin, args), log)",
      replace: "new PluginHost(plugin, argValues({}, args), log)",
    }],
    checks: [
      test("e2e/args", "every function of a plugin gets its arguments typed, at the master and in a worker"),
    ],
  },
];

function inFile(file: string, name: string, find: string, replace: string, check: Check): Mutant {
  return { name, patches: [{ file: `src/plugin/${file}.ts`, find, replace }], checks: [check] };
}

function inCore(file: string, name: string, patch: Omit<Patch, "file">, ...checks: readonly Check[]): Mutant {
  return { name, patches: [{ file: `src/core/${file}.ts`, ...patch }], checks };
}

import { type Check, hanging, type Mutant, type Patch, quickTest, test, throwing } from "./mutant.ts";

const arrives = throwing(
  test(
    "protocol/cbor_reader",
    "jobs arrive as they were yielded, the first of a shape and the fortieth",
  ),
  /^Property failed/,
);
const numbersArrive = test("protocol/cbor_reader", "numbers around every length that a head may have");
const shapesChange = test(
  "protocol/cbor_reader",
  "a job may change its shape, and what its keys hold, at any time",
);
const tables = throwing(
  test("protocol/cbor_reader", "keys of tables and of objects"),
  /call stack|there are (no )?more bytes|first argument/,
);
const forgotten = test(
  "protocol/cbor_reader",
  "keys that never come again are forgotten, and jobs arrive all the same",
);
const stopped = test(
  "protocol/cbor_reader",
  "of the keys of messages only so many are kept, and what else comes is read all the same",
);
const badRefused = test(
  "protocol/cbor_reader",
  "a job with a text that is no UTF-8, or a key twice, is refused, and its neighbours are decoded",
);
const badBuried = test(
  "worker/runner",
  "a job whose bytes break a rule is buried without being run, and its neighbours run",
);
const copies = test("protocol/cbor_reader", "byte strings are copies");
const refusedOnce = test(
  "protocol/job_encoder",
  "what would not arrive as it was sent is refused, with its path",
);
const refusedAlways = test(
  "protocol/job_encoder",
  "what is refused is refused at every job, but for keys that are symbols",
);
const blocks = throwing(
  test("protocol/job_encoder", "jobs lie one behind the other, with a table of their ends"),
  /^Property failed/,
);
const nextBlock = test(
  "protocol/job_encoder",
  "a block is in memory of its own, and the next one begins anew",
);
const notToTheEnd = test("protocol/cbor_writer", "what is too long is not written to its end");
const longestBehind = test(
  "protocol/cbor_writer",
  "behind others in a block, a job may be as long as alone, and no longer",
);

/** What jobs are written and read with: fast, so each shortcut must be taken only where it is none. */
export const jobMutants: readonly Mutant[] = [
  inReader(
    "a key counts as the likely one that is other in its last letter",
    "index < wanted.length; index++) if (bytes",
    "index < wanted.length - 1; index++) if (bytes",
    { ...shapesChange, isQuick: true },
  ),
  inReader(
    "a key that turned out to be another is not read from its beginning",
    "if (bytes[at + index] !== wanted[index]) return false;",
    "if (bytes[at + index] !== wanted[index]) return (this.#at += index) < 0;",
    throwing(shapesChange, /first argument|not in UTF-8/),
  ),
  inReader(
    "a key counts as another that came there before",
    "keyBytes)) return firstShapes[index]!;",
    "keyBytes)) return firstShapes[0]!;",
    shapesChange,
  ),
  inWriter(
    "a key is written as the likely one that is as long",
    "likely.key === key)",
    "likely.key.length === key.length)",
    shapesChange,
  ),
  inShapes(
    "shapes are never forgotten",
    "else this.#forget();",
    "else if (chars < 0) this.#forget();",
    forgotten,
  ),
  inShapes(
    "a peer has shapes forgotten",
    'this.#whenFull === "stop") return',
    'this.#whenFull === "stop" && chars < 0) return',
    stopped,
  ),
  inShapes(
    "a shape counts the same however long its key is",
    "shapeChars + key.length;",
    "shapeChars;",
    forgotten,
  ),
  inShapes(
    "the function of a shape has the keys of jobs as its source",
    "`${JSON.stringify(key)}: values",
    '`"${key}": values',
    throwing(shapesChange, /unexpected token/),
  ),
  inShapes(
    "the function of a shape takes values from elsewhere",
    "values[from + ${index}]`",
    "values[${index}]`",
    shapesChange,
  ),
  inReader(
    "objects overwrite values of those around them",
    "values[this.#depth++] = this.next();",
    "values[base + index] = this.next();",
    arrives,
  ),
  inReader(
    "objects of any size have shapes",
    "shapeKeysMax = 64;",
    "shapeKeysMax = 1 << 20;",
    tables,
  ),
  inReader(
    "byte strings of jobs are views",
    "new ValueReader(bytes, jobShapes, false)",
    "new ValueReader(bytes, jobShapes, true)",
    copies,
  ),
  inReader(
    "byte strings of jobs are what they are cut from",
    "this.#bytes = new Uint8Array(buffer, byteOffset, byteLength);",
    "this.#bytes = bytes;",
    copies,
  ),
  inReader(
    "negative integers are read as positive ones are",
    "return -1 - value;",
    "return -value;",
    numbersArrive,
  ),
  inReader(
    "a lease may hold more than it counts",
    "if (!reader.isAtEnd) throw",
    "if (count < 0) throw",
    test("protocol/cbor_x", "decodeJobs() takes jobs laid one behind the other"),
  ),
  inWriter(
    "the items of an array are not counted",
    "(this.#itemsLeft -= items.length) < 0",
    "items.length < 0",
    refusedAlways,
  ),
  inWriter(
    "the items of objects are not counted",
    "(this.#itemsLeft -= 2 * count) >= 0",
    "count >= 0",
    refusedAlways,
  ),
  inWriter(
    "jobs may be of any depth",
    "depth < cborDepthMax &&",
    "depth < 1e3 * cborDepthMax &&",
    refusedAlways,
  ),
  inWriter("a job may have an own __proto__", 'key === "__proto__" || ', "", refusedAlways),
  {
    name: "a job that came may have a key __proto__",
    patches: [{
      file: "src/protocol/cbor_scan.ts",
      find: "isKey && value === 9 &&",
      replace: "isKey && value === 0 &&",
    }],
    checks: [test("protocol/cbor_scan", "bombs are refused before anything is decoded")],
  },
  inWriter(
    "half a surrogate pair is written in a text",
    "text.length > this.#bytesMax || !isWellFormed(text)",
    "text.length > this.#bytesMax",
    refusedAlways,
  ),
  inWriter("half a surrogate pair is written in a key", " || !isWellFormed(key)", "", refusedAlways),
  inWriter(
    "a job may be longer than allowed",
    "this.length - start <= this.#bytesMax",
    "this.length - start <= 2 * this.#bytesMax",
    refusedAlways,
  ),
  inWriter(
    "a job much too long is written to its end",
    "> this.#bytesMax + shortBytes)",
    "> 1e3 * this.#bytesMax)",
    notToTheEnd,
  ),
  inWriter(
    "the longest jobs are refused where the memory must grow",
    "> this.#bytesMax + shortBytes)",
    "> this.#bytesMax)",
    throwing(longestBehind, /more than 1048576/),
  ),
  inWriter(
    "the length of a job is that of its block",
    "= this.#start = this.length;",
    "= this.length;",
    throwing(longestBehind, /more than 1048576/),
  ),
  {
    name: "a job much too long is walked to its end",
    patches: [{
      file: "src/protocol/job_fault.ts",
      find: "(this.#bytesLeft -= bytes) >= 0",
      replace: "(this.#bytesLeft -= bytes) >= -1e12",
    }],
    checks: [hanging(refusedOnce)],
  },
  inWriter(
    "what was begun of a rare job stays in front of it",
    "this.length = start;\n    return false;",
    "return false;",
    blocks,
  ),
  {
    name: "what was begun of a refused job stays",
    patches: [{
      file: "src/protocol/job_encoder.ts",
      find: "      this.#writer.length = start;\n",
      replace: "",
    }],
    checks: [throwing(refusedOnce, /^Unexpected end of CBOR|end of buffer not reached/)],
  },
  {
    name: "rare jobs are not looked through",
    patches: [{
      file: "src/protocol/job_encoder.ts",
      find: "if (!isPlain || this.#seen",
      replace: "if (this.#seen",
    }],
    checks: [refusedAlways],
  },
  inWriter("a block that was taken is in the next one too", "    this.length = 0;\n", "", nextBlock),
  {
    name: "the ends of a block that was taken are in the next one too",
    patches: [{ file: "src/protocol/job_encoder.ts", find: "    this.#count = 0;\n", replace: "" }],
    checks: [nextBlock],
  },
  inWriter(
    "a block is a view of what the next one is written to",
    "this.bytes.slice(0,",
    "this.bytes.subarray(0,",
    nextBlock,
  ),
  inWriter("an object has fewer than 24 keys", "count < 24", "count < 1e9", tables),
  inWriter(
    "the head of many keys is written over what stands behind it",
    "this.bytes.copyWithin(at + head.length, at + 1, this.length);",
    "",
    tables,
  ),
  inWriter(
    "negative integers of any size are written in 32 bits",
    "value >= -(2 ** 32) &&",
    "value >= -(2 ** 53) &&",
    numbersArrive,
  ),
  inWriter(
    "negative fractions are written as integers",
    " && Math.floor(value) === value",
    "",
    numbersArrive,
  ),
  inWriter(
    "floats are written short",
    "setFloat64(this.length + 1, value)",
    "setFloat32(this.length + 1, value)",
    numbersArrive,
  ),
  inReader(
    "floats are read backwards",
    "getFloat64(start + 1)",
    "getFloat64(start + 1, true)",
    numbersArrive,
  ),
  inReader(
    "texts of jobs may be no UTF-8",
    "&& !isUtf8(this.#bytes.subarray(at, this.#at))",
    "&& this.#at < 0",
    { ...badRefused, isQuick: true },
  ),
  inReader(
    "a key that an object of a job has already is one more",
    "if (shape.after(key) === undefined && shape.has(key)) throw keyTwice();",
    "",
    badRefused,
  ),
  inReader(
    "a key that a table of a job has already takes its place",
    "if (Object.hasOwn(table, key)) throw keyTwice();",
    "",
    badRefused,
  ),
  inReader(
    "what is rare in a job may hold anything",
    "checkTexts(this.#bytes, start, Infinity);",
    "void checkTexts;",
    badRefused,
  ),
  one(
    "a job whose bytes break a rule is run",
    {
      file: "src/worker/slice_run.ts",
      find: "return Math.min(this.end, this.#refused[this.#refusedAt]?.seq ?? Infinity);",
      replace: "return this.end;",
    },
    badBuried,
  ),
  inWriter(
    "dates lose their milliseconds",
    "date.getTime() / 1000);",
    "Math.floor(date.getTime() / 1000));",
    shapesChange,
  ),
  inWriter(
    "dates are written that lose their milliseconds",
    "return isExactDate(date) && ",
    "return ",
    refusedAlways,
  ),
  inWriter(
    "what others added to all objects is written",
    "if (!Object.hasOwn(object, key)) continue;",
    "",
    test("protocol/cbor_reader", "what others added to all objects is no part of a job"),
  ),
  one(
    "an array of a subclass is refused beside what is rare",
    {
      file: "src/protocol/cbor_x.ts",
      find: "if (Array.isArray(value)) return encodeItem",
      replace: "if (Array.isArray(value) && value.length < 0) return encodeItem",
    },
    throwing(
      test(
        "protocol/job_encoder",
        "an array of a subclass is an array, at every job and depth, whatever else it has",
      ),
      /Cannot/,
    ),
  ),
  inShapes(
    "keys that are symbols are lost without a word",
    "#unsearched = 1;",
    "#unsearched = searchedEach;",
    test(
      "protocol/job_encoder",
      "a key that is a symbol is found in the first objects of a shape, and soon where more of them have one",
    ),
  ),
  one(
    "a fault of the data hides one of the program",
    {
      file: "src/protocol/job_fault.ts",
      find: 'return walk.faultIn(job, "$", []) ?? walk.inData;',
      replace: 'const fault = walk.faultIn(job, "$", []);\n    return walk.inData ?? fault;',
    },
    refusedOnce,
  ),
  {
    name: "a run stands still once its slave was told to leave by a signal",
    patches: [{
      file: "src/cli/commands/run.ts",
      find: "if (this.#isEnding || this.#options.isEnding()) return;",
      replace: "if (this.#isEnding || this.#options.isEnding() || code === 0) return;",
    }],
    checks: [
      hanging(test(
        "e2e/early_end",
        "A29: the slave of a run that a signal ended alone, with exit code 0, is started anew",
      )),
    ],
  },
  {
    name: "a worker that hears nothing any more keeps its jobs",
    patches: [{
      file: "src/slave/worker_pool.ts",
      find: "nowMs - handle.movedAtMs < idleMs) return null;",
      replace: "idleMs > 0) return null;",
    }],
    checks: [
      hanging(test(
        "e2e/slave_faults",
        "A27: a handler that breaks what hears in its worker: that is replaced",
      )),
    ],
  },
  {
    name: "a handler that exits before it returns is charged with nothing",
    patches: [{
      file: "src/worker/session.ts",
      find: "owner === null || runner.isOnStack) return;",
      replace: "owner === null) return;",
    }],
    checks: [
      hanging(
        test("e2e/early_end", "A29: a handler that exits at once costs its own job, and ends with that"),
      ),
    ],
  },
  {
    name: "a job that was changed by its cursor is taken for the cursor as it was",
    patches: [{
      file: "src/plugin/job_collector.ts",
      find: "if (isOwn && before === 0 && this.#cursors.isSame(this.#jobs)) this.#cursors.drop(length);",
      replace: "if (isOwn && before === 0) this.#cursors.drop(length);",
    }],
    checks: [
      quickTest("plugin/job_collector", "a cursor is what the function returned, even if it changed the job"),
    ],
  },
  {
    name: "of jobs that are their own cursors the one before another cursor is left out",
    patches: [{
      file: "src/plugin/job_collector.ts",
      find: "this.#cursors.copy(this.#jobs, before);",
      replace: "this.#cursors.copy(this.#jobs, before - 1);",
    }],
    checks: [
      throwing(
        quickTest(
          "plugin/job_collector",
          "a job that is its own cursor is encoded once, whatever cursors the block has beside",
        ),
        /^Data read, but end of buffer not reached/,
      ),
    ],
  },
];

function inWriter(name: string, find: string, replace: string, check: Check): Mutant {
  return one(name, { file: "src/protocol/cbor_writer.ts", find, replace }, check);
}

function inReader(name: string, find: string, replace: string, check: Check): Mutant {
  return one(name, { file: "src/protocol/cbor_reader.ts", find, replace }, check);
}

function inShapes(name: string, find: string, replace: string, check: Check): Mutant {
  return one(name, { file: "src/protocol/cbor_shapes.ts", find, replace }, check);
}

function one(name: string, patch: Patch, check: Check): Mutant {
  return { name, patches: [patch], checks: [check] };
}

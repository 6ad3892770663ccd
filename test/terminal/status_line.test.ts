import t from "tap";
import { cutToWidth, widthOf, wrap } from "../../src/terminal/text_width.ts";
import { masterStatusLine, slaveStatusLine } from "../../src/terminal/status_line.ts";

const numbers = {
  settled: 30421,
  ratePerSecond: 991.06,
  elapsedMs: 40_000,
  buffered: 9488,
  jobsMax: 10_000,
  inFlight: 512,
  slaves: 4,
  dead: 0,
  reason: "slaves busy",
};

t.test("masterStatusLine() is the original's line, gone on with", async (t) => {
  t.equal(
    masterStatusLine(numbers)(Infinity),
    "Current Job: 30421 | Rate:  991.06/s | Elapsed Time: 0:00:40 | Buffer: 9488/10000 | In Flight: 512 | Slaves: 4 | Failed: 0 | slaves busy",
  );
});

const rates: readonly (readonly [number, string])[] = [
  [0, "   0.00/s"],
  [9.999, "  10.00/s"],
  [991.06, " 991.06/s"],
  [12345.678, "12345.68/s"],
  [1234567.5, "1234567.50/s"],
];
for (const [ratePerSecond, shown] of rates) {
  t.test(`masterStatusLine() shows a rate of ${ratePerSecond} seven wide`, async (t) => {
    t.match(masterStatusLine({ ...numbers, ratePerSecond })(Infinity), `| Rate: ${shown} |`);
  });
}

t.test("masterStatusLine() counts hours past a day", async (t) => {
  t.match(masterStatusLine({ ...numbers, elapsedMs: 93_784_000 })(Infinity), "| Elapsed Time: 26:03:04 |");
});

t.test("masterStatusLine() stays one safe line, whatever the reason", async (t) => {
  const line = masterStatusLine({
    ...numbers,
    reason: `failing: \u001b[2J\r${"x".repeat(5_000)}\nsecond line`,
  })(Infinity);
  t.match(line, "| failing: \\e[2J\\rxxx");
  t.ok(line.length < 400);
});

t.test("slaveStatusLine() says what the slave does", async (t) => {
  t.equal(
    slaveStatusLine({
      done: 5120,
      ratePerSecond: 991.06,
      elapsedMs: 40_000,
      failed: 2,
      inFlight: 64,
      procs: 4,
      state: "working",
    })(Infinity),
    "Jobs Done: 5120 | Rate:  991.06/s | Elapsed Time: 0:00:40 | In Flight: 64 | Procs: 4 | Failed: 2 | working",
  );
});

const failing = { ...numbers, dead: 3, reason: "failing: connect ECONNREFUSED 10.0.0.5:5432" };

/** Numbers, columns, and what is left of the line there. */
const narrow: readonly (readonly [typeof numbers, number, string])[] = [
  [
    numbers,
    110,
    "Current Job: 30421 | Rate:  991.06/s | Elapsed Time: 0:00:40 | Slaves: 4 | Failed: 0 | slaves busy",
  ],
  [numbers, 79, "Current Job: 30421 | Rate:  991.06/s | Elapsed Time: 0:00:40 | slaves busy"],
  [
    { ...numbers, reason: failing.reason },
    79,
    "Current Job: 30421 | Rate:  991.06/s | Elapsed Time: 0:00:40 | failing: connec…",
  ],
  [
    failing,
    199,
    "Current Job: 30421 | Rate:  991.06/s | Elapsed Time: 0:00:40 | Buffer: 9488/10000 | In Flight: 512 | Slaves: 4 | Failed: 3 | failing: connect ECONNREFUSED 10.0.0.5:5432",
  ],
  [
    failing,
    120,
    "Current Job: 30421 | Rate:  991.06/s | Elapsed Time: 0:00:40 | Failed: 3 | failing: connect ECONNREFUSED 10.0.0.5:5432",
  ],
  [failing, 79, "Current Job: 30421 | Rate:  991.06/s | 0:00:40 | Failed: 3 | failing: connect …"],
  [{ ...numbers, dead: 3 }, 79, "Current Job: 30421 | Rate:  991.06/s | 0:00:40 | Failed: 3 | slaves busy"],
  [numbers, 39, "Current Job: 30421 | slaves busy"],
  [{ ...numbers, dead: 3 }, 39, "Job 30421 | Failed: 3 | slaves busy"],
  [failing, 39, "Job 30421 | Failed: 3 | failing: conne…"],
];
for (const [given, columns, expected] of narrow) {
  t.test(`masterStatusLine() in ${columns} columns: ${expected}`, async (t) => {
    t.equal(masterStatusLine(given)(columns), expected);
  });
}

const reasons = [
  "slaves busy",
  "paused",
  failing.reason,
  `failing: ${"語".repeat(40)}`,
  "failing: e\u0301".repeat(9),
];
for (const reason of reasons) {
  t.test(`masterStatusLine() never wraps, and keeps what counts: ${reason.slice(0, 20)}`, async (t) => {
    for (const dead of [0, 1, 123_456]) {
      for (let columns = 1; columns <= 250; columns++) {
        const line = masterStatusLine({ ...numbers, dead, reason })(columns);
        if (widthOf(line) > columns) t.fail(`${columns}: ${line}`);
        const start = dead > 1 ? "Current Job: 30421 | " : "Current Job: 30421 | Rate:  991.06/s | ";
        if (columns >= 79 && !line.startsWith(start)) t.fail(line);
        if (columns >= 45 && dead > 0 && !line.includes(` | Failed: ${dead} | `)) t.fail(line);
        if (columns >= 60 && !line.includes(reason.slice(0, 6))) t.fail(line);
        if (columns >= 79 && !line.includes("0:00:40")) t.fail(line);
      }
    }
  });
}

t.test("slaveStatusLine() loses its middle first, too", async (t) => {
  const line = slaveStatusLine({
    done: 5120,
    ratePerSecond: 991.06,
    elapsedMs: 40_000,
    failed: 0,
    inFlight: 64,
    procs: 4,
    state: "reconnecting to 10.0.0.5:5050",
  });
  t.equal(
    line(95),
    "Jobs Done: 5120 | Rate:  991.06/s | Elapsed Time: 0:00:40 | reconnecting to 10.0.0.5:5050",
  );
  t.equal(line(79), "Jobs Done: 5120 | Rate:  991.06/s | Elapsed Time: 0:00:40 | reconnecting to 10…");
});

const widths: readonly (readonly [string, number])[] = [
  ["abc", 3],
  ["Ж…—", 3],
  ["語語", 4],
  ["e\u0301", 1],
  ["😀", 2],
  ["❤", 2],
  ["ｆ", 2],
  ["한국", 4],
  ["ไม่", 2],
];
for (const [text, width] of widths) {
  t.test(`widthOf() of ${text}`, async (t) => t.equal(widthOf(text), width));
}

t.test("cutToWidth() cuts between characters, and never leaves half of one", async (t) => {
  t.equal(cutToWidth("語語語", 6), "語語語");
  t.equal(cutToWidth("語語語", 5), "語語…");
  t.equal(cutToWidth("語語語", 4), "語…");
  t.equal(cutToWidth("a😀😀", 3), "a…");
  t.equal(cutToWidth("e\u0301e\u0301e\u0301", 2), "e\u0301…", "a mark stays with its letter");
  t.equal(cutToWidth("abc", 0), "");
});

t.test("wrap() breaks at spaces, with what stands before each line", async (t) => {
  t.same(wrap("one two three", 9, "- ", "  "), ["- one two", "  three"]);
  t.same(wrap("averylongword of it", 8), ["averylongword", "of it"]);
});

import t from "tap";
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
    masterStatusLine(numbers),
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
    t.match(masterStatusLine({ ...numbers, ratePerSecond }), `| Rate: ${shown} |`);
  });
}

t.test("masterStatusLine() counts hours past a day", async (t) => {
  t.match(masterStatusLine({ ...numbers, elapsedMs: 93_784_000 }), "| Elapsed Time: 26:03:04 |");
});

t.test("masterStatusLine() stays one safe line, whatever the reason", async (t) => {
  const line = masterStatusLine({
    ...numbers,
    reason: `failing: \u001b[2J\r${"x".repeat(5_000)}\nsecond line`,
  });
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
    }),
    "Jobs Done: 5120 | Rate:  991.06/s | Elapsed Time: 0:00:40 | In Flight: 64 | Procs: 4 | Failed: 2 | working",
  );
});

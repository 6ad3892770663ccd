import t from "tap";
import { chaos, hanging, test, throwing } from "./mutant.ts";
import { chaosVerdict } from "./run_chaos.ts";
import { verdictOn } from "./run_tests.ts";

// What counts as a catch, by what tap and chaos print.

const check = test("core/run", "a job runs");
const of = (lines: string, summary = "not ok 1 - a job runs # time=5.1ms") =>
  `TAP version 14\n# Subtest: a job runs\n${lines}    1..1\n${summary}\n  ---\n  ...\n\n1..1\n`;
const notOk = (title: string, details: string) => `    not ok 1 - ${title}\n      ---\n${details}      ...\n`;
const asserted = notOk("should be equal", "      compare: ===\n      diff: |\n        +tapCaught: 1\n");
const threw = notOk("x is undefined", "      type: TypeError\n      tapCaught: returnedPromiseRejection\n");
const nodeAsserted = notOk(
  "1 == 2",
  "      code: ERR_ASSERTION\n      tapCaught: returnedPromiseRejection\n",
);
const hung = notOk("timeout!", "      signal: null\n      expired: TAP\n");
const deeper = (lines: string) =>
  `    # Subtest: a part\n${lines.replaceAll(/^/gm, "    ").trimEnd()}\n${notOk("a part", "")}`;

t.test("verdictOn() takes an assertion that failed for a catch", async (t) => {
  t.equal(verdictOn(check, of(asserted), 30).failed, "should be equal");
  t.equal(verdictOn(check, of(nodeAsserted), 30).failed, "1 == 2");
  t.equal(verdictOn(check, of(threw + asserted), 30).failed, "should be equal");
  t.equal(verdictOn(check, of(deeper(asserted)), 30).failed, "should be equal");
  t.equal(
    verdictOn(check, of("    ok 1 - should be equal\n", "ok 1 - a job runs # time=5ms"), 30).failed,
    null,
  );
});

t.test("verdictOn() takes an error or a timeout for a catch only where it is expected", async (t) => {
  t.throws(() => verdictOn(check, of(threw), 30), /threw: x is undefined/);
  t.throws(() => verdictOn(check, of(deeper(threw)), 30), /threw: x is undefined/);
  t.throws(() => verdictOn(check, of(hung), 30), /hung: timeout!/);
  t.throws(() => verdictOn(hanging(check), of(threw), 30), /threw/);
  t.throws(() => verdictOn(throwing(check, /y is/), of(threw), 30), /threw/);
  t.throws(() => verdictOn(throwing(check, /timeout/), of(hung), 30), /hung/);
  t.equal(verdictOn(hanging(check), of(hung), 30).failed, "timeout!");
  t.equal(verdictOn(throwing(check, /^x is/), of(threw), 30).failed, "x is undefined");
});

t.test("verdictOn() refuses a test that did not run, that took too long, or that failed without a word", async (t) => {
  t.throws(() => verdictOn(check, "TAP version 14\n1..0\n", 30), /did not run/);
  t.throws(() => verdictOn(check, of("", "ok 1 - a job runs # time=31.5s"), 30), /31.5 s, more than 30/);
  t.throws(() => verdictOn(check, of(""), 30), /No assertion/);
});

t.test("chaosVerdict() takes a problem of the expected sort for a catch, and nothing else", async (t) => {
  const check = chaos("slave-kill", "lost", { seed: 2, seconds: 3 });
  const row = (name: string) => `| ${name} | 2 | 3 kill slave | 900 | 0 | 0 / 9 | 12 s |\n`;
  const failed = (...problems: string[]) =>
    `${row("slave-kill FAILED")}\nslave-kill failed:\n${
      problems.map((problem) => `  - ${problem}\n`).join("")
    }  The plan was:\n`;
  t.equal(chaosVerdict(check, 0, row("slave-kill")).failed, null);
  t.equal(
    chaosVerdict(check, 1, failed("the master ended with 1", "job 7 was never handled")).failed,
    "job 7 was never handled",
  );
  t.throws(() => chaosVerdict(check, 1, failed("the master ended with 1")), /nothing that it was lost/);
  t.throws(() => chaosVerdict(check, 1, "error: job 7 was never handled\n"), /nothing/);
  t.throws(() => chaosVerdict(check, 0, "| slave-kill | 2 | skipped: no rights | | | | |\n"), /nothing/);
  t.throws(() => chaosVerdict(check, 0, ""), /nothing/);
});

import t from "tap";
import type { Attempt, DeadLetter, FailedAttempt, History } from "../../src/core/types.ts";
import { LogLines } from "../../src/observe/log_lines.ts";

const attempt: Attempt = {
  how: "threw",
  message: "no such host.\nmore",
  stack: "",
  slave: "web3",
  durationMs: 1,
  at: "",
};
const history: History = {
  failures: 3,
  crashes: 0,
  crashesInCompany: 0,
  lostSessions: 0,
  attempts: [attempt],
};
const letter = (seq: number, more: Partial<History> = {}): DeadLetter => ({
  seq,
  job: new Uint8Array(1),
  history: { ...history, ...more },
});
const failed: FailedAttempt = {
  seq: 7,
  attempt,
  count: 2,
  countMax: 3,
  isCharged: true,
  isBuried: false,
  retryInMs: 1_500,
};

function logs() {
  const lines: string[] = [];
  return { lines, log: new LogLines((level, message) => lines.push(`${level}: ${message}`)) };
}

const letters: readonly (readonly [Partial<History>, string])[] = [
  [{}, "Job 7 is a dead letter after 3 failures, the last at web3: no such host"],
  [
    { failures: 1, crashes: 3, attempts: [{ ...attempt, how: "crashed", message: "killed by SIGKILL" }] },
    "Job 7 is a dead letter after 1 failure and 3 crashes, the last at web3: killed by SIGKILL",
  ],
  [
    { failures: 1, attempts: [{ ...attempt, how: "fatal", message: "gone" }] },
    "Job 7 is a dead letter, by ctx.fatal, at web3: gone",
  ],
  [
    {
      attempts: [{
        ...attempt,
        message: "TypeError: x is no function",
        stack: "TypeError: x is no function\n    at JSON.parse (<anonymous>)\n    at f (node:fs:1:2)\n" +
          "    at work (/jobs/my plugin.ts:12:7)\n    at /jobs/b.ts:1:1",
      }],
    },
    "Job 7 is a dead letter after 3 failures, the last at web3 (plugin.ts:12:7): TypeError: x is no function",
  ],
  [{ failures: 0, attempts: [] }, "Job 7 is a dead letter"],
  [
    { attempts: [{ ...attempt, slave: "\u001b[2J", message: "\u001b[2J" }] },
    "Job 7 is a dead letter after 3 failures, the last at \\e[2J: \\e[2J",
  ],
];
for (const [more, line] of letters) {
  t.test(`LogLines: ${line}`, async (t) => {
    const { lines, log } = logs();
    log.happened({ kind: "dead letters", letters: [letter(7, more)] }, 0);
    t.same(lines, [`info: ${line}`]);
  });
}

t.test("LogLines says of a row that could not be sent what is wrong with it, and where", async (t) => {
  const { lines, log } = logs();
  const row = {
    cursor: new Uint8Array(1),
    path: "$.name\u001b",
    reason: "half a pair",
    dataFault: "half a pair",
  };
  log.happened({
    kind: "dead letters",
    letters: [{ seq: 7, job: null, history: { ...history, failures: 0, attempts: [] }, row }],
  }, 0);
  t.same(lines, ["info: Job 7 cannot be sent, and is a dead letter: at $.name\\e there is half a pair"]);
});

const attempts: readonly (readonly [Partial<FailedAttempt>, string])[] = [
  [{}, "Job 7 failed, 2 of 3, at web3, and is tried again in 1.5s: no such host"],
  [{ isBuried: true, count: 3 }, "Job 7 failed, 3 of 3, at web3, and becomes a dead letter: no such host"],
  [
    { isCharged: false, retryInMs: null },
    "Job 7 failed, uncharged, at web3, and is tried again later: no such host",
  ],
  [
    { attempt: { ...attempt, how: "timed out", message: "too long" } },
    "Job 7 timed out, 2 of 3, at web3, and is tried again in 1.5s: too long",
  ],
  [
    { attempt: { ...attempt, how: "fatal" }, isBuried: true },
    "Job 7 failed for good, at web3, and becomes a dead letter: no such host",
  ],
];
for (const [more, line] of attempts) {
  t.test(`LogLines at debug: ${line}`, async (t) => {
    const { lines, log } = logs();
    log.happened({ kind: "attempt failed", failed: { ...failed, ...more } }, 0);
    t.same(lines, [`debug: ${line}`]);
  });
}

t.test("LogLines shows five a second of a message, whatever its numbers, then how many more", async (t) => {
  const { lines, log } = logs();
  const bad = (seq: number) => letter(seq, { attempts: [{ ...attempt, message: `row ${seq} is bad` }] });
  for (let seq = 0; seq < 1_000; seq++) log.happened({ kind: "dead letters", letters: [bad(seq)] }, seq / 2);
  log.happened({ kind: "dead letters", letters: [letter(5_000)] }, 500);
  t.equal(lines.length, 6, "another message has lines of its own");
  t.equal(log.tick(999), 1_000, "it asks to be called when the second is over");
  t.equal(lines.length, 6);
  t.equal(log.tick(1_000), Infinity);
  t.same(lines.slice(6), ["info: 995 more jobs are dead letters, job 999 the last of them: row 999 is bad"]);
  for (let seq = 0; seq < 6; seq++) log.happened({ kind: "dead letters", letters: [bad(seq)] }, 1_050);
  log.tick(2_050);
  t.equal(lines.at(-1), "info: 1 more job is a dead letter, job 5: row 5 is bad");
  log.happened({ kind: "dead letters", letters: [bad(1)] }, 2_100);
  t.match(lines.at(-1), "Job 1 is", "and begins anew");
});

t.test("LogLines is bounded, however many messages there are", async (t) => {
  const { lines, log } = logs();
  for (let i = 0; i < 20_000; i++) {
    const word = [...String(i)].map((digit) => "abcdefghij"[Number(digit)]).join("");
    log.happened({
      kind: "dead letters",
      letters: [letter(i, { attempts: [{ ...attempt, message: word }] })],
    }, 0);
  }
  t.equal(lines.length, 50);
  log.close();
  t.ok(lines.length <= 61);
  const counted = lines.slice(50).map((line) => Number(/^info: (\d+)/.exec(line)![1]));
  t.equal(counted.reduce((sum, count) => sum + count, 50), 20_000, "each is counted");
});

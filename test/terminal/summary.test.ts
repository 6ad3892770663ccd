import t from "tap";
import { noStatus } from "../kit/status.ts";
import { type Ending, quietLines, summaryLines } from "../../src/terminal/summary.ts";

const ending: Ending = {
  ...noStatus,
  outcome: { kind: "complete", ignoredLast: false },
  saveError: undefined,
  fault: undefined,
  handedOut: 10,
  done: 10,
  repeated: 2,
  settledNow: 8,
  elapsedMs: 4_000,
  late: { count: 0, errors: [] },
  finishFault: null,
  deadPath: "/d/posts.dead.ndjson",
  deadCommand: "taskmaster dead posts.ts",
  resumeCommand: "taskmaster master posts.ts",
};

t.test("summaryLines() of a complete run says that, and no command", async (t) => {
  t.same(summaryLines(ending), [
    "Finished: every job is handled.",
    "  Handed out: 10 = 10 done + 0 skipped + 0 dead + 0 stranded",
    "  Repeated: 2",
    "  This start: 8 jobs in 0:00:04, 2.00/s",
  ]);
});

t.test("summaryLines() says where more may have run again, and what a source that started over yielded twice", async (t) => {
  const lines = (more: Partial<Ending>) => summaryLines({ ...ending, ...more }).slice(1, 3);
  t.same(lines({ repeatedAtLeast: true }), [
    "  Handed out: 10 = 10 done + 0 skipped + 0 dead + 0 stranded",
    "  Repeated: at least 2 (a master was killed, or an older state was taken: what was done since its save is not known)",
  ]);
  t.match(
    lines({ repeatedAtLeast: true, repeated: 0 })[1],
    /^ {2}Repeated: none known \(a master was killed, /,
  );
  t.same(lines({ handedOutAgain: 2 }), [
    "  Handed out: 10 = 10 done + 0 skipped + 0 dead + 0 stranded (as far as is known 8 different jobs: getJobs started " +
    "over)",
    "  Repeated: 2",
  ]);
});

t.test("summaryLines() says of an onFinish that failed what is done, and what to do", async (t) => {
  const finishFault = { kind: "threw", message: "no mail\u001b[2J" } as const;
  const lines = summaryLines({ ...ending, finishFault });
  t.equal(lines[0], "Finished: every job is handled, but onFinish failed.");
  const last = [
    "What onFinish had to do is not done, for it threw: no mail\\e[2J. The next start calls it again at its end.",
    "The run itself is complete and saved: no job runs again. Call onFinish again with: taskmaster master posts.ts",
  ];
  t.same(lines.slice(4), last);
  t.same(quietLines({ ...ending, finishFault }), [lines[0], ...last], "also where no summary is shown");
  const stopped = summaryLines({ ...ending, outcome: { kind: "stopped" }, finishFault: { kind: "cut off" } });
  t.same(stopped.slice(4), [
    "What onFinish had to do is not done, for it was cut off. The next start calls it again at its end.",
    "Resume with: taskmaster master posts.ts",
  ]);
  t.equal(
    summaryLines({ ...ending, dead: 1, finishFault })[0],
    "Finished, with 1 dead letter, but onFinish failed.",
  );
});

t.test("summaryLines() says what failed and how often, where the letters are and how to look at them", async (t) => {
  const failures = [
    { message: "often 7", count: 2, differ: true },
    { message: "rare\u001b[2J", count: 1, differ: false },
  ];
  const lines = summaryLines({ ...ending, done: 7, dead: 3, failures });
  t.equal(lines[0], "Finished, with 3 dead letters.");
  t.same(lines.slice(4), [
    "  Failures of this start:",
    "    2 x often 7 (and others like it)",
    "    1 x rare\\e[2J",
    "  Dead letters: /d/posts.dead.ndjson",
    "  Look at them with: taskmaster dead posts.ts",
  ]);
});

t.test("summaryLines() lists ten messages at most", async (t) => {
  const failures = Array.from({ length: 13 }, (_, n) => ({ message: `m${n}`, count: 1, differ: false }));
  const lines = summaryLines({ ...ending, dead: 13, failures });
  t.equal(lines.filter((line) => line.includes(" x ")).length, 10);
  t.match(lines.at(-3), "and 3 other messages");
});

t.test("summaryLines() ends with the command that resumes, unless the run is complete", async (t) => {
  const last = (outcome: Ending["outcome"], saveError?: string) =>
    summaryLines({ ...ending, outcome, saveError }).at(-1);
  t.equal(last({ kind: "stopped" }), "Resume with: taskmaster master posts.ts");
  const failing = { ...ending, outcome: { kind: "stopped" }, outage: "no\u001b[2J database" } as const;
  t.equal(summaryLines(failing)[0], "Stopped and saved. Nothing succeeded any more: no\\e[2J database");
  t.equal(
    last({ kind: "source failed", message: "no rows", startedOver: false }),
    "Resume with: taskmaster master posts.ts",
  );
  t.equal(
    last({ kind: "complete", ignoredLast: false }, "disk full"),
    "Resume with: taskmaster master posts.ts",
  );
  t.match(summaryLines({ ...ending, saveError: "disk full" })[0], "could not be saved: disk full");
});

t.test("summaryLines() explains a source that began again", async (t) => {
  t.match(
    summaryLines({ ...ending, outcome: { kind: "complete", ignoredLast: true } })[0],
    /^Nothing was handed out.*--reset/,
  );
});

t.test("summaryLines() shows why the source failed, with its stack", async (t) => {
  const message = "getJobs threw: no db\u001b[2J\nError: no db\n    at getJobs";
  const lines = summaryLines({ ...ending, outcome: { kind: "source failed", message, startedOver: false } });
  t.same(lines.slice(0, 3), ["Ended: getJobs threw: no db\\e[2J", "  Error: no db", "    at getJobs"]);
  const unsaved = summaryLines({
    ...ending,
    outcome: { kind: "source failed", message, startedOver: false },
    saveError: "full",
  });
  t.same(unsaved.slice(1, 4), ["  getJobs threw: no db\\e[2J", "  Error: no db", "    at getJobs"]);
});

t.test("summaryLines() does not blame the state for a fault of the program", async (t) => {
  const lines = summaryLines({ ...ending, outcome: { kind: "stopped" }, fault: "no such lease\nmore" });
  t.equal(lines[0], "Ended by a fault of the program, as of the last save: no such lease");
  t.match(lines.at(-1), /^Resume with: /);
});

t.test("quietLines() says why, and what to do next; nothing of a complete run", async (t) => {
  t.same(quietLines(ending), []);
  t.same(
    quietLines({
      ...ending,
      outcome: { kind: "source failed", message: "getJobs threw\n    at x", startedOver: false },
    }),
    [
      "Ended: getJobs threw",
      "    at x",
      "Resume with: taskmaster master posts.ts",
    ],
  );
});

const dead: Ending = {
  ...ending,
  dead: 4,
  failures: [
    { message: "row 7 is bad", count: 2, differ: true },
    { message: "no such host", count: 2, differ: false },
  ],
};

t.test("quietLines() says in one line that there are dead letters", async (t) => {
  t.same(quietLines({ ...dead, failures: [] }), ["Finished, with 4 dead letters in /d/posts.dead.ndjson"]);
  t.same(quietLines(dead), [
    "Finished, with 4 dead letters in /d/posts.dead.ndjson; most often: 2 x row 7 is bad (and others like it)",
  ]);
  t.same(quietLines({ ...dead, failures: [], outcome: { kind: "stopped" } }), [
    "Stopped and saved.",
    "There are 4 dead letters in /d/posts.dead.ndjson",
    "Resume with: taskmaster master posts.ts",
  ]);
});

t.test("quietLines() says in the same line that there were errors after the end of jobs", async (t) => {
  const late = { count: 2, errors: [{ seq: 5, message: "no disk" }] };
  t.same(quietLines({ ...ending, late }), [
    "Finished, with 2 errors after the end of jobs, such as: no disk",
  ]);
  t.match(quietLines({ ...dead, late })[0], /^Finished, with 4 dead letters in .*, and 2 errors after/);
});

t.test("quietLines() says that a source ignored `last`", async (t) => {
  t.match(quietLines({ ...ending, outcome: { kind: "complete", ignoredLast: true } }), [
    /^Nothing was handed out/,
  ]);
});

t.test("summaryLines() says what stopped a run, unless it was a signal", async (t) => {
  const outcome = { kind: "stopped" } as const;
  t.equal(summaryLines({ ...ending, outcome })[0], "Stopped and saved.");
  t.equal(
    summaryLines({ ...ending, outcome, stoppedBy: "this machine's slave cannot run" })[0],
    "Stopped and saved. What ended it: this machine's slave cannot run.",
  );
});

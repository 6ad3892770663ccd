import { type Mutant, quickTest, simulation, test } from "./mutant.ts";

/** Whose fault failures are: a world, and what becomes of the jobs in it. */
const failuresTest = (world: string) => quickTest("core/failures", `${world}: exactly the bad rows die`);

/** Whose fault failures are: slaves, rows and the world told apart, and who is charged. */
export const failureMutants: readonly Mutant[] = [
  {
    name: "a retry goes to the slave at which the job failed, though another has credit",
    patches: [{
      file: "src/core/sessions.ts",
      find: 'if (avoid === "" || session.slaveId !== avoid) return session;',
      replace: "if (avoid.length >= 0) return session;",
    }, {
      file: "src/core/dispatch.ts",
      find: "avoid.untilMs && this.#sessions.hasOther(avoid.slaveId) ? undefined : session;",
      replace: "0 ? undefined : session;",
    }],
    checks: [
      test(
        "core/run_failures",
        "a failed job is retried after its delay, alone in its lease, at another slave",
      ),
    ],
  },
  {
    name: "a due retry does not wait for a slave that has not failed it",
    patches: [{
      file: "src/core/dispatch.ts",
      find: "avoid.untilMs && this.#sessions.hasOther(avoid.slaveId) ? undefined : session;",
      replace: "0 ? undefined : session;",
    }],
    checks: [
      quickTest("core/failures", "a due retry waits for a slave that has not failed it, within a bound"),
    ],
  },
  {
    name: "an outage is charged to the jobs it hits",
    patches: [{
      file: "src/core/failures.ts",
      find: "    this.#test.ended(probe, false, !isSuspect, nowMs);\n    return this.isEndgame;",
      replace: "    this.#test.ended(probe, false, !isSuspect, nowMs);\n    return true;",
    }],
    checks: [
      simulation,
      quickTest(
        "core/failures",
        "nothing is charged in an outage, and what was before it was seen is taken back: a state shows none of it",
      ),
    ],
  },
  {
    name: "charges of an outage are not taken back",
    patches: [{
      file: "src/core/judge.ts",
      find: '        jobs.takeBackCharges("all");\n',
      replace: "",
    }],
    checks: [quickTest(
      "core/failures",
      "nothing is charged in an outage, and what was before it was seen is taken back: a state shows none of it",
    )],
  },
  {
    name: "load comes back at once",
    patches: [{
      file: "src/core/opening.ts",
      find: "    this.#limit = 1;\n",
      replace: "    this.#limit = 1e9;\n",
    }],
    checks: [failuresTest("a service that admits 50 calls a second")],
  },
  {
    name: "what fails under load is no reason to pace starts",
    patches: [{
      file: "src/core/opening.ts",
      find: "    if (isCut) this.#cut(nowMs);",
      replace: "    if (isCut && nowMs < 0) this.#cut(nowMs);",
    }],
    checks: [failuresTest("a service that admits 50 calls a second")],
  },
  {
    name: "while load comes back, every failure is charged",
    patches: [{
      file: "src/core/opening.ts",
      find: "    return isClean && ok >= sampleAttempts && ok >",
      replace: "    return ok >= 0 || isClean && ok >= sampleAttempts && ok >",
    }],
    checks: [failuresTest("one that admits 50, called by two")],
  },
  {
    name: "tests draw untried jobs from the front only",
    patches: [{
      file: "src/core/dispatch.ts",
      find: "    const at = Math.floor(this.#parts.random() * count);",
      replace: "    const at = 0;",
    }],
    checks: [failuresTest("a hole larger than what is in flight, drawn past")],
  },
  {
    name: "bad rows are not known after a verdict",
    patches: [{
      file: "src/core/judge.ts",
      find: "failures.knownBad.add(span.seq);",
      replace: "void span;",
    }],
    checks: [failuresTest("one that admits 100, and 30 % bad rows")],
  },
  {
    name: "no untried jobs are kept for a last test",
    patches: [{
      file: "src/core/failures.ts",
      find: "    return Math.min(reserveMax,",
      replace: "    return 0 * Math.min(reserveMax,",
    }],
    checks: [failuresTest("one that admits 50, called by two")],
  },
  {
    name: "a slave that fails everything is not quarantined",
    patches: [{
      file: "src/core/health.ts",
      find: "if (this.#isAlone(member) || member.refuted >= healthAttempts) return id;",
      replace: "if (member.refuted < 0) return id;",
    }],
    checks: [failuresTest("a slave that fails at once beside a healthy one")],
  },
  {
    name: "a slave that failed all jobs before others joined is not quarantined",
    patches: [{
      file: "src/core/health.ts",
      find: " || member.refuted >= healthAttempts",
      replace: "",
    }],
    checks: [failuresTest("an outage that hit all jobs at one slave before another joined")],
  },
  {
    name: "what a slave in quarantine was charged for is not taken back",
    patches: [{
      file: "src/core/judge.ts",
      find: "      jobs.takeBackCharges(charges);\n      for (const seq of jobs.clearFailedAt",
      replace: "      void charges;\n      for (const seq of jobs.clearFailedAt",
    }],
    checks: [quickTest(
      "core/failures",
      "what a slave was charged for before it was seen that it fails everything is taken back",
    )],
  },
  {
    name: "twenty failures in a row quarantine a slave",
    patches: [{
      file: "src/core/health.ts",
      find: "chanceOf(bad, others.ok + others.bad, others.ok) <= sickChance",
      replace: "bad > 0",
    }],
    checks: [failuresTest("90 % bad rows: nobody is quarantined, all bad ones die")],
  },
  {
    name: "the last jobs, all failed, are never taken for bad",
    patches: [{
      file: "src/core/judge.ts",
      find: "if (!hasSourceEnded || untried > 0) return",
      replace: "if (untried >= 0) return",
    }],
    checks: [failuresTest("a tail of bad rows ends after --max-outage")],
  },
  {
    name: "a job whose attempts are spent is buried at once",
    patches: [{
      file: "src/core/answers.ts",
      find: "const isBuried = isSpentNow && isSure;",
      replace: "const isBuried = isSpentNow && (isSure || isSpentNow);",
    }],
    checks: [failuresTest("an outage where failed jobs come back at once")],
  },
  {
    name: "a job whose attempts are spent is buried once its slave succeeds in what it had before",
    patches: [{
      file: "src/core/judge.ts",
      find: "({ atMs }) => atMs <= goodMs)",
      replace: "() => goodMs > -Infinity)",
    }],
    checks: [quickTest(
      "core/failures",
      "a job whose attempts are spent is buried once its slave succeeds in something that it began later",
    )],
  },
  {
    name: "what a slave excuses stays charged",
    patches: [{
      file: "src/core/run.ts",
      find: "        return this.#judge.excuse(session.slaveId, event.jobs, nowMs);",
      replace: "        return;",
    }],
    checks: [quickTest("core/failures", "what a slave excuses is not charged")],
  },
  {
    name: "a test tries spent jobs before all others, again and again",
    patches: [{
      file: "src/core/dispatch.ts",
      find: "    if (piece !== undefined) this.#probed.add(piece.span.seq);\n",
      replace: "",
    }, {
      file: "src/core/jobs.ts",
      find: "isBoth ? (random < 0.5 ? spent : others) :",
      replace: "isBoth ? spent :",
    }],
    checks: [failuresTest("90 % bad rows: nobody is quarantined, all bad ones die")],
  },
  {
    name: "the last jobs before a row that cannot be sent are kept for a test",
    patches: [{
      file: "src/core/dispatch.ts",
      find: "    if (fresh.total > fresh.count) return true;\n",
      replace: "    void fresh;\n",
    }],
    checks: [failuresTest("the same, with one before the last ones that cannot be sent")],
  },
  {
    name: "a master is woken each millisecond while a failed job is due",
    patches: [{
      file: "src/core/dispatch.ts",
      find: "avoid !== null && avoid.untilMs > nowMs",
      replace: "avoid !== null",
    }, {
      file: "src/core/dispatch.ts",
      find: "Math.min(nextMs, avoid.untilMs)",
      replace: "Math.min(nextMs, Math.max(nowMs + 1, avoid.untilMs))",
    }],
    checks: [failuresTest("one that admits 5 a second")],
  },
  {
    name: "a master is woken a fraction before its time",
    patches: [{
      file: "src/lib/lag_guard.ts",
      find: "realMs - this.#lagMs < time ? realMs + 1 : realMs",
      replace: "realMs",
    }],
    checks: [quickTest(
      "lib/lag_guard",
      "once the time has come that was asked for, the lag-adjusted clock shows it, however sums are rounded",
    )],
  },
  {
    name: "of one answer all that succeeded counts before all that failed",
    patches: [{
      file: "src/core/answers.ts",
      find: "this.#applyInOrder(settled, recovered, lease, answer, by);",
      replace:
        "{ this.#succeed(settled, recovered, lease, by); for (const f of answer.failed) this.#fail(lease, f, by); }",
    }],
    checks: [failuresTest("every tenth row bad, in one answer, two attempts, no delay")],
  },
  {
    name: "an outage that passed explains nothing, however short it was",
    patches: [{
      file: "src/core/failures.ts",
      find: "this.#streak.length >= longStreakFactor * this.#longestOutage.count ||",
      replace: "",
    }, {
      file: "src/core/failures.ts",
      find: "      nowMs - this.#streakFromMs >= longStreakFactor * this.#longestOutage.ms",
      replace: "      false",
    }],
    checks: [failuresTest("a hole of bad rows where all jobs are handed out before any fails")],
  },
  {
    name: "what a suspected slave failed refutes its rows in a test",
    patches: [{
      file: "src/core/answers.ts",
      find: "if (this.#health.isSuspect(avoid.slaveId)) refuting++;",
      replace: "",
    }],
    checks: [
      failuresTest("such a slave, of three that hold all jobs before any fails, and 10 % bad rows"),
    ],
  },
  {
    name: "a slave that met an outage is blamed for it once others succeed",
    patches: [{
      file: "src/core/judge.ts",
      find: "    if (outage === null) {\n      health.startAnew(nowMs);",
      replace: "    if (outage === null) {",
    }],
    checks: [failuresTest("an outage that hit all jobs at one slave before another joined")],
  },
];

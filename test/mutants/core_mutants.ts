import { chaos, endToEnd, hanging, type Mutant, quickTest, simulation, test, throwing } from "./mutant.ts";

/** The core: leases, charges, resume. */
export const coreMutants: readonly Mutant[] = [
  {
    name: "no requeue on disconnect",
    patches: [{
      file: "src/core/slaves.ts",
      find: "this.#jobs.leases.ofSession(session.id)) this.#jobs.lose(lease, isLost);",
      replace: "this.#jobs.leases.ofSession(session.id)) void isLost;",
    }, {
      file: "src/core/slaves.ts",
      find: "    const older = this.#sessions.get(lease.session)!;",
      replace: "    const older = this.#sessions.get(lease.session) ?? ({} as SlaveSession);",
    }],
    checks: [
      simulation,
      hanging(endToEnd("a slave killed in mid-run costs nothing but its unanswered jobs")),
      chaos("slave-kill", "lost", { seed: 1, seconds: 5 }),
    ],
  },
  {
    name: "a slave is stuck only if it answers for no job at all",
    patches: [{
      file: "src/core/slaves.ts",
      find: "const lease = this.#jobs.leases.oldestOf(session.id);",
      replace: "const lease = this.#jobs.leases.ofSession(session.id).at(-1);",
    }],
    checks: [test(
      "core/failures",
      "a slave that answers for others and never for one job loses it: jobs are begun in the order they came",
    )],
  },
  {
    name: "a slave is stuck while its jobs are on their way over a slow link",
    patches: [{
      file: "src/core/slaves.ts",
      find: "return bytes / slowLinkBytesPerMs;",
      replace: "return bytes / slowLinkBytesPerMs / 1e9;",
    }],
    checks: [test(
      "core/failures",
      "a slave that gets on with its oldest lease, or whose link is slow, is not taken for stuck",
    )],
  },
  {
    name: "an answer is applied without a look at whose lease it is",
    patches: [{
      file: "src/core/slaves.ts",
      find: "if (lease === undefined || lease.session !== session.id) return this.#stale(",
      replace: "if (lease === undefined) return this.#stale(",
    }],
    checks: [
      simulation,
      test("core/run_leases", "a stale answer changes nothing"),
      chaos("stale-answers", "lost", { seed: 3, seconds: 8 }),
    ],
  },
  {
    name: "a job is settled as dead before its dead letter is durable",
    patches: [{
      file: "src/core/jobs.ts",
      find: "    return { seq, job: piece.span.job(seq).slice(), history: piece.history };",
      replace: "    const letter = { seq, job: piece.span.job(seq).slice(), history: piece.history };\n" +
        "    this.buried(seq);\n    return letter;",
    }],
    checks: [simulation],
  },
  {
    name: "leased jobs count as settled in a state",
    patches: [{
      file: "src/core/run.ts",
      find: "  const { handedOut, done, skipped, dead } = jobs.counts;\n  const stranded = jobs.strand();",
      replace: "  const { handedOut, skipped, dead } = jobs.counts;\n" +
        "  const stranded = jobs.strand().filter(({ lease }) => lease === null);\n" +
        "  const done = handedOut - skipped - dead - stranded.reduce((sum, { span }) => sum + span.count, 0);",
    }, {
      file: "src/core/run.ts",
      find: "    ...jobs.counts,\n    againToCome:",
      replace: "    ...jobs.counts,\n    done,\n    againToCome:",
    }],
    checks: [
      simulation,
      endToEnd(
        "jobs that take longer than a checkpoint: those in flight when everything is killed run again",
      ),
      chaos("all-killed", "lost", { seed: 2, seconds: 8 }),
    ],
  },
  {
    name: "what slaves began for a dead master is no repetition",
    patches: [{
      file: "src/core/slaves.ts",
      find: "if (lease.masterId === this.#masterId) continue;",
      replace: 'if (lease.masterId !== "") continue;',
    }],
    checks: [
      quickTest(
        "core/run_sessions",
        "what a slave began and the state does not know of is repeated: a dead master had leased it",
      ),
      test("e2e/living_slaves", "Repeated says what ran again, as far as slaves that lived on can tell"),
    ],
  },
  {
    name: "all that a slave holds counts as begun",
    patches: [{
      file: "src/slave/ledger.ts",
      find: "const jobs = unite(held.queued.ranges, subtract(held.running.ranges, begun));",
      replace: "const jobs = subtract(subtract(held.queued.ranges, held.queued.ranges), begun);",
    }],
    checks: [
      quickTest(
        "slave/ledger",
        "answers are said again in the next session, unless a durable state covers them",
      ),
    ],
  },
  {
    name: "what may not have begun is said to have run again at least",
    patches: [{
      file: "src/core/jobs.ts",
      find: "if (!this.counts.repeatedAtLeast) this.countRepeated(count);",
      replace: "this.countRepeated(count);",
    }],
    checks: [
      quickTest(
        "core/run_sessions",
        "lost jobs do not count where what is said is the least: nobody alive knows whether they began",
      ),
    ],
  },
  {
    name: "a start forgets that the source started over in the one before",
    patches: [{
      file: "src/core/jobs.ts",
      find: "this.#againToCome = state?.againToCome ?? 0;",
      replace: "this.#againToCome = 0;",
    }],
    checks: [
      quickTest(
        "core/run_source",
        "what a source that starts over yields again is counted as such, but what is new is not",
      ),
    ],
  },
  {
    name: "no grace after the master itself stood still",
    patches: [{
      file: "src/lib/lag_guard.ts",
      find: "    if (!(lagMs > 0)) return 0;",
      replace: "    if (!(lagMs > 0) || this.#lateMs === 100) return 0;",
    }],
    checks: [
      simulation,
      endToEnd("a master stopped for longer than the limit gives nobody up"),
      chaos("master-stop", "given up", { seed: 1, seconds: 8 }),
    ],
  },
  {
    name: "a worker's death is charged to jobs that had not begun",
    patches: [{
      file: "src/slave/ledger.ts",
      find: "    const crash = { suspects: intersect(suspects, atWorker), reason };",
      replace: "    const crash = { suspects: atWorker, reason };",
    }],
    checks: [simulation],
  },
  {
    name: "a source that reads `last` as inclusive has its first job run again",
    patches: [{
      file: "src/core/source.ts",
      find: '      return "last again";',
      replace: '      return "new";',
    }],
    checks: [simulation],
  },
  {
    name: "a slave that comes back keeps jobs that are leased again",
    patches: [{
      file: "src/core/slaves.ts",
      find: "    return { lease: name, jobs: seqsOf(pieces) };",
      replace: "    return { lease: name, jobs };",
    }],
    checks: [simulation],
  },
  {
    name: "all that ended in an outage is one answer, whatever a master takes",
    patches: [{
      file: "src/slave/held_lease.ts",
      find: "const failuresMax = 20_000,",
      replace: "const failuresMax = 2_000_000,",
    }],
    checks: [
      throwing(
        test(
          "slave/ledger",
          "what ended in an outage is told in answers that a master takes, however much it is",
        ),
        /more than 1000000 items/,
      ),
    ],
  },
  {
    name: "what did not begin is named beside all that is held, whatever a master takes",
    patches: [{
      file: "src/slave/ledger.ts",
      find: "      if (items > heldItemsMax) break;\n      untouched.push",
      replace: "      untouched.push",
    }],
    checks: [
      throwing(
        test(
          "slave/ledger",
          "what a slave holds is named in a message that a master takes, what did not begin as well",
        ),
        /more than 1000000 items/,
      ),
    ],
  },
  {
    name: "a slave forgets answers that no durable state covers",
    patches: [{
      file: "src/slave/held_lease.ts",
      find: "    for (const { outcomes } of this.unsaved) this.pending.absorb(outcomes);",
      replace: "",
    }],
    checks: [simulation],
  },
  {
    name: "a source that threw goes on behind the last job handed out, not the last one yielded",
    patches: [{
      file: "src/core/source.ts",
      find: "    this.#openedAfter = this.#cursorTracker.yielded();",
      replace: "    this.#openedAfter = this.#cursorTracker.handedOut();",
    }],
    checks: [simulation],
  },
  {
    name: "of several suspects each is charged for the death",
    patches: [{
      file: "src/core/answers.ts",
      find: "const isSole = countOf(suspects) === 1;",
      replace: "const isSole = countOf(suspects) > 0;",
    }],
    checks: [
      quickTest(
        "core/run_failures",
        "several suspects are not charged, and each runs alone; who crashes then is charged twice",
      ),
    ],
  },
  {
    name: "a death in company is charged to each of its suspects",
    patches: [{
      file: "src/core/answers.ts",
      find: "if (!death.isCharged) charged += 1;",
      replace: "charged += 1;",
    }],
    checks: [
      test(
        "core/run_failures",
        "a death in company is charged once: to the suspect that crashes alone first",
      ),
    ],
  },
  {
    name: "a job that fails is retried for ever",
    patches: [{
      file: "src/core/piece.ts",
      find: "return history.failures >= failuresMax || history.crashes >= crashesMax ||",
      replace: "return failuresMax < 0 || history.crashes >= crashesMax ||",
    }],
    checks: [
      simulation,
      test(
        "core/run_failures",
        "without an attempt left a job is buried, and settled once its letter is durable",
      ),
    ],
  },
  {
    name: "a job that kills every worker is retried for ever",
    patches: [{
      file: "src/core/piece.ts",
      find: "return history.failures >= failuresMax || history.crashes >= crashesMax ||",
      replace: "return history.failures >= failuresMax || crashesMax < 0 ||",
    }],
    checks: [simulation],
  },
  {
    name:
      "a job that ran alone in a slave is charged once the connection closes, without a wait for the slave",
    patches: [{
      file: "src/core/slaves.ts",
      find: "const untilMs = this.#lagGuard.time(nowMs) + this.#silenceMs;",
      replace: "const untilMs = this.#lagGuard.time(nowMs);",
    }],
    checks: [quickTest(
      "core/failures",
      "a job that is lost with its slave's connection, alone there, is charged only if the slave stays away",
    )],
  },
  {
    name: "a slave that left by itself is charged for the job that ran alone in it",
    patches: [{
      file: "src/core/slaves.ts",
      find: 'if (how === "closed") {',
      replace: 'if (how !== "replaced") {',
    }],
    checks: [test("core/run_failures", "silence or a drain charges nobody, not even alone in a slave")],
  },
  {
    name: "a slave gets more jobs than its credit",
    patches: [{
      file: "src/core/dispatch.ts",
      find:
        "const room = Math.min(credit - held, Math.max(1, this.#fairShare - held, Math.floor(credit * part)));",
      replace: "const room = Math.max(this.#fairShare, credit - held);",
    }],
    checks: [
      test(
        "core/run_leases",
        "a batch is cut when it is leased, as large as the credit, over block boundaries",
      ),
    ],
  },
  {
    name: "what the source has at hand is not shared out: each of many slaves gets crumbs",
    patches: [{
      file: "src/core/run.ts",
      find: "return Math.min(jobs, bytes * this.#jobs.unsettled / Math.max(1, this.#jobs.bytes));",
      replace: "return 0 * jobs;",
    }],
    checks: [
      test(
        "core/run_leases",
        "while the source has more at hand, slaves share what it may still yield as well",
      ),
    ],
  },
  {
    name: "the buffer's cap does not count leased jobs",
    patches: [{
      file: "src/core/run.ts",
      find: "this.#jobs.unsettled >= this.#settings.jobsMax",
      replace: "this.#jobs.fresh.count >= this.#settings.jobsMax",
    }, {
      file: "src/core/run.ts",
      find: "jobsMax - this.#jobs.unsettled",
      replace: "jobsMax - this.#jobs.fresh.count",
    }],
    checks: [
      quickTest(
        "core/run_leases",
        "demand is what the caps leave, in jobs and in bytes, error text included",
      ),
    ],
  },
  {
    name: "answers count as saved that came after the state was captured",
    patches: [{
      file: "src/core/run.ts",
      find: "      session.covered = through;\n",
      replace: "      session.covered = session.answered;\n",
    }, {
      file: "src/core/run.ts",
      find: 'this.#effects.push({ kind: "covered", session: id, through });',
      replace: 'this.#effects.push({ kind: "covered", session: id, through: session.covered });',
    }],
    checks: [test("core/run_end", "answers are covered once a state that knows them is durable")],
  },
  {
    name: "a run is complete while dead letters are on their way to the disk",
    patches: [{
      file: "src/core/run.ts",
      find: "if (this.#jobs.unsettled > 0) return null;",
      replace: "if (this.#jobs.unsettled - this.#jobs.burying > 0) return null;",
    }],
    checks: [simulation],
  },
  {
    name: "a slave that comes back after its lease was lost gets nothing back",
    patches: [{
      file: "src/core/slaves.ts",
      find: "pieces = pieces.concat(this.#jobs.returned.reclaim(name, slaveId, jobs));",
      replace: "void returned;",
    }],
    checks: [test("core/run_sessions", "of a lost lease a slave gets back what is not leased again")],
  },
  {
    name: "a stop does not wait for what runs",
    patches: [{
      file: "src/core/run.ts",
      find: "return isQuiet || nowMs >= this.#graceEndsMs",
      replace: "return isQuiet || nowMs >= 0",
    }],
    checks: [test("core/run_end", "a stop closes the source, drains, and waits for what runs")],
  },
  {
    name: "a finished run whose source ignores `last` runs everything again",
    patches: [{
      file: "src/core/source.ts",
      find: "      this.ignoredLast = true;\n      this.close();",
      replace: "      return true;",
    }],
    checks: [test("core/run_source", "a finished run whose source starts over hands out nothing")],
  },
  {
    name: "a worker begins a lost job again beside its first run",
    patches: [{
      file: "src/slave/ledger.ts",
      find: "this.#lost.addAll(jobs);\n        if",
      replace: "if",
    }],
    checks: [
      quickTest("slave/ledger", "a job that was lost while it ran is not begun again beside itself"),
    ],
  },
];

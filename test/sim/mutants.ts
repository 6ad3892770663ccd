/** A broken version of the core: each patch must apply exactly once. `find` is what stands in the file now. */
export type Mutant = Readonly<{ name: string; patches: readonly Patch[] }>;
type Patch = Readonly<{ file: string; find: string; replace: string }>;

/** What the simulation must catch, and does not catch by luck. */
export const mutants: readonly Mutant[] = [
  {
    name: "no requeue on disconnect",
    patches: [{
      file: "src/core/slaves.ts",
      find: "this.#jobs.leases.ofSession(session.id)) this.#jobs.lose(lease, isLost);",
      replace: "this.#jobs.leases.ofSession(session.id)) void isLost;",
    }, {
      file: "src/core/slaves.ts",
      find: "    const older = this.#sessions.get(lease.session)!;",
      replace: "    const older = this.#sessions.get(lease.session) ?? ({} as Session);",
    }],
  },
  {
    name: "an answer is applied without a look at whose lease it is",
    patches: [{
      file: "src/core/slaves.ts",
      find: "if (lease === undefined || lease.session !== session.id) return;",
      replace: "if (lease === undefined) return;",
    }],
  },
  {
    name: "a job is settled as dead before its dead letter is durable",
    patches: [{
      file: "src/core/jobs.ts",
      find: "    return { seq, job: piece.span.job(seq).slice(), history: piece.history };",
      replace: "    const letter = { seq, job: piece.span.job(seq).slice(), history: piece.history };\n" +
        "    this.buried(seq);\n    return letter;",
    }],
  },
  {
    name: "leased jobs count as settled in a state",
    patches: [{
      file: "src/core/capture.ts",
      find: "  const { handedOut, done, skipped, dead } = jobs.counters;\n  const stranded = jobs.strand();",
      replace: "  const { handedOut, skipped, dead } = jobs.counters;\n" +
        "  const stranded = jobs.strand().filter(({ lease }) => lease === null);\n" +
        "  const done = handedOut - skipped - dead - stranded.reduce((sum, { span }) => sum + span.count, 0);",
    }, {
      file: "src/core/capture.ts",
      find: "    ...jobs.counters,",
      replace: "    ...jobs.counters,\n    done,",
    }],
  },
  {
    name: "no grace after the master itself stood still",
    patches: [{
      file: "src/core/patience.ts",
      find: "    if (late <= lateMs) return;",
      replace: "    if (late <= lateMs || late > lateMs) return;",
    }],
  },
  {
    name: "a worker's death is charged to jobs that had not begun",
    patches: [{
      file: "src/core/holdings.ts",
      find: "    const crash = { suspects: intersect(suspects, atWorker), reason };",
      replace: "    const crash = { suspects: atWorker, reason };",
    }],
  },
  {
    name: "a source that reads `last` as inclusive has its first job run again",
    patches: [{
      file: "src/core/furthest.ts",
      find: '      return "last again";',
      replace: '      return "new";',
    }],
  },
  {
    name: "a slave that comes back keeps jobs that are leased again",
    patches: [{
      file: "src/core/slaves.ts",
      find: "    return { lease: name, jobs: seqsOf(pieces) };",
      replace: "    return { lease: name, jobs };",
    }],
  },
  {
    name: "a slave forgets answers that no durable state covers",
    patches: [{
      file: "src/core/held_lease.ts",
      find: "    for (const { outcomes } of this.unsaved) this.pending.absorb(outcomes);",
      replace: "",
    }],
  },
  {
    name: "a source that threw goes on behind the last job handed out, not the last one yielded",
    patches: [{
      file: "src/core/source_state.ts",
      find: "    this.#openedAfter = this.#furthest.yielded();",
      replace: "    this.#openedAfter = this.#furthest.handedOut();",
    }],
  },
];

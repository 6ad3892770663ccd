/** A broken version of the core: each patch must apply exactly once. `find` is what stands in the file now. */
export type Mutant = Readonly<{ name: string; patches: readonly Patch[] }>;
type Patch = Readonly<{ file: string; find: string; replace: string }>;

/** What the simulation must catch, and does not catch by luck. */
export const mutants: readonly Mutant[] = [
  {
    name: "no requeue on disconnect",
    patches: [{
      file: "src/core/slaves.ts",
      find: "      } else this.#jobs.lose(lease, isLost);",
      replace: "      } else void isLost;",
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
      file: "src/core/run.ts",
      find: "    const stranded = this.#jobs.strand();",
      replace: "    const stranded = this.#jobs.strand().filter(({ lease }) => lease === null);\n" +
        "    counters.done = handedOut - skipped - dead - stranded.reduce((sum, { span }) => sum + span.count, 0);",
    }, {
      file: "src/core/run.ts",
      find: "    const { handedOut, done, skipped, dead } = counters;",
      replace: "    const { handedOut, skipped, dead } = counters;",
    }, {
      file: "src/core/run.ts",
      find: "      handedOut === done + skipped + dead + count,",
      replace: "      handedOut === counters.done + skipped + dead + count,",
    }, {
      file: "src/core/run.ts",
      find: "but ${done} done, ${skipped} skipped",
      replace: "but ${skipped} skipped",
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
];

import { type Mutant, quickTest } from "./mutant.ts";

/** What operators see and steer. */
export const controlMutants: readonly Mutant[] = [
  {
    name: "a paused run hands out jobs",
    patches: [{
      file: "src/core/run.ts",
      find: 'this.#mode === "running" && !this.#isHeld && this.#dispatch.run(',
      replace: 'this.#mode === "running" && this.#dispatch.run(',
    }],
    checks: [
      quickTest(
        "core/run_pause",
        "while it is paused nothing is leased, answers count, and the source fills the window",
      ),
    ],
  },
  {
    name: "a pause counts as a part of an outage",
    patches: [{
      file: "src/core/run.ts",
      find: "    else this.#failures.excludePause(adjustedMs - this.#heldAtMs);\n",
      replace: "",
    }],
    checks: [quickTest("core/run_pause", "an outage lasts no longer for a pause")],
  },
  {
    name: "a paused run turns without end",
    patches: [{
      file: "src/core/run.ts",
      find: "this.#isHeld ? Infinity : this.#nextLeaseMs(nowMs),",
      replace: "this.#nextLeaseMs(nowMs),",
    }],
    checks: [
      quickTest(
        "core/run_pause",
        "a paused run does not turn, though a probe is due: it wakes for heartbeats alone",
      ),
    ],
  },
  {
    name: "a pause changes a state that is being written",
    patches: [{
      file: "src/core/run.ts",
      find: "const settings = new Map(this.#operatorSettings);",
      replace: "const settings = this.#operatorSettings as Map<string, boolean>;",
    }],
    checks: [
      quickTest(
        "core/run_pause",
        "a pause is kept in the state, and beside it what this version does not know",
      ),
    ],
  },
  {
    name: "a warning of a part reaches the log only",
    patches: [{
      file: "src/observe/hub.ts",
      find: 'const isWarning = level === "warn" || level === "error";',
      replace: 'const isWarning = level === "error";',
    }],
    checks: [
      quickTest(
        "observe/hub",
        "a warning of any part reaches the log and all who listen; the log's other lines only the log",
      ),
    ],
  },
  {
    name: "a change is answered before it is durable",
    patches: [{
      file: "src/control/commands.ts",
      find: "return await master.checkpoint().then(",
      replace: "return await Promise.resolve({ tookMs: 0 }).then(",
    }],
    checks: [
      quickTest(
        "master/master",
        "a setting that cannot be saved counts all the same, and its answer says so",
      ),
    ],
  },
  {
    name: "one client may ask without end",
    patches: [{
      file: "src/control/server.ts",
      find: "if (!asks.take(monotonicMs()) || client.pending >= pendingMax) {",
      replace: "if (!asks.take(monotonicMs()) && client.pending > 1e9) {",
    }],
    checks: [quickTest("master/master", "a client that asks without end is ended, and no other")],
  },
  {
    name: "a rate is one of fresh jobs, not of attempts",
    patches: [{
      file: "src/core/dispatch.ts",
      find: "    this.#parts.gate.leased(lease.count, this.#nowMs);\n",
      replace:
        "    if (lease.pieces.every((piece) => piece.history === untried)) this.#parts.gate.leased(lease.count, this.#nowMs);\n",
    }],
    checks: [quickTest("core/gate", "retries count: a rate is one of attempts, not of jobs")],
  },
  {
    name: "the bucket of a rate starts full",
    patches: [{
      file: "src/core/gate.ts",
      find: "new TokenBucket(burst, ratePerSecond, nowMs, 0)",
      replace: "new TokenBucket(burst, ratePerSecond, nowMs)",
    }],
    checks: [
      quickTest(
        "core/gate",
        "the bucket starts empty, holds 100 ms' worth, and takes back what was released",
      ),
    ],
  },
  {
    name: "a limit on jobs in flight forgets those of an earlier master",
    patches: [{
      file: "src/core/dispatch.ts",
      find: "return this.#jobs.leases.count + this.#jobs.orphans.count;",
      replace: "return this.#jobs.leases.count;",
    }],
    checks: [
      quickTest("core/gate", "jobs that a slave may still run under an earlier master are in flight, too"),
    ],
  },
  {
    name: "a throttle that throws lets the fleet go on",
    patches: [{
      file: "src/master/throttle.ts",
      find: "        (error) => held(`throttle() threw: ",
      replace: "        (error) => error instanceof Error ? readAnswer(false) : held(`throttle() threw: ",
    }],
    checks: [
      quickTest("master/throttle", "it fails closed: a throw holds the fleet, until it says otherwise"),
    ],
  },
  {
    name: "jobs are handed out before a throttle has answered",
    patches: [{
      file: "src/master/throttle.ts",
      find: '    this.#hold("throttle() has not answered yet");\n',
      replace: "",
    }],
    checks: [
      quickTest(
        "master/throttle",
        "nothing is handed out before the first answer; it is asked about once a second",
      ),
    ],
  },
];

import t from "tap";
import { noStatus as status } from "../kit/status.ts";
import { StateError } from "../../src/lib/errors.ts";
import type { Outcome } from "../../src/core/types.ts";
import type { MasterResult } from "../../src/master/types.ts";
import { exitCodeOf, type StopSignal } from "../../src/cli/signals.ts";

const complete: Outcome = { kind: "complete", ignoredLast: false };
const stopped: Outcome = { kind: "stopped" };

const none = { count: 0, errors: [] };
const threw = { kind: "threw", message: "no mail" } as const;

function result(outcome: Outcome, more: Partial<MasterResult> = {}): MasterResult {
  return {
    outcome,
    status,
    late: none,
    elapsedMs: 1,
    savedFinally: true,
    finishFault: null,
    statePath: "",
    deadPath: "",
    ...more,
  };
}

const table: readonly (readonly [string, MasterResult, StopSignal | undefined, number])[] = [
  ["complete", result(complete), undefined, 0],
  ["complete, although a signal came last", result(complete), "SIGINT", 0],
  ["complete with dead letters", result(complete, { status: { ...status, dead: 1 } }), undefined, 3],
  ["complete with late errors", result(complete, { late: { count: 1, errors: [] } }), undefined, 3],
  ["complete, and onFinish threw", result(complete, { finishFault: threw }), undefined, 1],
  [
    "complete with dead letters, and onFinish threw",
    result(complete, { status: { ...status, dead: 1 }, finishFault: threw }),
    undefined,
    1,
  ],
  ["complete, and onFinish cut off", result(complete, { finishFault: { kind: "cut off" } }), "SIGINT", 130],
  ["stopped by SIGTERM, and onFinish threw", result(stopped, { finishFault: threw }), "SIGTERM", 143],
  ["stopped by Ctrl-C", result(stopped), "SIGINT", 130],
  ["stopped by SIGTERM", result(stopped), "SIGTERM", 143],
  ["stopped by a terminal that closed", result(stopped), "SIGHUP", 143],
  ["the source threw", result({ kind: "source failed", message: "x", startedOver: false }), undefined, 1],
  ["the state was lost", result(stopped, { savedFinally: false, error: new StateError("x") }), "SIGINT", 6],
  ["the program failed", result(stopped, { savedFinally: false, error: new Error("x") }), undefined, 1],
  ["not saved", result(complete, { savedFinally: false }), undefined, 6],
];
for (const [what, given, signal, code] of table) {
  t.test(`exitCodeOf() a run that is ${what}`, async (t) => t.equal(exitCodeOf(given, signal), code));
}

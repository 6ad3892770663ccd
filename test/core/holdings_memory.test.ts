import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import t from "tap";
import { LeaseLedger } from "../../src/slave/ledger.ts";
import { blockOf } from "./fixture.ts";

/** Receives two jobs; returns them, encoded, as far as anybody still has them. */
function receive(ledger: LeaseLedger, number: number): WeakRef<Uint8Array> {
  const seq = 2 * (number - 1);
  const { bytes, ends } = blockOf(seq, 2);
  const name = { masterId: "m1", number };
  ledger.receive({ name, seq, count: 2, attempt: 1, alone: "no", jobs: bytes, ends });
  return new WeakRef(bytes);
}

t.test("encoded jobs are let go of once none can run any more, whatever waits for a durable state", async (t) => {
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  const ledger = new LeaseLedger();
  ledger.welcome("run");
  ledger.applyKeep([]);
  const refs = [1, 2, 3].map((number) => receive(ledger, number));
  const areAlive = async () => {
    await new Promise((resolve) => setTimeout(resolve));
    collect();
    return refs.map((ref) => ref.deref() !== undefined);
  };
  const nothing = { done: [], skipped: [], failed: [], released: [] };
  for (let i = 0; i < 2; i++) ledger.give(1, 2, 0);
  ledger.finish(1, { ...nothing, slice: 1, done: [0, 2] });
  ledger.finish(1, { ...nothing, slice: 2, done: [2, 3] });
  t.same(await areAlive(), [false, true, true], "one of the second runs, the third is queued");
  ledger.releaseUntried();
  ledger.finish(1, { ...nothing, slice: 2, released: [3, 4] });
  t.same(await areAlive(), [false, false, false]);
  t.equal(ledger.takeAnswers().length, 3, "what became of them is kept");
});

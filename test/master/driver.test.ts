import t from "tap";
import type { Effect, RunEvent } from "../../src/core/types.ts";
import { type Core, Driver } from "../../src/master/driver.ts";

/** A core that notes what it is called with; each event asks for one warning. */
class NotingCore implements Core {
  readonly calls: string[] = [];
  wakeAtMs = Infinity;
  #effects: Effect[] = [];

  apply(event: RunEvent): void {
    this.calls.push(event.kind);
    this.#effects.push({ kind: "notice", notice: { code: "slave well", slave: event.kind } });
  }

  tick(): number {
    this.calls.push("tick");
    return this.wakeAtMs;
  }

  takeEffects(): Effect[] {
    return this.#effects.splice(0);
  }
}

function drive(core: Core, onWarn: (message: string) => void = () => {}) {
  const turns: string[][] = [];
  let warned: string[] = [];
  let turned: () => void = () => {};
  const faults: unknown[] = [];
  const driver = new Driver(core, {
    carryOut(effect) {
      if (effect.kind !== "notice" || effect.notice.code !== "slave well") return;
      warned.push(effect.notice.slave);
      onWarn(effect.notice.slave);
    },
    onTurn() {
      turns.push(warned);
      warned = [];
      turned();
    },
    onFault: (error) => (faults.push(error), turned()),
  });
  const nextTurn = () => new Promise<void>((resolve) => turned = resolve);
  return { driver, turns, faults, nextTurn };
}

t.test("events of one turn are applied at once, and their effects are taken together", async (t) => {
  const core = new NotingCore();
  const { driver, turns, nextTurn } = drive(core);
  driver.start();
  driver.apply({ kind: "source ended" });
  driver.apply({ kind: "stop" });
  t.same(turns, [], "no effect is carried out while events still come");
  await nextTurn();
  t.same(turns, [["source ended", "stop"]]);
});

t.test("nothing is carried out before start()", async (t) => {
  const core = new NotingCore();
  const { driver, turns, nextTurn } = drive(core);
  driver.apply({ kind: "source ended" });
  driver.turn();
  t.same(core.calls, ["tick", "source ended"], "the core hears of it");
  t.same(turns, []);
  driver.start();
  await nextTurn();
  t.same(turns, [["source ended"]]);
});

t.test("what is overdue is judged before the event is applied", async (t) => {
  const core = new NotingCore();
  const { driver, nextTurn } = drive(core);
  driver.start();
  await nextTurn();
  core.wakeAtMs = performance.now();
  driver.turn();
  core.calls.length = 0;
  driver.apply({ kind: "heard", session: 1 });
  t.same(core.calls, ["tick", "heard"]);
  core.wakeAtMs = Infinity;
  driver.turn();
  core.calls.length = 0;
  driver.apply({ kind: "heard", session: 1 });
  t.same(core.calls, ["heard"], "nothing is overdue: no tick");
});

t.test("an event that an effect causes belongs to the same turn", async (t) => {
  const core = new NotingCore();
  const { driver, turns, nextTurn } = drive(core, (message) => {
    if (message === "stop") driver.apply({ kind: "source ended" });
  });
  driver.start();
  driver.apply({ kind: "stop" });
  await nextTurn();
  t.same(turns, [["stop", "source ended"]]);
});

t.test("a core that throws is never called again", async (t) => {
  const core = new NotingCore();
  const { driver, faults, nextTurn } = drive(core, () => {
    throw new Error("broken");
  });
  driver.start();
  driver.apply({ kind: "stop" });
  await nextTurn();
  t.match(faults, [{ message: "broken" }]);
  core.calls.length = 0;
  driver.apply({ kind: "stop" });
  driver.turn();
  driver.tick(performance.now());
  t.same(core.calls, []);
  t.ok(driver.isHalted);
});

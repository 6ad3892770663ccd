import type { DeadLetter, RunState } from "../../src/core/types.ts";
import type { Checks } from "./checks.ts";
import type { Plan } from "./plan.ts";
import type { Process } from "./world.ts";
import { copyState } from "./wire.ts";

/**
 * The folder with the state and the dead letters. Each write has two steps: it becomes durable, and then the master is
 * told. The master that requested it can die before, between and after them.
 */
export class Disk {
  state: RunState | null = null;
  readonly #plan: Plan;
  readonly #checks: Checks;

  constructor(plan: Plan, checks: Checks) {
    this.#plan = plan;
    this.#checks = checks;
  }

  save(master: Process, state: RunState, onSaved: () => void): void {
    const captured = copyState(state);
    const { random } = master.world;
    master.after(random.int(1, this.#plan.saveMs), () => {
      this.state = captured;
      master.world.trace.note("durable", captured.handedOut, captured.done);
      this.#checks.saved(captured);
      master.after(random.int(0, this.#plan.saveMs), onSaved);
    });
  }

  /** Letters become durable one by one. */
  bury(master: Process, letters: readonly DeadLetter[], onBuried: () => void): void {
    const [letter, ...rest] = letters;
    const { random } = master.world;
    master.after(random.int(0, this.#plan.saveMs), () => {
      if (letter === undefined) return onBuried();
      master.world.trace.note("letter", letter.seq);
      this.#checks.buried(letter);
      this.bury(master, rest, onBuried);
    });
  }
}

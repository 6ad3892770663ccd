import type { Effect, Outcome } from "../core/types.ts";
import type { DeadLetter } from "../core/types.ts";
import type { Sessions } from "./sessions.ts";

/** Who carries out what. */
export type Hands = Readonly<{
  sessions: Sessions;
  burials: { bury(letters: readonly DeadLetter[]): void };
  source: { open(last: Uint8Array | undefined): void; close(): unknown };
  warn: (message: string) => void;
  end: (outcome: Outcome) => void;
}>;

/** Carries out one effect of the core. No rule of the queue stands here: each case is one call. */
export function carryOut(effect: Effect, hands: Hands): void {
  switch (effect.kind) {
    case "lease":
      return hands.sessions.get(effect.session)?.lease(effect);
    case "keep":
      return hands.sessions.get(effect.session)?.send({ kind: "keep", leases: effect.leases });
    case "covered":
      return hands.sessions.get(effect.session)?.send({ kind: "saved", through: effect.through });
    case "drain":
      return hands.sessions.get(effect.session)?.send({ kind: "drain" });
    case "close":
      return hands.sessions.close(effect.session, effect.how);
    case "bury":
      return hands.burials.bury(effect.letters);
    case "open source":
      return hands.source.open(effect.last);
    case "close source":
      return void hands.source.close();
    case "warn":
      return hands.warn(effect.message);
    case "end":
      return hands.end(effect.outcome);
    default:
      return effect satisfies never;
  }
}

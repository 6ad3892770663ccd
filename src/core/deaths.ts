import { includes, subtract } from "../base/range_set.ts";
import type { Ranges } from "../base/ranges.ts";
import { deathsMax } from "../base/run_limits.ts";

type Death = { suspects: Ranges; isCharged: boolean };

/**
 * Deaths of workers with several suspects. Each is charged once: to the suspect that crashes alone first. The others may
 * not even have begun, so it does not count against them, should they crash alone as well.
 *
 * Only the latest are known, and none from an earlier master. Another death tells who it was; a charge for a run that
 * never began could not be taken back.
 */
export class Deaths {
  #deaths: Death[] = [];

  /** Told once for each lease that has suspects, of all that were not told of before. */
  add(suspects: Ranges): void {
    if (this.#deaths.some((death) => !death.isCharged && subtract(suspects, death.suspects).length === 0)) {
      return;
    }
    this.#deaths.push({ suspects, isCharged: false });
    if (this.#deaths.length > deathsMax) this.#deaths.shift();
  }

  /** This suspect crashed alone. Returns how many deaths in company it is charged with now. */
  charge(seq: number): number {
    let charged = 0;
    for (const death of this.#deaths) {
      if (!includes(death.suspects, seq)) continue;
      if (!death.isCharged) charged += 1;
      death.isCharged = true;
      death.suspects = subtract(death.suspects, [seq, seq + 1]);
    }
    this.#deaths = this.#deaths.filter(({ suspects }) => suspects.length > 0);
    return charged;
  }
}

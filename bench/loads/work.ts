/** What a handler does about a job. The same function runs in the bare loop. */
export type Work = (id: number) => void | Promise<void>;

/**
 * Work in a word, so that it fits an argument of a plugin:
 *
 *     wait:MS                 waits
 *     burn:TURNS              keeps a CPU busy
 *     uneven:TURNS:MS         as burn; of a thousand jobs one, drawn by its id, waits instead
 *     one:TURNS:MS:ID         as burn; just this one waits
 *     change:TURNS:FROM:TO    as burn; a hundred times as much from one id to another
 */
export function workOf(words: string): Work {
  const [kind, ...numbers] = words.split(":");
  const [first = 0, second = 0, third = 0] = numbers.map(Number);
  switch (kind) {
    case "none":
      return () => {};
    case "wait":
      return () => wait(first);
    case "burn":
      return () => burn(first);
    case "uneven":
      return (id) => isDrawn(id) ? wait(second) : burn(first);
    case "one":
      return (id) => id === third ? wait(second) : burn(first);
    case "change":
      return (id) => burn(id >= second && id < third ? 100 * first : first);
    default:
      throw new RangeError(`Cannot work: "${words}" is none of none, wait, burn, uneven, one, change`);
  }
}

/** Turns of the loop that take one millisecond of an undisturbed CPU. */
export function turnsPerMs(): number {
  const turns = 200_000;
  let leastMs = Infinity;
  for (let round = 0; round < 200; round++) {
    const beganMs = performance.now();
    burn(turns);
    leastMs = Math.min(leastMs, performance.now() - beganMs);
  }
  return Math.round(turns / leastMs);
}

let kept = 1;

/** A fixed amount of work, not of time: a process that is not given the CPU has not worked. */
function burn(turns: number): void {
  let x = kept;
  for (let turn = 0; turn < turns; turn++) x = (Math.imul(x, 1_664_525) + 1_013_904_223) | 0;
  kept = x;
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** One of a thousand, the same ones in every run. */
export function isDrawn(id: number): boolean {
  return (Math.imul(id + 1, 2_654_435_761) >>> 0) % 1000 === 0;
}

import type { Random } from "../sim/random.ts";

/** One place where foreign bytes come in, and what must hold whatever they are. */
export type Target = Readonly<{
  name: string;
  /** What the product does with an input, and nothing else: its time and memory are measured. Never throws. */
  subject(input: Uint8Array): void | Promise<void>;
  /**
   * Judges what the product does. Returns what came of the input, in words: the first line tells one outcome from
   * another, and all of it is the same in every runtime.
   *
   * @throws if the product did what it must not.
   */
  check(input: Uint8Array): string | Promise<string>;
  /** Inputs to begin with, beside those of the corpus; the same ones for the same `seed`. */
  seeds(seed: number): readonly Uint8Array[];
  /** @param other Another input, to take parts from. */
  mutate(input: Uint8Array, random: Random, other: Uint8Array): Uint8Array;
  /** An input of about `size` bytes, made of parts of this one: what does it cost? */
  amplify(input: Uint8Array, random: Random, size: number): Uint8Array;
}>;

/** Something that must hold does not. */
export class Finding extends Error {
  override get name(): string {
    return "Finding";
  }
}

export function must(condition: unknown, what: string): asserts condition {
  if (!condition) throw new Finding(what);
}

/** The error of `attempt` if it is of one of these classes; its result else. Any other error is a finding. */
export function outcomeOf<T>(
  attempt: () => T,
  // deno-lint-ignore no-explicit-any
  ...classes: readonly (abstract new (...words: any[]) => Error)[]
): { value: T } | { error: Error } {
  try {
    return { value: attempt() };
  } catch (error) {
    return { error: known(error, classes) };
  }
}

// deno-lint-ignore no-explicit-any
export function known(error: unknown, classes: readonly (abstract new (...words: any[]) => Error)[]): Error {
  if (error instanceof Error && classes.some((known) => error.constructor === known)) return error;
  const text = error instanceof Error ? error.stack ?? error.message : String(error);
  throw new Finding(`It threw what it must not: ${text}`);
}

/** Runs what may throw, for its cost alone. */
export function quietly(work: () => unknown): void {
  try {
    work();
  } catch {
    // judged by `check`
  }
}

/** A count in words that tell outcomes apart, and are few. */
export function few(count: number): string {
  return ["none", "one", "two"][count] ?? "many";
}

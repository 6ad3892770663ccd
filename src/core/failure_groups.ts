import { failureGroupsMax } from "../base/run_limits.ts";

/** Dead letters of this start, counted by message. */
export class FailureGroups {
  #counts = new Map<string, number>();

  add(message: string): void {
    const isNew = !this.#counts.has(message);
    const group = isNew && this.#counts.size >= failureGroupsMax ? "other messages" : message;
    this.#counts.set(group, (this.#counts.get(group) ?? 0) + 1);
  }

  /** The most frequent first. */
  get list(): readonly Readonly<{ message: string; count: number }>[] {
    return [...this.#counts].map(([message, count]) => ({ message, count })).sort((a, b) =>
      b.count - a.count
    );
  }
}

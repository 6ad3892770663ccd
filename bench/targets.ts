import { medianRatio, type Result } from "./rounds.ts";
import { shapes } from "./rows.ts";
import { mainId } from "./systems.ts";

/** Least part of the bare loop's rate. */
const ratioMin = 0.6;

export type Target = Readonly<{ text: string; isMet: boolean }>;

/**
 * What is asked of the configuration that peers are compared with: 0.6 of the bare loop, and to be ahead of JetStream
 * with jobs packed by hand. Only of what was measured; what was, and failed in all rounds, is not met.
 */
export function targetsOf(results: readonly Result[]): Target[] {
  return shapes.flatMap((shape) => {
    const resultOf = (id: string) =>
      results.find((result) => result.system.id === id && result.shape === shape);
    const ours = resultOf(mainId), bare = resultOf("bare"), packed = resultOf("nats-packed");
    if (ours === undefined) return [];
    const jobs = shape === "small" ? "small jobs" : "rows";
    const targets: Target[] = [];
    if (bare !== undefined) {
      const ratio = medianRatio(ours, bare);
      const text = `${jobs}, to the bare loop: ${ratio.toFixed(2)}, at least ${ratioMin}`;
      targets.push({ text, isMet: ratio >= ratioMin });
    }
    if (packed !== undefined) {
      const ratio = medianRatio(ours, packed);
      const text = `${jobs}, to packed JetStream: ${ratio.toFixed(2)}, above 1`;
      targets.push({ text, isMet: ratio > 1 });
    }
    return targets;
  });
}

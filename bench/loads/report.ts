import { availableParallelism, loadavg } from "node:os";
import { type Marks, replaceBetween } from "../marks.ts";
import { type Curve, type Findings, type Load, shown } from "./load.ts";

const marks: Marks = ["<!-- loads: written by `npm run bench:loads -- --write` -->", "<!-- loads end -->"];

/** What the picture of the curves shows. */
export const growth = "How the figures grow with the work";

/** How busy the machine was before the first load, by others. */
export function conditions(): string {
  const cpus = availableParallelism();
  const load = loadavg()[0]!;
  const judgement = load > cpus / 2
    ? `**busy with other work: load average ${
      load.toFixed(1)
    }. These figures are to be measured again on a quiet one**`
    : `quiet: load average ${load.toFixed(1)}`;
  return `${cpus} CPUs, Bun ${process.versions.bun}; before the first load the machine was ${judgement}.`;
}

export function section(about: string, results: readonly (readonly [Load, Findings])[]): string {
  const lines = [about, "", "| load | figure | measured | target | met |", "| --- | --- | --- | --- | --- |"];
  for (const [{ name }, { rows }] of results) {
    for (const { what, measured, target, isMet } of rows) {
      const met = isMet === null ? "" : isMet ? "yes" : "**no**";
      lines.push(`| ${name} | ${what} | ${measured} | ${target} | ${met} |`);
    }
  }
  lines.push("", ...results.map(([{ name, about }]) => `- **${name}**: ${about}.`));
  const curves = curvesOf(results);
  if (curves.length > 0) {
    lines.push("", "### Growth", "", `![${growth}](growth.svg)`, "", ...curves.flatMap(table));
  }
  return lines.join("\n").trimEnd();
}

export function curvesOf(results: readonly (readonly [Load, Findings])[]): Curve[] {
  return results.flatMap(([, { curves }]) => curves ?? []);
}

function table({ title, x, y, points }: Curve): string[] {
  return [
    `| ${title}: ${x} | ${points.map(([value]) => shown(value)).join(" | ")} |`,
    `| --- |${" --- |".repeat(points.length)}`,
    ...y.map((name, at) => `| ${name} | ${points.map(([, ...values]) => shown(values[at]!)).join(" | ")} |`),
    "",
  ];
}

/** The document with this section in the place of the one before. */
export function replaceSection(document: string, text: string): string {
  return replaceBetween(marks, document, text);
}

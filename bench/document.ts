import type { Marks } from "./marks.ts";
import { medianRate, medianRatio, type Result } from "./rounds.ts";
import { type Shape, shapes } from "./rows.ts";
import { spreadOf, threeDigits } from "./statistics.ts";
import type { System } from "./system.ts";
import { mainId } from "./systems.ts";
import { targetsOf } from "./targets.ts";

export const marks: Marks = [
  "<!-- made by `npm run bench -- --write`: begin -->",
  "<!-- made by `npm run bench -- --write`: end -->",
];

/** All that a run of the benchmark found. */
export type Findings = Readonly<{
  /** Machine, versions, date: a line each. */
  circumstances: readonly string[];
  results: readonly Result[];
  /** Systems that are not installed, and what brings them. */
  missing: readonly { system: System; missing: string }[];
  /** Versions of the peers that were measured, by id. */
  versions: ReadonlyMap<string, string>;
}>;

/** The measured part of docs/performance.md, in Markdown. */
export function describe(findings: Findings): string {
  const parts = [
    findings.circumstances.join("\n"),
    "![Jobs a second of taskmaster and its peers, on a logarithmic scale](performance.svg)",
    ownTable(findings.results),
    targets(findings.results),
    peerTable(findings.results),
    notes(findings),
  ];
  return parts.filter((part) => part !== "").join("\n\n");
}

function ownTable(results: readonly Result[]): string {
  const head = [
    [
      "",
      "small jobs/s",
      "to the bare loop",
      "CPU s a million",
      "rows/s",
      "to the bare loop",
      "CPU s a million",
    ],
    Array(7).fill("---"),
  ];
  const rows = systemsOf(results, (system) => system.kind !== "peer").map((system) => [
    system.label,
    ...shapes.flatMap((shape) => {
      const result = find(results, system.id, shape);
      const ratio = medianRatio(result, find(results, system.bareLoop, shape));
      return [rate(result), Number.isNaN(ratio) ? "-" : ratio.toFixed(2), cpu(result)];
    }),
  ]);
  return table([...head, ...rows]);
}

function targets(results: readonly Result[]): string {
  return targetsOf(results).map(({ text, isMet }) => `- Target, ${text}: ${isMet ? "met" : "**not met**"}.`)
    .join("\n");
}

function peerTable(results: readonly Result[]): string {
  const peers = systemsOf(results, (system) => system.kind === "peer" || system.id === mainId)
    .toSorted((a, b) => medianOf(results, b.id) - medianOf(results, a.id));
  if (!peers.some((system) => system.kind === "peer")) return "";
  const head = [
    ["", "small jobs/s", "taskmaster is", "CPU s a million", "rows/s", "taskmaster is", "CPU s a million"],
    Array(7).fill("---"),
  ];
  const rows = peers.map((system) => [
    system.id === mainId ? `**taskmaster**, ${system.label}` : system.label,
    ...shapes.flatMap((shape) => {
      const result = find(results, system.id, shape);
      const times = medianRatio(find(results, mainId, shape), result);
      const isMain = system.id === mainId;
      return [rate(result), isMain || Number.isNaN(times) ? "-" : `${timesText(times)} as fast`, cpu(result)];
    }),
  ]);
  return table([...head, ...rows]);
}

/** How each peer was run, which are missing, and which rounds failed. */
function notes({ results, missing, versions }: Findings): string {
  const run = systemsOf(results, (system) => system.kind === "peer")
    .map(({ id, label, setting }) => `- ${label} (${versions.get(id)}): ${setting}.`);
  const absent = missing.map(({ system, missing }) => `- Not measured, ${system.label}: ${missing}.`);
  const failed = results.filter(({ failures }) => failures.length > 0).map(({ system, shape, failures }) =>
    `- Failed in ${failures.length} rounds, ${system.label}, ${shape}: ${oneLine(failures[0]!)}`
  );
  return [...run, ...absent, ...failed].join("\n");
}

function systemsOf(results: readonly Result[], isWanted: (system: System) => boolean): System[] {
  return [...new Set(results.map(({ system }) => system))].filter(isWanted);
}

function find(results: readonly Result[], id: string | undefined, shape: Shape): Result | undefined {
  return results.find((result) => result.system.id === id && result.shape === shape);
}

function medianOf(results: readonly Result[], id: string): number {
  return medianRate(find(results, id, "small")) || 0;
}

function rate(result: Result | undefined): string {
  const { median, least, most } = spreadOf(result?.jobsPerSecond ?? []);
  if (Number.isNaN(median)) return "-";
  return `${threeDigits(median)} (${threeDigits(least)} to ${threeDigits(most)})`;
}

function cpu(result: Result | undefined): string {
  return threeDigits(spreadOf(result?.cpuSecondsPerMillion ?? []).median);
}

function timesText(times: number): string {
  return `${times < 10 ? times.toFixed(1) : threeDigits(times)} times`;
}

function table(rows: readonly (readonly string[])[]): string {
  return rows.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ").slice(0, 300);
}

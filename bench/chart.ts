import { escape, picture, short } from "./svg.ts";

/** Bars of one system: jobs a second, small jobs and rows; NaN where it was not measured. */
export type Bars = Readonly<
  { label: string; kind: "taskmaster" | "bare loop" | "peer"; rates: readonly number[] }
>;

const width = 900;
const left = 285;
const right = 110;
const top = 92;
const rowHeight = 52;
const barHeight = 18;

/**
 * A bar chart with a logarithmic scale, as SVG. A scale has a first power of ten, below the least rate: how long
 * bars are in proportion says nothing, where they end does.
 */
export function drawChart(title: string, legend: readonly string[], systems: readonly Bars[]): string {
  const rates = systems.flatMap(({ rates }) => rates).filter((rate) => rate > 0);
  const first = Math.floor(Math.log10(Math.min(...rates, 1e6)) - 0.01);
  const last = Math.ceil(Math.log10(Math.max(...rates, 1)));
  const xOf = (rate: number) => left + (Math.log10(rate) - first) / (last - first) * (width - left - right);
  const bottom = top + systems.length * rowHeight;
  const lines = legend.map((text, at) => key(text, at));
  for (let power = first; power <= last; power++) {
    const x = xOf(10 ** power).toFixed(1);
    lines.push(
      `<path d="M${x} ${top - 8}V${bottom}" class="grid"/>`,
      `<text class="muted" x="${x}" y="${bottom + 24}" text-anchor="middle">${short(10 ** power)}</text>`,
    );
  }
  systems.forEach((bars, at) => lines.push(...drawBars(bars, top + at * rowHeight, xOf)));
  return picture(title, width, bottom + 40, lines);
}

function drawBars({ label, kind, rates }: Bars, y: number, xOf: (rate: number) => number): string[] {
  const palette = kind === "taskmaster" ? "own" : "peer";
  const text =
    `<text${palette === "own" ? ' class="strong"' : ""} x="${left - 12}" y="${y + barHeight + 7}" ` +
    `text-anchor="end">${escape(label)}</text>`;
  const bars = rates.flatMap((rate, at) => {
    if (!(rate > 0)) return [];
    const barY = y + 2 + at * (barHeight + 2), x = xOf(rate);
    return [
      `<rect x="${left}" y="${barY}" width="${(x - left).toFixed(1)}" height="${barHeight}" rx="2" ` +
      `class="${palette}${at}"/>`,
      `<text class="value" x="${(x + 7).toFixed(1)}" y="${barY + 14}">${escape(short(rate))}</text>`,
    ];
  });
  return [text, ...bars];
}

function key(text: string, at: number): string {
  const x = 20 + at * 190;
  return `<rect x="${x}" y="52" width="16" height="16" rx="2" class="own${at}"/>` +
    `<rect x="${x + 18}" y="52" width="16" height="16" rx="2" class="peer${at}"/>` +
    `<text x="${x + 42}" y="66">${escape(text)}</text>`;
}

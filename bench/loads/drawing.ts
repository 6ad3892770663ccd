import { escape, picture, short } from "../svg.ts";
import type { Curve } from "./load.ts";

const width = 900;
const top = 60;
const panelWidth = width / 2;
const panelHeight = 230;
/** What a panel leaves free around its curves. */
const margin = { left: 60, right: 40, top: 62, bottom: 36 };

/** How figures grow with the work: a panel a curve, with a logarithmic scale of the work and a linear one from 0 on. */
export function drawCurves(title: string, curves: readonly Curve[]): string {
  const rows = Math.ceil(curves.length / 2);
  const panels = curves.flatMap((curve, at) =>
    drawPanel(curve, (at % 2) * panelWidth, top + Math.floor(at / 2) * panelHeight)
  );
  return picture(title, width, top + rows * panelHeight, panels);
}

function drawPanel({ title, x, y, points }: Curve, left: number, above: number): string[] {
  const works = points.map(([work]) => work);
  const most = roundUp(Math.max(...points.flatMap(([, ...values]) => values)));
  const room = {
    width: panelWidth - margin.left - margin.right,
    height: panelHeight - margin.top - margin.bottom,
  };
  const first = Math.log10(works[0]!), decades = Math.log10(works.at(-1)!) - first;
  const xOf = (work: number) => left + margin.left + (Math.log10(work) - first) / decades * room.width;
  const yOf = (value: number) => above + margin.top + (1 - value / most) * room.height;
  return [
    text("strong", left + 20, above + 18, `${title}, by ${x}`),
    ...y.map((name, at) => legend(name, at, left + 20 + at * 200, above + 38)),
    ...[0, most / 2, most].flatMap((value) => [
      `<path d="M${left + margin.left} ${tenths(yOf(value))}h${room.width}" class="grid"/>`,
      text("muted small", left + margin.left - 8, yOf(value) + 4, short(value), "end"),
    ]),
    ...works.map((work) => text("muted small", xOf(work), above + panelHeight - 16, short(work), "middle")),
    ...y.flatMap((_, series) => {
      const places = points.map(([work, ...values]) =>
        `${tenths(xOf(work))},${tenths(yOf(values[series]!))}`
      );
      return [
        `<polyline points="${places.join(" ")}" class="line${series}"/>`,
        ...places.map((place) => dot(place.split(","), series)),
      ];
    }),
  ];
}

function legend(name: string, series: number, x: number, y: number): string {
  return `<rect x="${x}" y="${y - 10}" width="12" height="12" rx="2" class="${fills[series]}"/>` +
    text("muted small", x + 18, y, name);
}

const fills = ["own0", "peer0"];

function dot([x, y]: readonly string[], series: number): string {
  return `<circle cx="${x}" cy="${y}" r="4" class="${fills[series]}"/>`;
}

function text(kind: string, x: number, y: number, words: string, anchor = "start"): string {
  return `<text class="${kind}" x="${tenths(x)}" y="${tenths(y)}" text-anchor="${anchor}">${
    escape(words)
  }</text>`;
}

function tenths(place: number): string {
  return place.toFixed(1);
}

/** The next of 1, 2, 4, 6, 8 and 10 times a power of ten: half of it is short too. */
function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 4, 6, 8, 10].find((times) => times * power >= value)!;
}

/** The colour scheme decides: an SVG that is shown as an image sees that too. No variables: not every viewer knows them. */
const style = `
  text { font: 15px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328 }
  .title { font-size: 19px; font-weight: 600 }
  .strong { font-weight: 600 }
  .small { font-size: 13px }
  .value { paint-order: stroke; stroke: #ffffff; stroke-width: 5px }
  .muted { fill: #59636e }
  .paper { fill: #ffffff }
  .grid { stroke: #d1d9e0 }
  .own0 { fill: #0550ae }
  .own1 { fill: #54aeff }
  .peer0 { fill: #59636e }
  .peer1 { fill: #afb8c1 }
  .line0 { stroke: #0550ae; stroke-width: 2; fill: none }
  .line1 { stroke: #59636e; stroke-width: 2; fill: none }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .muted { fill: #9198a1 }
    .paper { fill: #0d1117 }
    .grid { stroke: #3d444d }
    .value { stroke: #0d1117 }
    .own0 { fill: #79c0ff }
    .own1 { fill: #1f6feb }
    .peer0 { fill: #b1bac4 }
    .peer1 { fill: #545d68 }
    .line0 { stroke: #79c0ff }
    .line1 { stroke: #b1bac4 }
  }`;

/** A picture on a sheet of its own, `lines` of SVG. */
export function picture(title: string, width: number, height: number, lines: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>${escape(title)}</title>`,
    `<style>${style}\n</style>`,
    `<rect width="${width}" height="${height}" rx="8" class="paper"/>`,
    `<text class="title" x="20" y="34">${escape(title)}</text>`,
    ...lines,
    "</svg>",
    "",
  ].join("\n");
}

/** Three digits with a letter: 43.1, 9.82k, 1.49M. */
export function short(value: number): string {
  const [unit, letter] = value >= 999_500 ? [1e6, "M"] : value >= 999.5 ? [1e3, "k"] : [1, ""];
  return `${Number((value / unit).toPrecision(3))}${letter}`;
}

export function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll(
    '"',
    "&quot;",
  );
}

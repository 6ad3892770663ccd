/** What one load is measured by. */
export type Row = Readonly<{
  what: string;
  measured: string;
  target: string;
  /** Null: there is no target, the figure explains another. */
  isMet: boolean | null;
}>;

/** How figures grow with the work. A point is x, and for each name in `y` a figure; x ascends. */
export type Curve = Readonly<
  { title: string; x: string; y: readonly string[]; points: readonly (readonly [number, ...number[]])[] }
>;

export type Findings = Readonly<{ rows: readonly Row[]; curves?: readonly Curve[] }>;

export type Load = Readonly<{
  name: string;
  /** What is run, in a sentence, for the table's reader. */
  about: string;
  /** `isQuick`: so short that it only shows that the measurement works. */
  measure: (isQuick: boolean, signal: AbortSignal) => Promise<Findings>;
}>;

/** A row whose figure must not be above a limit. */
export function atMost(what: string, value: number, limit: number, unit: string, besides = ""): Row {
  return {
    what,
    measured: `${shown(value)} ${unit}${besides}`,
    target: `at most ${shown(limit)} ${unit}`,
    isMet: value <= limit,
  };
}

/** A row whose figure must not be below a limit. */
export function atLeast(what: string, value: number, limit: number, unit: string, besides = ""): Row {
  return {
    what,
    measured: `${shown(value)} ${unit}${besides}`,
    target: `at least ${shown(limit)} ${unit}`,
    isMet: value >= limit,
  };
}

/** A row without a target: its figure explains another. */
export function figure(what: string, value: number, unit: string): Row {
  return { what, measured: `${shown(value)} ${unit}`, target: "", isMet: null };
}

/** What a load found that could not be measured. */
export function failed(error: unknown): Findings {
  const text = error instanceof Error ? error.message : String(error);
  const measured = `failed: ${text.replaceAll(/\s+/g, " ").replaceAll("|", "\\|").slice(0, 300)}`;
  return { rows: [{ what: "the whole load", measured, target: "", isMet: false }] };
}

/** Three digits that count, and all of those before the point. */
export function shown(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(3)));
}

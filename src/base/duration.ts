const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** No duration that a person writes is as long; of a megabyte of them the sum would take a second. */
const textCharsMax = 64;

/** Milliseconds of `500ms`, `30s`, `1.5m`, `2h`, `1d` or `1h30m`; undefined if the text is nothing of the kind. */
export function parseDuration(text: string): number | undefined {
  if (text.length > textCharsMax || !/^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+$/.test(text)) return undefined;
  let ms = 0;
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) {
    ms += Number(number) * unitMs[unit!]!;
  }
  return Math.round(ms);
}

/** `850ms`, `1.5s`, `45s`, `2m05s`, `3h07m`, `2d03h`: for a person, two units at most. */
export function formatDuration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)}ms`;
  if (ms < 9_950) return `${Number((ms / 1_000).toFixed(1))}s`;
  const s = Math.round(ms / 1_000);
  if (s < 60) return `${s}s`;
  if (s < 3_600) return `${Math.floor(s / 60)}m${two(s % 60)}s`;
  if (s < 86_400) return `${Math.floor(s / 3_600)}h${two(Math.floor(s / 60) % 60)}m`;
  return `${Math.floor(s / 86_400)}d${two(Math.floor(s / 3_600) % 24)}h`;
}

/** `0:00:40`, `26:03:04`: hours, minutes and whole seconds gone by; hours go on past a day. */
export function formatElapsed(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1_000));
  return `${Math.floor(s / 3_600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
}

function two(number: number): string {
  return String(number).padStart(2, "0");
}

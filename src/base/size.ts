const binary = ["B", "KiB", "MiB", "GiB", "TiB"] as const;
const unitBytes: Readonly<Record<string, number>> = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

/** Bytes of `64MiB`, `500kB`, `1.5GiB`, `4096B` or bare `4096`; undefined if the text is nothing of the kind. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)([kmgt]i?b|b)?$/i.exec(text);
  if (match === null) return undefined;
  return Math.round(Number(match[1]) * unitBytes[(match[2] ?? "b").toLowerCase()]!);
}

/** `512B`, `64MiB`, `1.5GiB`. */
export function formatSize(bytes: number): string {
  const power = bytes < 1 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), binary.length - 1);
  return `${Number((bytes / 2 ** (power * 10)).toFixed(1))}${binary[power]}`;
}

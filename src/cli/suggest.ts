import leven from "leven";

/** No name is as long; to compare a word of a megabyte with each would take a second. */
const typedCharsMax = 64;

/** The known name nearest to a mistyped one; undefined if none is near enough to be meant. */
export function suggest(typed: string, known: readonly string[]): string | undefined {
  if (typed.length > typedCharsMax) return undefined;
  const distanceMax = Math.min(
    typed.length - 1,
    Math.max(typed.length < 5 ? 1 : 2, Math.floor(typed.length / 2.5)),
  );
  let nearest: string | undefined;
  let least = distanceMax + 1;
  for (const name of known) {
    const distance = distanceOf(typed.toLowerCase(), name);
    if (distance < least) [nearest, least] = [name, distance];
  }
  return nearest ?? known.find((name) => typed.length >= 3 && name.startsWith(typed));
}

/** Letters in another order are one slip, not two. */
function distanceOf(typed: string, name: string): number {
  return sorted(typed) === sorted(name) ? Math.min(1, leven(typed, name)) : leven(typed, name);
}

function sorted(word: string): string {
  return [...word].sort().join("");
}

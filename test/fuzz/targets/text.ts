/** Words in an input, one behind the other with a NUL between: what an operating system can pass. */
export function wordsOf(input: Uint8Array): string[] {
  return input.length === 0 ? [] : new TextDecoder("utf-8", { ignoreBOM: true }).decode(input).split("\0");
}

export function toInput(words: readonly string[]): Uint8Array {
  return new TextEncoder().encode(words.join("\0"));
}

/** Also what hides, or turns the direction. */
export function movesCursor(text: string): boolean {
  return /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{DI}\p{NChar}\u2800]/u.test(text);
}

/** What is shown to a person: no control characters, and not endless. */
export function faultOfShown(text: string): string | null {
  if (movesCursor(text)) return "an error moves the cursor";
  return text.length > 2_000 ? `an error of ${text.length} characters` : null;
}

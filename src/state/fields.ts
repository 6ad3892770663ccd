/** A state file is not what it should be; says where. Becomes a warning or a `StateError`, never leaves this folder. */
export class DamageError extends Error {
  override get name(): string {
    return "DamageError";
  }
}

/** Checks of one field each. `name` says where it stands, for the message. */
export function asCount(value: unknown, name: string): number {
  // CBOR integers beyond 32 bits may decode as bigints.
  const number = typeof value === "bigint" ? Number(value) : value;
  if (Number.isSafeInteger(number) && (number as number) >= 0) return number as number;
  throw new DamageError(`${name} is no count`);
}

export function asMs(value: unknown, name: string): number {
  if (typeof value === "number" && Number.isFinite(value) && value >= 0) return value;
  throw new DamageError(`${name} is no duration`);
}

export function asText(value: unknown, name: string): string {
  if (typeof value === "string") return value;
  throw new DamageError(`${name} is no text`);
}

export function asFlag(value: unknown, name: string): boolean {
  if (typeof value === "boolean") return value;
  throw new DamageError(`${name} is neither true nor false`);
}

export function asBytes(value: unknown, name: string): Uint8Array {
  if (value instanceof Uint8Array) return value;
  throw new DamageError(`${name} is no byte string`);
}

export function asHash(value: unknown, name: string): Uint8Array {
  const bytes = asBytes(value, name);
  if (bytes.length === 32) return bytes;
  throw new DamageError(`${name} is no SHA-256`);
}

export function asList(value: unknown, name: string, length?: number): readonly unknown[] {
  if (Array.isArray(value) && (length === undefined || value.length === length)) return value;
  throw new DamageError(`${name} is no list${length === undefined ? "" : ` of ${length}`}`);
}

export function asFields(value: unknown, name: string): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
    return value as Record<string, unknown>;
  }
  throw new DamageError(`${name} is no map`);
}

/** `value` itself if it is null, else what `check` makes of it. */
export function orNull<T>(
  value: unknown,
  name: string,
  check: (value: unknown, name: string) => T,
): T | null {
  return value === null ? null : check(value, name);
}

import { cutToWritten, safeJson, writtenBytes } from "./text.ts";

/** Ends the writing early: the length limit is reached. */
class Enough extends Error {}

/**
 * A job as JSON for people: exact where JSON has the type, otherwise an object whose one `$` key names it
 * (`{"$bigint":"12"}`, `{"$date":...}`, `{"$bytes":"0aff"}`, `{"$map":[[1,2]]}`, `{"$set":[1]}`, `{"$undefined":true}`,
 * `{"$number":"NaN"}`). If it takes more than `bytesMax` in a file, it becomes one string: the beginning of that text,
 * and `…`. Unsafe characters are written as `\u` escapes.
 */
export function jobJson(job: unknown, bytesMax: number): string {
  const writer = new Writer(bytesMax);
  try {
    writer.write(job);
    if (utf8Bytes(writer.text) <= bytesMax) return writer.text;
  } catch (error) {
    if (!(error instanceof Enough)) throw error;
  }
  return JSON.stringify(`${cutToWritten(writer.text, bytesMax - 5)}…`);
}

/** Whether a decoded job is nothing but what JSON has, so that `jobJson` says all of it. */
export function isPlainJson(job: unknown): boolean {
  switch (typeof job) {
    case "string":
    case "boolean":
      return true;
    case "number":
      return Number.isFinite(job);
    case "object":
      if (job === null) return true;
      if (Array.isArray(job)) return job.every(isPlainJson);
      return Object.getPrototypeOf(job) === Object.prototype && Object.values(job).every(isPlainJson);
    default:
      return false;
  }
}

/** An upper bound, except that escaping again adds more. */
function utf8Bytes(text: string): number {
  return /^[\x20-\x7e]*$/.test(text) ? text.length : writtenBytes(text);
}

class Writer {
  text = "";
  readonly #charsMax: number;
  /** The containers being written, outermost first, to detect cycles. */
  readonly #open: object[] = [];

  constructor(charsMax: number) {
    this.#charsMax = charsMax;
  }

  write(value: unknown): void {
    switch (typeof value) {
      case "string":
        return this.#string(value);
      case "number":
        return this.#put(Number.isFinite(value) ? JSON.stringify(value) : `{"$number":"${value}"}`);
      case "bigint":
        return this.#put(`{"$bigint":"${value}"}`);
      case "boolean":
        return this.#put(String(value));
      case "object":
        return value === null ? this.#put("null") : this.#object(value);
      case "undefined":
        return this.#put('{"$undefined":true}');
      default:
        return this.#string(`[${typeof value}]`);
    }
  }

  #object(value: object): void {
    if (this.#open.includes(value)) return this.#string("[cycle]");
    this.#open.push(value);
    if (value instanceof Date) this.#tagged("date", () => this.#string(isoOf(value)));
    else if (value instanceof Uint8Array) this.#tagged("bytes", () => this.#string(this.#hex(value)));
    else if (value instanceof Map) this.#tagged("map", () => this.#items([...value]));
    else if (value instanceof Set) this.#tagged("set", () => this.#items([...value]));
    else if (Array.isArray(value)) this.#items(value);
    else this.#fields(value);
    this.#open.pop();
  }

  #tagged(kind: string, write: () => void): void {
    this.#put(`{"$${kind}":`);
    write();
    this.#put("}");
  }

  #items(items: readonly unknown[]): void {
    this.#put("[");
    for (const [index, item] of items.entries()) {
      if (index > 0) this.#put(",");
      this.write(item);
    }
    this.#put("]");
  }

  #fields(value: object): void {
    this.#put("{");
    for (const [index, [name, field]] of Object.entries(value).entries()) {
      if (index > 0) this.#put(",");
      this.#string(name);
      this.#put(":");
      this.write(field);
    }
    this.#put("}");
  }

  /** Writes no more of a text than fits: it may be a megabyte. */
  #string(text: string): void {
    this.#put(safeJson(JSON.stringify(text.slice(0, this.#charsMax + 1))));
  }

  #hex(bytes: Uint8Array): string {
    return Buffer.from(bytes.subarray(0, this.#charsMax)).toString("hex");
  }

  #put(text: string): void {
    this.text += text;
    if (this.text.length > this.#charsMax) throw new Enough();
  }
}

function isoOf(date: Date): string {
  return Number.isNaN(date.getTime()) ? "invalid" : date.toISOString();
}

import { Buffer } from "node:buffer";

/** Whether a date survives seconds as a float; from about the year 140,000 on some do not. */
export function isExactDate(date: Date): boolean {
  const ms = date.getTime();
  return Number.isNaN(ms) || Math.round(ms / 1000 * 1000) === ms;
}

/** What stands before a byte string in CBOR, in its shortest form. */
export function bytesHead(length: number): Uint8Array {
  return head(0x40, length);
}

/** What stands before the keys and values of a map in CBOR, in its shortest form. */
export function mapHead(keys: number): Uint8Array {
  return head(0xa0, keys);
}

/** A text in CBOR, in its shortest form. */
function textItem(text: string): Uint8Array {
  const bytes = Buffer.from(text);
  return new Uint8Array(Buffer.concat([head(0x60, bytes.length), bytes]));
}

function head(type: number, value: number): Uint8Array {
  const bytes = new Uint8Array(5);
  return bytes.subarray(0, writeHead(bytes, 0, type, value));
}

/**
 * Writes a head in its shortest form, of at most 5 bytes; returns where it ends.
 *
 * @param type The upper three bits.
 * @param value What the head counts or is, of at most 32 bits.
 */
export function writeHead(bytes: Uint8Array, at: number, type: number, value: number): number {
  if (value < 24) {
    bytes[at++] = type | value;
    return at;
  }
  if (value < 1 << 8) {
    bytes[at++] = type | 24;
  } else {
    if (value < 1 << 16) {
      bytes[at++] = type | 25;
    } else {
      bytes[at++] = type | 26;
      bytes[at++] = value >>> 24;
      bytes[at++] = value >>> 16;
    }
    bytes[at++] = value >>> 8;
  }
  bytes[at++] = value;
  return at;
}

/** So many objects of a shape come before it gets a function of its own. */
const usesMin = 16;
/** Of the objects of a shape so many are searched at first, then one in so many. */
const searchedFirst = 16, searchedEach = 32;
/** What the shapes kept may take. Objects with keys of their own each would fill the memory. */
const shapeCharsMax = 1 << 20;
/** What one takes beside its key. */
const shapeChars = 256;
/** So many of the keys that came behind a shape are looked for by their bytes; an object in an object may begin as that does. */
const firstKeys = 4;

type Make = (values: readonly unknown[], from: number) => object;

/** The keys that objects have in common, in order: one key more than those of the shape it comes from. */
export class KeyShape {
  /** What this key is in CBOR. */
  readonly keyBytes: Uint8Array;
  /** What came behind this key when it was looked up last. */
  likely: KeyShape | null = null;
  /** The few that came behind this key first. */
  readonly firstShapes: KeyShape[] = [];
  readonly key: string;
  readonly #before: KeyShape | null;
  readonly #next = new Map<string, KeyShape>();
  /** So many objects of this shape are written until one is searched, and so many were. */
  #unsearched = 1;
  #searched = 0;
  #uses = 0;
  #make: Make | null = null;

  constructor(before: KeyShape | null, key: string) {
    this.#before = before;
    this.key = key;
    this.keyBytes = textItem(key);
  }

  /** An object with these keys, and the values that lie from `from` on. */
  make(values: readonly unknown[], from: number): object {
    if (this.#make !== null) return this.#make(values, from);
    if (++this.#uses === usesMin) this.#make = this.#compile();
    const object: Record<string, unknown> = {};
    this.#keys.forEach((key, index) => object[key] = values[from + index]);
    return object;
  }

  /** An object of this shape was written: whether to look for keys that are symbols, which costs as much as to write it. */
  isToBeSearched(): boolean {
    if (--this.#unsearched > 0) return false;
    this.#unsearched = ++this.#searched < searchedFirst ? 1 : searchedEach;
    return true;
  }

  /** The shape with this key behind the others; undefined if there was none yet. */
  after(key: string): KeyShape | undefined {
    return this.#next.get(key);
  }

  /** Whether this is one of its keys. Asked before a key is added: so those of a shape need no look at any more. */
  has(key: string): boolean {
    return this.#before !== null && (this.key === key || this.#before.has(key));
  }

  add(key: string): KeyShape {
    const shape = new KeyShape(this, key);
    this.#next.set(key, shape);
    if (this.firstShapes.length < firstKeys) this.firstShapes.push(shape);
    return shape;
  }

  get #keys(): string[] {
    return this.#before === null ? [] : [...this.#before.#keys, this.key];
  }

  /** An object literal is made in one step, where keys that are set one by one are looked up each. */
  #compile(): Make {
    const fields = this.#keys.map((key, index) => `${JSON.stringify(key)}: values[from + ${index}]`);
    return new Function("values", "from", `return { ${fields.join(", ")} };`) as Make;
  }
}

/** The shapes of the objects that were read, or written, as a tree of their keys. */
export class KeyShapes {
  #empty = new KeyShape(null, "");
  #chars = 0;
  readonly #charsMax: number;
  readonly #whenFull: "forget" | "stop";

  /**
   * @param charsMax What they may take.
   * @param whenFull Beyond it all are forgotten, or no new one is kept: so it is where a stranger says what they are.
   */
  constructor(charsMax = shapeCharsMax, whenFull: "forget" | "stop" = "forget") {
    this.#charsMax = charsMax;
    this.#whenFull = whenFull;
  }

  get empty(): KeyShape {
    return this.#empty;
  }

  /** The shape with one key more than `shape`; null if it is a new one and none is kept any more. */
  with(shape: KeyShape, key: string): KeyShape | null {
    const next = shape.after(key) ?? this.#add(shape, key);
    if (next !== null) shape.likely = next;
    return next;
  }

  #add(shape: KeyShape, key: string): KeyShape | null {
    const chars = this.#chars + shapeChars + key.length;
    if (chars <= this.#charsMax) this.#chars = chars;
    else if (this.#whenFull === "stop") return null;
    else this.#forget();
    return shape.add(key);
  }

  #forget(): void {
    this.#empty = new KeyShape(null, "");
    this.#chars = 0;
  }
}

// CBOR as docs/protocol.md allows it, read by plain recursion: a second opinion on the pre-scan and on the decoder.
// It shares no code with either.

/** One item, as it stands in the bytes. A tag has one child, a map two an entry. */
export type Item = {
  major: number;
  /** Bytes of the head behind its first: 0, 1, 2, 4 or 8. */
  width: number;
  argument: bigint;
  /** Of a byte string or a text. */
  content: Uint8Array;
  children: Item[];
};

/** What the model says of bytes that are one acceptable item. */
export type Reading = Readonly<{ item: Item; items: number; levels: number }>;

const bignumBytesMax = 1024, levelsMax = 32, itemsMax = 1_000_000;
const tags: readonly bigint[] = [1n, 2n, 3n, 258n, 259n];
const text = new TextDecoder("utf-8", { ignoreBOM: true });

class Refusal extends Error {}

/**
 * The items that lie one behind the other in `bytes`, `count` of them; null if they are not just that.
 *
 * @param keysMax If there is such a limit, texts must be in UTF-8 too, and no text key twice in a map.
 */
export function readItems(bytes: Uint8Array, count: number, keysMax = 0): readonly Reading[] | null {
  const reader = new Reader(bytes, keysMax);
  const readings: Reading[] = [];
  try {
    for (let index = 0; index < count; index++) readings.push(reader.one());
  } catch (error) {
    if (error instanceof Refusal) return null;
    throw error;
  }
  return reader.at === bytes.length ? readings : null;
}

export function readItem(bytes: Uint8Array): Reading | null {
  return readItems(bytes, 1, 1 << 15)?.[0] ?? null;
}

function isUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}

class Reader {
  at = 0;
  readonly #bytes: Uint8Array;
  readonly #keysMax: number;
  #items = 0;
  #levels = 0;

  constructor(bytes: Uint8Array, keysMax: number) {
    this.#bytes = bytes;
    this.#keysMax = keysMax;
  }

  one(): Reading {
    this.#items = this.#levels = 0;
    const item = this.#item(0, false);
    return { item, items: this.#items, levels: this.#levels };
  }

  #item(depth: number, isTextKey: boolean): Item {
    const head = this.#head();
    if (isTextKey && head.major !== 3) throw new Refusal();
    if (head.major === 6) return this.#tagged(head, depth);
    this.#count();
    if (head.major === 2 || head.major === 3) head.content = this.#take(head.argument);
    if (isTextKey && text.decode(head.content) === "__proto__") throw new Refusal();
    if (this.#keysMax > 0 && head.major === 3 && !isUtf8(head.content)) throw new Refusal();
    if (head.major === 4 || head.major === 5) this.#fill(head, depth + 1, head.major === 5);
    if (head.major === 7) checkSimple(head);
    return head;
  }

  #tagged(tag: Item, depth: number): Item {
    if (!tags.includes(tag.argument)) throw new Refusal();
    const inside = this.#head();
    if (inside.major === 6) throw new Refusal();
    this.#count();
    switch (tag.argument) {
      case 1n:
        if (inside.major > 1 && !(inside.major === 7 && inside.width > 1)) throw new Refusal();
        break;
      case 258n:
        if (inside.major !== 4) throw new Refusal();
        this.#fill(inside, depth + 1, false);
        break;
      case 259n:
        if (inside.major !== 5) throw new Refusal();
        this.#fill(inside, depth + 1, false);
        break;
      default:
        if (inside.major !== 2 || inside.argument > bignumBytesMax) throw new Refusal();
        inside.content = this.#take(inside.argument);
    }
    tag.children.push(inside);
    return tag;
  }

  #fill(item: Item, depth: number, hasTextKeys: boolean): void {
    if (depth > levelsMax) throw new Refusal();
    this.#levels = Math.max(this.#levels, depth);
    const count = item.argument * (item.major === 5 ? 2n : 1n);
    if (count > BigInt(this.#bytes.length - this.at)) throw new Refusal();
    for (let index = 0; index < Number(count); index++) {
      item.children.push(this.#item(depth, hasTextKeys && index % 2 === 0));
    }
    if (this.#keysMax === 0 || !hasTextKeys) return;
    if (item.argument > this.#keysMax) throw new Refusal();
    const keys = item.children.filter((_, index) => index % 2 === 0).map(({ content }) =>
      text.decode(content)
    );
    if (new Set(keys).size < keys.length) throw new Refusal();
  }

  #head(): Item {
    const first = Number(this.#take(1n)[0]);
    const short = first & 31;
    if (short > 27) throw new Refusal();
    const width = short < 24 ? 0 : 1 << (short - 24);
    let argument = BigInt(width === 0 ? short : 0);
    for (const byte of this.#take(BigInt(width))) argument = argument << 8n | BigInt(byte);
    return { major: first >> 5, width, argument, content: new Uint8Array(0), children: [] };
  }

  #count(): void {
    if (++this.#items > itemsMax) throw new Refusal();
  }

  #take(count: bigint): Uint8Array {
    if (count > BigInt(this.#bytes.length - this.at)) throw new Refusal();
    return this.#bytes.subarray(this.at, this.at += Number(count));
  }
}

/** false, true, null, undefined and the three floats. */
function checkSimple({ width, argument }: Item): void {
  const isFine = width === 0 ? argument >= 20n && argument <= 23n : width > 1;
  if (!isFine) throw new Refusal();
}

/** The value an acceptable item stands for. */
export function valueOf(item: Item): unknown {
  const { major, width, argument, content, children } = item;
  switch (major) {
    case 0:
      return width === 8 ? argument : Number(argument);
    case 1:
      return width === 8 ? -1n - argument : -1 - Number(argument);
    case 2:
      return content;
    case 3:
      return text.decode(content);
    case 4:
      return children.map(valueOf);
    case 5:
      return Object.fromEntries(entriesOf(item));
    case 6:
      return taggedValue(argument, children[0]!);
    default:
      return width === 0 ? [false, true, null, undefined][Number(argument) - 20] : floatOf(width, argument);
  }
}

function taggedValue(tag: bigint, inside: Item): unknown {
  switch (tag) {
    case 1n:
      return new Date(Math.round(Number(valueOf(inside)) * 1000));
    case 258n:
      return new Set(inside.children.map(valueOf));
    case 259n:
      return new Map(entriesOf(inside));
  }
  const magnitude = inside.content.reduce((sum, byte) => sum << 8n | BigInt(byte), 0n);
  return tag === 2n ? magnitude : -1n - magnitude;
}

// deno-lint-ignore no-explicit-any
function entriesOf({ children }: Item): [any, unknown][] {
  const values = children.map(valueOf);
  return values.flatMap((value, index) => index % 2 === 0 ? [[value, values[index + 1]]] : []);
}

function floatOf(width: number, bits: bigint): number {
  const view = new DataView(new ArrayBuffer(8));
  if (width === 8) view.setBigUint64(0, bits);
  if (width === 4) view.setUint32(0, Number(bits));
  if (width > 2) return width === 8 ? view.getFloat64(0) : view.getFloat32(0);
  const half = Number(bits), exponent = half >> 10 & 31, fraction = half & 1023;
  const size = exponent === 0
    ? fraction * 2 ** -24
    : exponent === 31
    ? (fraction === 0 ? Infinity : NaN)
    : (fraction + 1024) * 2 ** (exponent - 25);
  return half & 0x8000 ? -size : size;
}

/** The bytes of an item, whatever it is: its head as wide as it says, its children behind it. */
export function writeItem(item: Item): Uint8Array {
  const parts: Uint8Array[] = [];
  write(item, parts);
  return new Uint8Array(Buffer.concat(parts));
}

function write({ major, width, argument, content, children }: Item, parts: Uint8Array[]): void {
  const head = new Uint8Array(1 + width);
  head[0] = major << 5 | (width === 0 ? Number(argument & 31n) : 24 + Math.log2(width));
  for (let index = width, rest = argument; index > 0; index--, rest >>= 8n) head[index] = Number(rest & 255n);
  parts.push(head, content);
  for (const child of children) write(child, parts);
}

/** A head that carries `argument` in as few bytes as can be. */
export function headFor(major: number, argument: number): Item {
  const width = argument < 24 ? 0 : argument < 1 << 8 ? 1 : argument < 1 << 16 ? 2 : 4;
  return { major, width, argument: BigInt(argument), content: new Uint8Array(0), children: [] };
}

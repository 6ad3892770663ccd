import type { Random } from "../sim/random.ts";
import { headFor, type Item, readItem, writeItem } from "./cbor_model.ts";

/** Inputs do not grow beyond this, but where their cost is what is looked for. */
const bytesMax = 4_096;

const odd = [0, 1, 23, 24, 31, 32, 127, 128, 255];

/** Changes bytes: a few at random places, or pieces cut out, doubled, moved, taken from another input or a dictionary. */
export function mutateBytes(
  input: Uint8Array,
  random: Random,
  other: Uint8Array,
  dictionary: readonly Uint8Array[] = [],
): Uint8Array {
  let bytes = input;
  for (let rounds = random.int(1, 4); rounds > 0; rounds--) {
    bytes = mutateOnce(bytes, random, other, dictionary);
  }
  return bytes.subarray(0, bytesMax);
}

function mutateOnce(
  bytes: Uint8Array,
  random: Random,
  other: Uint8Array,
  dictionary: readonly Uint8Array[],
): Uint8Array {
  const at = random.int(0, bytes.length), end = random.int(at, Math.min(bytes.length, at + 64));
  const put = (middle: Uint8Array) => join(bytes.subarray(0, at), middle, bytes.subarray(end));
  switch (random.int(0, 7)) {
    case 0:
      return flip(bytes, random);
    case 1:
      return put(new Uint8Array(0));
    case 2:
      return put(join(bytes.subarray(at, end), bytes.subarray(at, end)));
    case 3:
      return put(Uint8Array.of(random.pick(odd)));
    case 4:
      return put(Uint8Array.from({ length: random.int(1, 8) }, () => random.int(0, 255)));
    case 5:
      return dictionary.length > 0 ? put(random.pick(dictionary)) : bytes.subarray(0, at);
    case 6: {
      const from = random.int(0, other.length);
      return put(other.subarray(from, from + random.int(0, 64)));
    }
    default:
      return bytes.subarray(0, at);
  }
}

function flip(bytes: Uint8Array, random: Random): Uint8Array {
  if (bytes.length === 0) return bytes;
  const flipped = bytes.slice();
  const at = random.int(0, bytes.length - 1);
  flipped[at]! ^= 1 << random.int(0, 7);
  return flipped;
}

/** Changes one CBOR item as a tree, so that most of it stays acceptable; bytes that are none as bytes. */
export function mutateCbor(input: Uint8Array, random: Random, other: Uint8Array): Uint8Array {
  const root = readItem(input)?.item;
  if (root === undefined || random.perMille(200)) return mutateBytes(input, random, other);
  const donor = readItem(other)?.item ?? root;
  for (let rounds = random.int(1, 3); rounds > 0; rounds--) mutateTree(root, donor, random);
  return writeItem(root).subarray(0, bytesMax);
}

function mutateTree(root: Item, donor: Item, random: Random): void {
  const item = random.pick(itemsOf(root));
  const { children } = item;
  switch (random.int(0, 8)) {
    case 0:
      return replace(item, copy(random.pick(itemsOf(donor))));
    case 1:
      item.argument = BigInt(
        random.pick([0, 1, 2, 23, 24, 255, 256, 65_535, 2 ** 31, 2 ** 53, 2 ** 64 - 2 ** 12]),
      );
      return widen(item, random);
    case 2:
      return widen(item, random);
    case 3:
      return resize(item, [...children, ...children.slice(-2).map(copy)]);
    case 4:
      return resize(item, children.slice(0, -2));
    case 5:
      return replace(item, {
        ...headFor(6, random.pick([0, 1, 2, 3, 27, 51, 258, 259])),
        children: [copy(item)],
      });
    case 6:
      return replace(item, { ...headFor(4, 1), children: [copy(item)] });
    case 7:
      item.major = random.int(0, 7);
      return;
    default:
      item.content = mutateBytes(item.content, random, donor.content);
      if (item.major === 2 || item.major === 3) setArgument(item, item.content.length);
  }
}

function itemsOf(item: Item): Item[] {
  return [item, ...item.children.flatMap(itemsOf)];
}

function replace(item: Item, by: Item): void {
  Object.assign(item, by);
}

function resize(item: Item, children: Item[]): void {
  if (item.major === 6) return;
  item.children = children;
  setArgument(item, item.major === 5 ? children.length >> 1 : children.length);
}

function setArgument(item: Item, argument: number): void {
  const { width, argument: exact } = headFor(item.major, argument);
  Object.assign(item, { width, argument: exact });
}

/** A head need not be in its shortest form. */
function widen(item: Item, random: Random): void {
  item.width = random.pick(
    [0, 1, 2, 4, 8].filter((width) => width === 0 || width >= item.width || width === 8),
  );
  item.argument = BigInt.asUintN(item.width === 0 ? 5 : item.width * 8, item.argument);
}

function copy(item: Item): Item {
  return { ...item, children: item.children.map(copy) };
}

/** An acceptable item of about `size` bytes: one of its parts, as often as there is room, in an array. */
export function amplifyCbor(input: Uint8Array, random: Random, size: number): Uint8Array {
  const root = readItem(input)?.item;
  if (root === undefined) return amplifyBytes(input, random, size);
  const item = random.pick(itemsOf(root));
  const one = writeItem(item);
  const rest = writeItem(root).length;
  const count = Math.max(1, Math.floor((size - rest) / one.length));
  // In place of the part itself, or beside its brothers.
  if (item.children.length > 0 && random.perMille(500) && item.major !== 6) {
    const group = item.major === 5 ? item.children.slice(0, 2) : item.children.slice(0, 1);
    const bytes = group.reduce((sum, child) => sum + writeItem(child).length, 0);
    const times = Math.max(1, Math.floor((size - rest) / bytes));
    resize(item, Array.from({ length: times }, () => group).flat());
  } else replace(item, { ...headFor(4, count), children: new Array<Item>(count).fill(copy(item)) });
  return writeItem(root);
}

/** About `size` bytes: a piece of the input, repeated between the rest of it. */
export function amplifyBytes(input: Uint8Array, random: Random, size: number): Uint8Array {
  const at = random.int(0, input.length), end = Math.min(input.length, at + random.int(1, 12));
  const piece = at === end ? Uint8Array.of(random.int(0, 255)) : input.subarray(at, end);
  const room = Math.max(piece.length, size - input.length);
  const repeated = new Uint8Array(room - room % piece.length);
  for (let offset = 0; offset < repeated.length; offset += piece.length) repeated.set(piece, offset);
  return join(input.subarray(0, at), repeated, input.subarray(end));
}

export function join(...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

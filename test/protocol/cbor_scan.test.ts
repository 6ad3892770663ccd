import fc from "fast-check";
import t from "tap";
import { decode, decodeJobs, encode, FrameError, itemEnds, prescan } from "../../src/protocol/cbor.ts";
import { holds } from "../kit/holds.ts";
import { jobValue, sameValue } from "./job_values.ts";

const hex = (text: string): Uint8Array =>
  Uint8Array.from(text.replaceAll(" ", "").match(/../g) ?? [], (byte) => parseInt(byte, 16));
const repeated = (byte: number, count: number): Uint8Array => new Uint8Array(count).fill(byte);
const joined = (...parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));

const bombs: readonly (readonly [what: string, bytes: Uint8Array, reason: RegExp])[] = [
  ["nothing", hex(""), /end within/],
  ["33 levels", joined(repeated(0x81, 33), hex("00")), /32 levels/],
  ["a depth bomb", repeated(0x81, 1_000_000), /32 levels/],
  [
    "a depth bomb of maps",
    joined(...Array.from({ length: 40 }, () => hex("a1 61 61")), hex("00")),
    /32 levels/,
  ],
  ["an array of 4 G items", hex("9a ffffffff"), /announced/],
  ["an array of 2^64 items", hex("9b ffffffffffffffff"), /announced/],
  ["a map of 4 G entries", hex("ba ffffffff"), /announced/],
  ["a map of half an entry", hex("a1 61 61"), /end within/],
  ["a map of a key", hex("a1 60"), /announced/],
  ["a byte string of 2^40 bytes", hex("5b 0000010000000000 00"), /longer/],
  ["a text of 4 G bytes", hex("7a ffffffff 61"), /longer/],
  ["a bignum of 100 KB", joined(hex("c2 5a 000186a0"), repeated(0xff, 100_000)), /behind a tag/],
  ["a bignum of 1025 bytes", joined(hex("c3 59 0401"), repeated(0xff, 1025)), /behind a tag/],
  ["a bignum that is text", hex("c2 61 61"), /behind a tag/],
  ["a time that is text", hex("c1 61 61"), /behind a tag/],
  ["a time that is a map", hex("c1 a0"), /behind a tag/],
  ["a set that is a number", hex("d9 0102 05"), /behind a tag/],
  ["a set that is a map", hex("d9 0102 a0"), /behind a tag/],
  ["a map that is an array", hex("d9 0103 80"), /behind a tag/],
  ["a text date", hex("c0 74 323031332d30332d32315432303a30343a30305a"), /tag 0/],
  ["a decimal fraction", hex("c4 82 21 19 6ab3"), /tag 4/],
  ["a packed reference", hex("c6 00"), /tag 6/],
  ["a packed table", hex("d8 33 84 81 61 61 80 80 e0"), /tag 51/],
  ["a packed value", hex("e0"), /simple value/],
  ["a record", hex("d9 dfff 83 19 e000 81 61 61 01"), /tag 57343/],
  ["record definitions", hex("d9 dffe 82 19 e000 80"), /tag 57342/],
  ["an old record", hex("d8 69 83 19 e000 81 61 61 01"), /tag 105/],
  ["a bundle of texts", hex("d9 dff9 82 1a 00000005 00"), /tag 57337/],
  ["a RegExp", hex("d8 1b 83 66 526567457870 64 28612b29 60"), /tag 27/],
  ["a shared value", hex("d8 1c 80"), /tag 28/],
  ["a reference", hex("d8 1d 00"), /tag 29/],
  ["a typed array", hex("d8 4d 42 0000"), /tag 77/],
  ["self-described CBOR", hex("d9 d9f7 00"), /tag 55799/],
  ["a tag of 64 bits", hex("db 0000000100000002 40"), /the tag/],
  ["a tag on a tag", hex("c1 c1 00"), /out of place/],
  ["a tag as a key", hex("a1 c1 00 00"), /out of place/],
  ["a tag on nothing", hex("c1"), /end within/],
  ["an indefinite array", hex("9f 00 ff"), /indefinite/],
  ["an indefinite map", hex("bf ff"), /indefinite/],
  ["an indefinite text", hex("7f 61 61 ff"), /indefinite/],
  ["an indefinite byte string", hex("5f 41 61 ff"), /indefinite/],
  ["a break", hex("ff"), /indefinite/],
  ["a reserved length", hex("1c"), /indefinite or reserved/],
  ["a simple value in two bytes", hex("f8 20"), /simple value/],
  ["a trailing byte", hex("00 00"), /behind the item/],
  ["the key __proto__", hex("a1 69 5f5f70726f746f5f5f 00"), /__proto__/],
  ["the key __proto__, long form", hex("a1 78 09 5f5f70726f746f5f5f 00"), /__proto__/],
  ["__proto__ within", hex("82 00 a2 61 61 00 69 5f5f70726f746f5f5f 00"), /__proto__/],
  ["a number as a key", hex("a1 01 02"), /no text/],
  ["a map as a key", hex("a1 a0 02"), /no text/],
  ["a million and one items", joined(hex("9a 000f4240"), repeated(0, 1_000_000)), /1000000 items/],
];

t.test("bombs are refused before anything is decoded", async (t) => {
  for (const [what, bytes, reason] of bombs) {
    const beganMs = performance.now();
    t.throws(() => prescan(bytes), { name: "FrameError", message: reason }, what);
    t.ok(performance.now() - beganMs < 500, `${what}: at once`);
  }
});

t.test("what is only near a bomb passes", async (t) => {
  const fine: readonly (readonly [string, unknown])[] = [
    ["d9 0103 a1 69 5f5f70726f746f5f5f 01", new Map([["__proto__", 1]])],
    ["81 69 5f5f70726f746f5f5f", ["__proto__"]],
    ["a1 61 61 69 5f5f70726f746f5f5f", { a: "__proto__" }],
    ["f9 3c00", 1],
    ["fa 3f800000", 1],
    ["1b 0000000000000005", 5n],
    ["3b 0000000000000005", -6n],
    ["98 01 18 05", [5]],
    ["c1 fa 3f800000", new Date(1_000)],
    ["d8 02 41 05", 5n],
  ];
  for (const [text, value] of fine) {
    prescan(hex(text));
    t.ok(sameValue(decode(hex(text)), value), text);
  }
  prescan(joined(repeated(0x81, 32), hex("00")));
  prescan(joined(hex("9a 000f423f"), repeated(0, 999_999)));
});

t.test("prescan() throws nothing but FrameError, and what passes can be decoded", async (t) => {
  let passed = 0;
  const check = (bytes: Uint8Array): boolean => {
    try {
      prescan(bytes);
    } catch (error) {
      return error instanceof FrameError;
    }
    passed++;
    decode(bytes);
    return true;
  };
  holds(t, fc.property(fc.uint8Array({ maxLength: 12 }), check), { numRuns: 20_000 });
  const flipped = fc.tuple(jobValue, fc.nat(), fc.nat(255)).map(([value, at, byte]) => {
    const bytes = encode(value);
    bytes[at % bytes.length] = byte;
    return bytes;
  });
  holds(t, fc.property(flipped, check), { numRuns: 3_000 });
  t.ok(passed > 1_000, `${passed} passed and were decoded`);
});

t.test("prescan() agrees with decode() about where an item ends", async (t) => {
  holds(
    t,
    fc.property(jobValue, fc.uint8Array({ minLength: 1, maxLength: 5 }), (value, behind) => {
      const bytes = encode(value);
      prescan(bytes);
      return throws(() => prescan(joined(bytes, behind))) &&
        throws(() => prescan(bytes.subarray(0, bytes.length - 1)));
    }),
    { numRuns: 500 },
  );
});

t.test("itemEnds() says where each job ends, and that there is nothing else", async (t) => {
  holds(
    t,
    fc.property(fc.array(jobValue, { maxLength: 10 }), (jobs) => {
      const bytes = joined(...jobs.map((job) => encode(job)));
      const ends = itemEnds(bytes, jobs.length);
      return sameValue(decodeJobs(bytes, jobs.length), jobs) && (ends.at(-1) ?? 0) === bytes.length &&
        throws(() => itemEnds(bytes, jobs.length + 1)) && (jobs.length === 0 || throws(() =>
          itemEnds(bytes, jobs.length - 1)
        ));
    }),
    { numRuns: 300 },
  );
  t.throws(
    () => itemEnds(hex("00"), 2 ** 31),
    { message: /2147483648 jobs: there are 1 bytes/ },
    "no table is made for a count that cannot be",
  );
  t.throws(() => itemEnds(encode("x".repeat(1 << 20)), 1), { message: /a job of 1048581 bytes/ });
});

t.test("the scan's time grows with the bytes only", async (t) => {
  const worst = joined(hex("9a 000f423f"), repeated(0, 999_999));
  const beganMs = performance.now();
  for (let round = 0; round < 10; round++) prescan(worst);
  t.ok(performance.now() - beganMs < 2_000, "10 MB of one-byte items, generously");
});

function throws(run: () => void): boolean {
  try {
    run();
    return false;
  } catch {
    return true;
  }
}

t.test("texts are in UTF-8", async (t) => {
  const textOf = (...bytes: number[]) => Uint8Array.of(0x60 | bytes.length, ...bytes);
  for (
    const bytes of [[0x80], [0xc3], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0x61, 0xff]]
  ) {
    t.throws(() => prescan(textOf(...bytes)), /a text that is not in UTF-8/, bytes.join(" "));
    t.throws(() => prescan(Uint8Array.of(0xa1, ...textOf(...bytes), 0xf6)), /not in UTF-8/, "as a key");
  }
  for (const text of ["", "é", "\u{10ffff}", "a\u0000", "\ufffd\ufeff"]) {
    t.doesNotThrow(() => prescan(encode(text)));
  }
});

t.test("no key is twice in a map, wherever it stands and however many there are", async (t) => {
  const map = (...keys: string[]) =>
    Buffer.concat([
      Uint8Array.of(0xb9, keys.length >> 8, keys.length & 255),
      ...keys.flatMap((key) => [encode(key), Uint8Array.of(0xf6)]),
    ]);
  const twice = /a key that the map has already/;
  t.throws(() => prescan(map("a", "a")), twice);
  t.throws(() => prescan(map("", "b", "")), twice);
  const many = Array.from({ length: 30_000 }, (_, index) => `k${index}`);
  t.doesNotThrow(() => prescan(map(...many)));
  t.throws(() => prescan(map(...many, "k0")), twice);
  t.throws(() => prescan(map(...many, "k29999")), twice);
  // Between the two, maps that have the same keys open and close.
  const inner = encode({ a: { a: { a: 1 } }, b: [{ a: 1 }, { a: 1 }] });
  const outer = (last: string) =>
    Buffer.concat([Uint8Array.of(0xa2), encode("a"), inner, encode(last), inner]);
  t.throws(() => prescan(outer("a")), twice);
  t.doesNotThrow(() => prescan(outer("b")));
  const crowd = Buffer.concat([
    Uint8Array.of(0xa2),
    encode("k0"),
    map(...many),
    encode("k0"),
    Uint8Array.of(0xf6),
  ]);
  t.throws(() => prescan(crowd), twice, "though a map within took many places");
});

import t from "tap";
import { formatFingerprint, parseFingerprint } from "../../src/lib/bytes.ts";

const hash = Uint8Array.from({ length: 32 }, (_, index) => index * 7 + 3);
const colons = formatFingerprint(hash);
const hex = Buffer.from(hash).toString("hex");
const base64 = Buffer.from(hash).toString("base64");

t.test("formatFingerprint() writes what openssl prints", async (t) => {
  t.match(colons, /^03:0A:11:(?:[0-9A-F]{2}:){28}[0-9A-F]{2}$/);
});

const pasted: readonly string[] = [
  colons,
  colons.toLowerCase(),
  hex,
  hex.toUpperCase(),
  `sha256 Fingerprint=${colons}`,
  `SHA256 Fingerprint=${colons}\n`,
  `sha256:${hex}`,
  `SHA-256: ${hex}`,
  `sha256/${base64}`,
  `sha256//${base64}`,
  `SHA256:${base64.replace("=", "")}`,
  Buffer.from(hash).toString("base64url"),
];
for (const text of pasted) {
  t.test(`parseFingerprint() reads ${JSON.stringify(text)}`, async (t) =>
    t.same(parseFingerprint(text), hash));
}

const wrong: readonly string[] = [
  "",
  "sha256/",
  hex.slice(2),
  `${hex}00`,
  colons.slice(3),
  `${colons}:`,
  `sha1:${hex}`,
  base64.slice(4),
  `${base64}AAAA`,
  `sha512/${base64}`,
  "AB:CD:...",
];
for (const text of wrong) {
  t.test(`parseFingerprint() refuses ${JSON.stringify(text)}`, async (t) => {
    t.equal(parseFingerprint(text), undefined);
  });
}

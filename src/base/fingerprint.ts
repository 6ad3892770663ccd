import { hashBytes } from "./wire_limits.ts";

/**
 * Reads the SHA-256 of a certificate in the forms that people paste: as openssl prints it (`AB:CD:...`, with or without
 * `sha256 Fingerprint=` before it), as bare hex, or as base64 behind `sha256/`. Undefined if it is none of them.
 */
export function parseFingerprint(text: string): Uint8Array | undefined {
  const bare = text.trim().replace(/^sha-?256(?: fingerprint)?\s*[=:/]{1,2}\s*/i, "");
  if (/^(?:[0-9a-f]{2}:?){31}[0-9a-f]{2}$/i.test(bare)) {
    return new Uint8Array(Buffer.from(bare.replaceAll(":", ""), "hex"));
  }
  const decoded = /^[\w+/-]{43}=?$/.test(bare) ? new Uint8Array(Buffer.from(bare, "base64")) : undefined;
  return decoded?.length === hashBytes ? decoded : undefined;
}

/** As `openssl x509 -fingerprint -sha256` prints it, so that both can be compared by eye: `AB:CD:...`. */
export function formatFingerprint(hash: Uint8Array): string {
  return [...hash].map((byte) => byte.toString(16).padStart(2, "0").toUpperCase()).join(":");
}

/** Enough of a hash to tell two by eye. */
export function shortHash(hash: Uint8Array): string {
  return Buffer.from(hash.subarray(0, 4)).toString("hex");
}

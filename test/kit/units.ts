/** A greeting of the handshake, or a frame, whole: `docs/protocol.md`, sections 1 and 2. */
export type Unit = Readonly<{ kind: "greeting" | "frame"; bytes: Buffer }>;

const greetingHeaderBytes = 18;
const prefixBytes = 4;

/** Cuts one direction of a plain connection into units, so that something can be done at their borders. */
export class UnitReader {
  #greetingsLeft: number;
  #parts: Buffer[] = [];
  #held = 0;

  /** @param greetings How many greetings come first: HELLO and WELCOME downwards, AUTH upwards. */
  constructor(greetings: number) {
    this.#greetingsLeft = greetings;
  }

  /** Takes the next bytes; returns the units that are whole with them. */
  push(chunk: Buffer): Unit[] {
    this.#parts.push(chunk);
    this.#held += chunk.length;
    const units: Unit[] = [];
    let bytes = this.#held >= prefixBytes ? Buffer.concat(this.#parts) : null;
    while (bytes !== null) {
      const length = this.#lengthOf(bytes);
      if (length === null || bytes.length < length) break;
      units.push({ kind: this.#greetingsLeft > 0 ? "greeting" : "frame", bytes: bytes.subarray(0, length) });
      this.#greetingsLeft = Math.max(0, this.#greetingsLeft - 1);
      bytes = bytes.subarray(length);
    }
    if (bytes !== null) {
      this.#parts = bytes.length > 0 ? [bytes] : [];
      this.#held = bytes.length;
    }
    return units;
  }

  #lengthOf(bytes: Buffer): number | null {
    if (this.#greetingsLeft > 0) {
      return bytes.length < greetingHeaderBytes ? null : greetingHeaderBytes + bytes.readUInt32BE(14);
    }
    return bytes.length < prefixBytes ? null : prefixBytes + bytes.readUInt32BE(0);
  }
}

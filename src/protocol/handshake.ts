import { createHmac, hkdfSync, timingSafeEqual } from "node:crypto";
import { isSameBytes, shortHash } from "../lib/bytes.ts";
import { handshakeBytesMax, welcomeBytesMax } from "../lib/limits.ts";
import { FrameError } from "./cbor.ts";
import type { Introduction, Welcome } from "./messages.ts";

/** Shortest token: 128 bits. */
const tokenBytesMin = 16;

// Whether a slave may run its plugin for this master. Both sides apply the same rule and reach the same result.

type MasterPlugin = Pick<Welcome["plugin"], "name" | "hash">;
type SlavePlugin = NonNullable<Introduction["plugin"]>;

/**
 * Why the slave's plugin may not run for this master: other code, or another name; null if it may.
 *
 * A file with the master's name must contain the master's code. A file with another name is accepted only if the slave
 * was started with the name of an export. `anyPlugin` accepts everything.
 */
export function pluginFault(
  master: MasterPlugin,
  slave: SlavePlugin | null,
  anyPlugin: boolean,
): "code" | "name" | null {
  if (slave === null || anyPlugin) return null;
  if (slave.name !== master.name) return slave.export === "default" ? "name" : null;
  return isSameBytes(slave.hash, master.hash) ? null : "code";
}

/** Why the master rejects this slave, as the end of a sentence about it; null if it does not. */
export function masterRefusal(
  master: MasterPlugin,
  { plugin: slave, anyPlugin = false }: Pick<Introduction, "plugin" | "anyPlugin">,
): string | null {
  const fault = pluginFault(master, slave, anyPlugin);
  if (fault === null) return null;
  return fault === "code"
    ? `its ${inWords(slave!)} is other code than this master's (${shortHash(master.hash)}); ` +
      "copy the plugin, and what it imports, to it again"
    : `it was started with ${inWords(slave!)}, and this master with ${inWords(master)}`;
}

/** The same in the slave's words, with what to do about it. */
export function slaveRefusal(
  master: MasterPlugin,
  slave: SlavePlugin,
  where: string,
  anyPlugin: boolean,
): string | null {
  const fault = pluginFault(master, slave, anyPlugin);
  if (fault === null) return null;
  return fault === "code"
    ? `The ${slave.name} of the master at ${where} is other code (${
      shortHash(master.hash)
    }) than this slave's ` +
      `(${
        shortHash(slave.hash)
      }), in itself or in a file or package that it imports. Copy it from the master's ` +
      "machine, with what it imports, and start again; --any-plugin runs it as it is"
    : `The master at ${where} runs ${inWords(master)}, and this slave was started with ${
      inWords(slave)
    }. Start it ` +
      `with ${master.name}; or say which export is meant (${slave.name}:handleJob); or --any-plugin`;
}

/** A remark about a slave that may run although its plugin differs from the master's; null if it does not differ. */
export function pluginRemark(
  master: MasterPlugin,
  { plugin: slave, anyPlugin = false }: Pick<Introduction, "plugin" | "anyPlugin">,
): string | null {
  if (slave === null || !anyPlugin || pluginFault(master, slave, false) === null) return null;
  return `runs ${inWords(slave)}, not ${inWords(master)}: it was started with --any-plugin`;
}

function inWords({ name, hash }: Readonly<{ name: string; hash: Uint8Array }>): string {
  return `${name} (${shortHash(hash)})`;
}

// The four messages before any frame: fixed byte layouts, frozen for ever, so that any two versions can tell each other
// their numbers. docs/protocol.md has the offsets. Nothing here decodes CBOR.

/** Version of the protocol, not of the release. Both sides must have the same. */
export const protocolVersion = 2;
/** Feature: `ready` names the jobs that did not begin. */
export const untouchedFeature = "untouched";
/** Feature: `again` counts the jobs that a slave runs once more. */
export const againFeature = "again";
/**
 * What this side understands beyond version 2, announced in AUTH's info and WELCOME's body. A message or field of a
 * feature is sent only to a peer that announced it, so a later release can extend the protocol without raising the
 * version.
 *
 * `goodbye`: a dismissed slave closes the connection itself, after it has reported everything about its workers.
 */
export const features: readonly string[] = ["goodbye", untouchedFeature, againFeature];
/** Feature of a master: a control connection may `ask`. */
export const controlFeature = "control";
/** Length of each side's nonce, and of a MAC. */
export const nonceBytes = 32, macBytes = 32;
/** Length of the common header: magic (10), type (1), flags (1), version (2), length of the rest (4). */
export const headerBytes = 18;

/** Who connects: a slave, or `status` and `ctl`. */
export type Role = "slave" | "control";

/** Why a master rejects a connection. The slave's half of the handshake has the words for people. */
export type RefusalCode =
  | "token"
  | "version"
  | "malformed"
  | "busy"
  | "late"
  | "ending"
  | "certificate"
  | "info";

type Header = Readonly<{ type: number; insecure: boolean; version: number; length: number }>;

/** One decoded message of the handshake. `insecure`: its sender has no token. */
export type Hello = Readonly<{ kind: "hello"; version: number; insecure: boolean; nonce: Uint8Array }>;
export type Auth = Readonly<{
  kind: "auth";
  version: number;
  insecure: boolean;
  nonce: Uint8Array;
  role: Role;
  mac: Uint8Array;
  /** CBOR; must not be decoded before `mac` is verified. */
  info: Uint8Array;
}>;
export type Welcoming = Readonly<{
  kind: "welcome";
  version: number;
  insecure: boolean;
  mac: Uint8Array;
  /** CBOR; must not be decoded before `mac` is verified. */
  body: Uint8Array;
}>;
export type Refusal = Readonly<{ kind: "error"; version: number; code: RefusalCode }>;
export type HandshakeMessage = Hello | Auth | Welcoming | Refusal;

const magic = new TextEncoder().encode("taskmaster");
const types = { hello: 1, auth: 2, welcome: 3, error: 4 } as const;
const codes: readonly (RefusalCode | undefined)[] = [
  undefined,
  "token",
  "version",
  "malformed",
  "busy",
  "late",
  "ending",
  "certificate",
  "info",
];
const roles: readonly (Role | undefined)[] = [undefined, "slave", "control"];
const noMac = new Uint8Array(macBytes);
const label = new TextEncoder().encode("taskmaster/1");

/**
 * What both sides share: the key derived from a token, or the fact that there is no token.
 *
 * @throws {RangeError} if the token has fewer than 128 bits.
 */
export class Secret {
  readonly #key: Uint8Array | null;

  constructor(token: Uint8Array | null) {
    if (token !== null && token.length < tokenBytesMin) {
      throw new RangeError(
        `Cannot use a token of ${token.length} bytes: at least ${tokenBytesMin} are needed; make one with "taskmaster token"`,
      );
    }
    this.#key = token && new Uint8Array(hkdfSync("sha256", token, label, "auth", 32));
  }

  /** There is no token: MACs are zero, and nothing is proved. */
  get isInsecure(): boolean {
    return this.#key === null;
  }

  /** The MAC of one side over `proof` and `payload` (AUTH's info or WELCOME's body). */
  mac(side: "slave" | "master", proof: Proof, payload: Uint8Array): Uint8Array {
    if (!this.#key) return noMac;
    const hmac = createHmac("sha256", this.#key);
    for (const part of macParts(side, proof, payload)) hmac.update(lengthOf(part)).update(part);
    return new Uint8Array(hmac.digest());
  }

  /** Whether `mac` is the MAC of that side; compares in constant time. */
  holds(mac: Uint8Array, side: "slave" | "master", proof: Proof, payload: Uint8Array): boolean {
    return timingSafeEqual(mac, this.mac(side, proof, payload));
  }
}

/** What both MACs cover besides the side and its payload. */
export type Proof = Readonly<{
  /** From the master's HELLO. */
  masterNonce: Uint8Array;
  /** From the slave's AUTH. */
  slaveNonce: Uint8Array;
  role: Role;
  /** SHA-256 of the master's certificate; empty without TLS. */
  certificateHash: Uint8Array;
}>;

function macParts(side: string, proof: Proof, payload: Uint8Array): Uint8Array[] {
  return [
    label,
    new TextEncoder().encode(side),
    Uint8Array.of(protocolVersion >> 8, protocolVersion & 255),
    proof.masterNonce,
    proof.slaveNonce,
    proof.certificateHash,
    Uint8Array.of(roles.indexOf(proof.role)),
    payload,
  ];
}

function lengthOf(part: Uint8Array): Uint8Array {
  return uint32(part.length);
}

function uint32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16 & 255, value >>> 8 & 255, value & 255);
}

/** HELLO: the master's nonce. */
export function encodeHello(nonce: Uint8Array, secret: Secret): Uint8Array {
  return message(types.hello, secret.isInsecure, nonce);
}

/**
 * AUTH: the slave's nonce, role and MAC, and its info as CBOR.
 *
 * @throws {RangeError} if it is longer than what a master accepts before the proof.
 */
export function encodeAuth(proof: Proof, info: Uint8Array, secret: Secret): Uint8Array {
  const role = Uint8Array.of(roles.indexOf(proof.role));
  const bytes = message(
    types.auth,
    secret.isInsecure,
    proof.slaveNonce,
    role,
    secret.mac("slave", proof, info),
    info,
  );
  if (bytes.length > handshakeBytesMax) {
    throw new RangeError(
      `Cannot introduce this slave: ${bytes.length} bytes, more than ${handshakeBytesMax}; use shorter names`,
    );
  }
  return bytes;
}

/**
 * WELCOME: the master's MAC, and its body as CBOR.
 *
 * @throws {RangeError} if it is longer than what a slave accepts.
 */
export function encodeWelcome(proof: Proof, body: Uint8Array, secret: Secret): Uint8Array {
  const bytes = message(types.welcome, secret.isInsecure, secret.mac("master", proof, body), body);
  if (bytes.length > welcomeBytesMax) {
    throw new RangeError(
      `Cannot welcome a slave: ${bytes.length} bytes, more than ${welcomeBytesMax}; use shorter arguments`,
    );
  }
  return bytes;
}

/** ERROR: why there is no session. */
export function encodeRefusal(code: RefusalCode): Uint8Array {
  return message(types.error, false, Uint8Array.of(codes.indexOf(code)));
}

function message(type: number, insecure: boolean, ...parts: readonly Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const bytes = new Uint8Array(headerBytes + length);
  bytes.set(magic);
  bytes.set([type, insecure ? 1 : 0, protocolVersion >> 8, protocolVersion & 255], magic.length);
  bytes.set(uint32(length), headerBytes - 4);
  let at = headerBytes;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/**
 * Decodes the handshake message at the start of `bytes`; undefined while it is incomplete. `used` is its length. Of a
 * message of another version only the header is decoded: see `OtherVersionError`.
 *
 * @throws {FrameError} if this is no such message, or one longer than `bytesMax`.
 * @throws {OtherVersionError} if it is of another version, as soon as the header is complete.
 */
export function readGreeting(
  bytes: Uint8Array,
  bytesMax: number,
): { greeting: HandshakeMessage; used: number } | undefined {
  const begin = bytes.subarray(0, magic.length);
  if (!begin.every((byte, index) => byte === magic[index])) throw new FrameError("This is no taskmaster");
  if (bytes.length < headerBytes) return undefined;
  const header = readHeader(bytes);
  if (header.version !== protocolVersion) throw new OtherVersionError(header.version);
  const used = headerBytes + header.length;
  if (used > bytesMax) {
    throw new FrameError(`Cannot read a greeting of ${used} bytes: at most ${bytesMax} are allowed`);
  }
  if (bytes.length < used) return undefined;
  return { greeting: readBody(header, bytes.slice(headerBytes, used)), used };
}

/** Length of the message at the start of `bytes`, header included; the header's length while that is incomplete. */
export function greetingBytes(bytes: Uint8Array): number {
  return bytes.length < headerBytes ? headerBytes : headerBytes + readHeader(bytes).length;
}

/** The peer speaks another version of the protocol. */
export class OtherVersionError extends FrameError {
  readonly version: number;

  constructor(version: number) {
    super(`The other side speaks version ${version} of the protocol, this one version ${protocolVersion}`);
    this.version = version;
  }

  override get name(): string {
    return "OtherVersionError";
  }
}

function readHeader(bytes: Uint8Array): Header {
  const view = new DataView(bytes.buffer, bytes.byteOffset, headerBytes);
  if (view.getUint8(11) > 1) throw new FrameError("Cannot read this greeting: unknown flags");
  return {
    type: view.getUint8(10),
    insecure: view.getUint8(11) === 1,
    version: view.getUint16(12),
    length: view.getUint32(14),
  };
}

function readBody({ type, insecure, version }: Header, rest: Uint8Array): HandshakeMessage {
  const cut = (from: number, to?: number) => rest.slice(from, to);
  switch (type) {
    case types.hello:
      if (rest.length === nonceBytes) return { kind: "hello", version, insecure, nonce: rest };
      break;
    case types.auth: {
      const role = roles[rest[32] ?? 0];
      if (role && rest.length >= 65) {
        return { kind: "auth", version, insecure, nonce: cut(0, 32), role, mac: cut(33, 65), info: cut(65) };
      }
      break;
    }
    case types.welcome:
      if (rest.length >= macBytes) {
        return { kind: "welcome", version, insecure, mac: cut(0, 32), body: cut(32) };
      }
      break;
    case types.error: {
      const code = codes[rest[0] ?? 0];
      if (code && rest.length === 1) return { kind: "error", version, code };
    }
  }
  throw new FrameError("Cannot read this greeting: it is none of the four");
}

import { chmodSync, copyFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type KeyPair, readCertificate } from "../../src/link/tls.ts";

/** Certificates signed by `ca`, but for `stranger` and `foreign_slave`, which `other_ca` signed. */
export type Name =
  /** For localhost and the addresses of loopback. */
  | "master"
  | "relay"
  | "stranger"
  | "expired"
  | "early"
  /** For another host. */
  | "elsewhere"
  /** For clients. */
  | "slave"
  | "foreign_slave"
  | "expired_slave";

export const folder = import.meta.dirname ?? "";

/** Path of a certificate or of a key. */
export function pathOf(name: Name | "ca" | "other_ca", what: "pem" | "key" = "pem"): string {
  return join(folder, `${name}.${what}`);
}

export function pem(name: Name | "ca" | "other_ca"): string {
  return readFileSync(pathOf(name), "utf8");
}

export function pair(name: Name): KeyPair {
  return { cert: pem(name), key: readFileSync(pathOf(name, "key"), "utf8") };
}

/** The options for a certificate, whose key is copied into a folder: a clone of the repository lets others read it. */
export function optionsOf(name: Name, folder: string): string[] {
  const key = join(folder, `${name}.key`);
  copyFileSync(pathOf(name, "key"), key);
  chmodSync(key, 0o600);
  return ["--tls-cert", pathOf(name), "--tls-key", key];
}

/** SHA-256 of a certificate. */
export function hashOf(name: Name): Uint8Array {
  return readCertificate(pem(name)).hash;
}

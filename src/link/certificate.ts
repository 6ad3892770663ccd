import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { sha256 } from "../base/digest.ts";
import { ConnectError } from "../base/errors.ts";
import { printable } from "../base/printable.ts";

/** A certificate, with those that lead to its CA behind it, and its private key: PEM texts. */
export type KeyPair = Readonly<{ cert: string; key: string }>;

/** What a certificate says. Its texts are safe to show. */
export type Certificate = Readonly<{
  /** SHA-256 of its DER. */
  hash: Uint8Array;
  subject: string;
  issuer: string;
  /** Hosts and addresses it is for; empty if it names none. */
  names: string;
  /** It is good from then, and until then. */
  fromMs: number;
  untilMs: number;
}>;

/** @param certificate DER, or PEM: then the first one counts. @throws {Error} if it is none. */
export function readCertificate(certificate: string | Uint8Array): Certificate {
  const parsed = new X509Certificate(certificate);
  return {
    hash: sha256(new Uint8Array(parsed.raw)),
    subject: oneLine(parsed.subject),
    issuer: oneLine(parsed.issuer),
    names: oneLine(parsed.subjectAltName),
    fromMs: Date.parse(parsed.validFrom),
    untilMs: Date.parse(parsed.validTo),
  };
}

/**
 * Checks that a certificate and a key belong together.
 *
 * @param what The subject of the error's sentence.
 * @throws {ConnectError} if they cannot be used.
 */
export function readKeyPair({ cert, key }: KeyPair, what: string): Certificate {
  const certificate = attempt(() => new X509Certificate(cert));
  if (certificate === undefined) {
    throw unusable(
      what,
      'the certificate is not one in PEM form, which begins "-----BEGIN CERTIFICATE-----"',
    );
  }
  const privateKey = readKey(key, what);
  // Not every runtime objects to two that do not match, before the first connection fails.
  if (!certificate.checkPrivateKey(privateKey)) {
    throw unusable(what, "the private key belongs to another certificate");
  }
  return readCertificate(cert);
}

/** @throws {ConnectError} if `pem` holds a certificate that cannot be read, or none. */
export function checkAuthorities(pem: string, what: string): void {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw unusable(what, "it holds no certificate in PEM form");
  const bad = blocks.findIndex((block) => attempt(() => new X509Certificate(block)) === undefined);
  if (bad >= 0) throw unusable(what, `its certificate number ${bad + 1} cannot be read`);
}

/** Why a certificate is not good at this moment, as the end of "its certificate ..."; undefined if it is. */
export function dateFault({ fromMs, untilMs }: Certificate, nowMs: number): string | undefined {
  if (nowMs > untilMs) return `expired at ${isoDate(untilMs)}; it is ${isoDate(nowMs)} here`;
  if (nowMs < fromMs) return `is good from ${isoDate(fromMs)} on only; it is ${isoDate(nowMs)} here`;
  return undefined;
}

/** `2028-02-27T10:00:00Z`. */
export function isoDate(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+/, "");
}

function readKey(key: string, what: string): KeyObject {
  if (/-----BEGIN ENCRYPTED |^Proc-Type: 4,ENCRYPTED/m.test(key)) {
    throw unusable(
      what,
      "the private key has a passphrase; write one without by `openssl pkey -in FILE -out NEW`, in a file of mode 0600",
    );
  }
  return attempt(() => createPrivateKey(key)) ??
    fail(unusable(what, "the private key is not one in PEM form"));
}

function unusable(what: string, why: string): ConnectError {
  return new ConnectError(`Cannot use ${what}: ${why}.`);
}

function oneLine(text: string | undefined): string {
  return printable((text ?? "").replaceAll("\n", ", "));
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

function fail(error: Error): never {
  throw error;
}

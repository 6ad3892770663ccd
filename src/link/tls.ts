import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import * as tls from "node:tls";
import { type ConnectionOptions, createServer, type Server, type TLSSocket } from "node:tls";
import { formatFingerprint, isSameBytes, sha256 } from "../lib/bytes.ts";
import { wallMs } from "../lib/clock.ts";
import { ConnectError } from "../lib/errors.ts";
import { printable } from "../lib/text.ts";

/**
 * What a TLS error before WELCOME means, as the end of a sentence, if another try cannot help; undefined for all other
 * errors, network errors included. Runtimes share these codes, but not the texts.
 */
export function hopelessTlsFault(code: string | undefined): string | undefined {
  switch (code) {
    case "ERR_SSL_WRONG_VERSION_NUMBER":
      return "what answers there does not speak TLS; start this slave without TLS options, or the master with --tls-cert " +
        "and --tls-key";
    case "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION":
    case "ERR_SSL_UNSUPPORTED_PROTOCOL":
      return "what answers there speaks only TLS before 1.3";
    case "ERR_SSL_BAD_SIGNATURE":
    // Deno uses this code for it. Here it says nothing about the chain, which is judged later.
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
      return "what answers there shows a certificate whose key it does not hold: something on the way poses as the master";
    case "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED":
    case "ERR_SSL_TLSV1_ALERT_CERTIFICATE_REQUIRED":
      return "it asks for a client certificate; give one with --tls-cert and --tls-key";
    default:
      return undefined;
  }
}

/** A certificate, followed by those that lead to its CA, and its private key: PEM texts. */
export type KeyPair = Readonly<{ cert: string; key: string }>;

/** What a certificate says. Its texts are safe to show. */
export type Certificate = Readonly<{
  /** SHA-256 of its DER. */
  hash: Uint8Array;
  subject: string;
  issuer: string;
  /** Hosts and addresses it is valid for; empty if it names none. */
  names: string;
  /** It is valid from `fromMs` until `untilMs`. */
  fromMs: number;
  untilMs: number;
}>;

/**
 * @param certificate DER; or PEM, of which the first certificate is read. @throws {Error} if it is not a certificate.
 */
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
  // Not every runtime rejects a mismatch before the first connection fails.
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

/** Why a certificate is not valid now, as the end of "its certificate ..."; undefined if it is valid. */
export function dateFault({ fromMs, untilMs }: Certificate, nowMs: number): string | undefined {
  if (nowMs > untilMs) return `expired at ${isoDate(untilMs)}; it is ${isoDate(nowMs)} here`;
  if (nowMs < fromMs) return `is good from ${isoDate(fromMs)} on only; it is ${isoDate(nowMs)} here`;
  return undefined;
}

/** Such as `2028-02-27T10:00:00Z`. */
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

/** Which certificates of a master are trusted. */
export type Trust =
  /** One certificate, whatever its names and dates: the SHA-256 of its DER. */
  | Readonly<{ kind: "pin"; hash: Uint8Array }>
  /** Certificates for the dialed host, signed by one of these CAs (PEM). */
  | Readonly<{ kind: "ca"; ca: string }>
  /** Certificates for the dialed host, signed by a CA that this system trusts. */
  | Readonly<{ kind: "system" }>;

/** TLS at a slave. */
export type SlaveTls = Readonly<{
  trust: Trust;
  /** The certificate for a master that asks for one. */
  identity?: KeyPair | undefined;
}>;

/** Connects a slave to its master by TLS 1.3, and judges the master's certificate. */
export class TlsClient {
  readonly #trust: Trust;
  readonly #options: ConnectionOptions;

  /** @throws {ConnectError} if certificate, key or CA cannot be used. */
  constructor({ trust, identity }: SlaveTls) {
    this.#trust = trust;
    if (trust.kind === "ca") checkAuthorities(trust.ca, "the CA of the master's certificate");
    if (identity) readKeyPair(identity, "this slave's certificate");
    const ca = authorities(trust);
    this.#options = {
      minVersion: "TLSv1.3",
      ...(ca === undefined ? {} : { ca }),
      ...(identity === undefined ? {} : { cert: identity.cert, key: identity.key }),
      // `judge` decides, even for a pin, so that it can tell what it saw.
      rejectUnauthorized: false,
    };
  }

  /** Nothing may be written before `judge` accepted the certificate. */
  connect(host: string, port: number): TLSSocket {
    return tls.connect({ ...this.#options, host, port });
  }

  /**
   * The hash of the master's certificate if it is trusted; otherwise why not, as the end of a sentence.
   *
   * @param socket A socket whose TLS is established, so the peer has proved that it holds the certificate's key.
   */
  judge(socket: TLSSocket, host: string): Readonly<{ hash: Uint8Array }> | Readonly<{ fault: string }> {
    const { raw } = socket.getPeerCertificate();
    if (!raw) return { fault: "it showed no certificate" };
    const certificate = readCertificate(raw);
    const { hash } = certificate;
    if (this.#trust.kind === "pin") {
      return isSameBytes(this.#trust.hash, hash)
        ? { hash }
        : { fault: otherThanPinned(this.#trust.hash, hash) };
    }
    if (socket.authorized === true) return { hash };
    return { fault: this.#distrust(certificate, socket.authorizationError, host) };
  }

  #distrust(certificate: Certificate, error: unknown, host: string): string {
    const seen = `its fingerprint is ${
      formatFingerprint(certificate.hash)
    }, and the master prints its own at its start`;
    const outOfDate = dateFault(certificate, wallMs());
    if (outOfDate !== undefined) return `its certificate ${outOfDate}; give the master a new one`;
    const code = error instanceof Error
      ? (error as NodeJS.ErrnoException).code ?? error.message
      : String(error);
    if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
      return `its certificate is for ${
        certificate.names || "no host at all"
      }, and not for ${host}, which this slave dialed; ` +
        `dial by such a name, or pin the certificate with --tls-pin: ${seen}`;
    }
    const signers = this.#trust.kind === "ca" ? "--tls-ca" : "this system's CAs";
    return `its certificate (${certificate.subject}, issued by ${certificate.issuer}) is signed by none of ${signers} (${code}); ` +
      `name its CA with --tls-ca, or pin the certificate with --tls-pin: ${seen}`;
  }
}

/**
 * The CAs to trust; undefined for those of the runtime. A pin needs none but gets one, because Deno shares a session
 * cache among clients without any, and a resumed session shows the certificate that it began with.
 */
function authorities(trust: Trust): string | string[] | undefined {
  if (trust.kind === "ca") return trust.ca;
  // Node before 22.15 does not know the system's CAs.
  const own = trust.kind === "pin"
    ? tls.rootCertificates.slice(0, 1)
    : tls.getCACertificates?.("system") ?? [];
  return own.length > 0 ? own : undefined;
}

function otherThanPinned(pinned: Uint8Array, seen: Uint8Array): string {
  return `its certificate is not the one that is pinned: --tls-pin says ${formatFingerprint(pinned)}, ` +
    `it showed ${
      formatFingerprint(seen)
    }; if the master has a new certificate, take the line that it prints at its start`;
}

/** TLS at a master. */
export type MasterTls = Readonly<
  KeyPair & {
    /** PEM: slaves must show a certificate signed by one of these CAs. */
    ca?: string | undefined;
  }
>;

/** TLS is established; `fault`, if any, is what is wrong with the client's certificate. */
type OnPassed = (socket: TLSSocket, fault: string | undefined) => void;

/**
 * Takes connections from TCP to TLS 1.3. It does not listen; the handshake queue decides who may connect and how long
 * that may take.
 */
export class TlsGate {
  /** SHA-256 of the master's certificate. */
  readonly certificateHash: Uint8Array;
  readonly #server: Server;
  readonly #asksCertificate: boolean;
  /** Callbacks by both addresses of a connection: the server passes on only the secured socket. */
  readonly #passing = new Map<string, OnPassed>();

  /** @throws {ConnectError} if certificate, key or CA cannot be used. */
  constructor({ cert, key, ca }: MasterTls) {
    this.certificateHash = readKeyPair({ cert, key }, "this master's certificate").hash;
    if (ca !== undefined) checkAuthorities(ca, "the CA of the slaves' certificates");
    this.#asksCertificate = ca !== undefined;
    this.#server = createServer({
      cert,
      key,
      minVersion: "TLSv1.3",
      ...(ca === undefined ? {} : { ca, requestCert: true }),
      // `#faultOf` judges instead: with TLS 1.3 a client rejected here sees only a reset.
      rejectUnauthorized: false,
    }, (socket) => this.#passed(socket));
    // Otherwise its socket stays open.
    this.#server.on("tlsClientError", (_error, socket) => socket.destroy());
  }

  /**
   * Starts TLS and calls `onPassed` once it is established. If it never is, the socket closes or its owner must destroy
   * it.
   */
  pass(socket: Socket, onPassed: OnPassed): void {
    const ends = endsOf(socket);
    this.#passing.set(ends, onPassed);
    socket.once("close", () => {
      if (this.#passing.get(ends) === onPassed) this.#passing.delete(ends);
    });
    this.#server.emit("connection", socket);
  }

  #passed(socket: TLSSocket): void {
    socket.on("error", () => {});
    const ends = endsOf(socket);
    const onPassed = this.#passing.get(ends);
    this.#passing.delete(ends);
    if (onPassed) onPassed(socket, this.#faultOf(socket));
    else socket.destroy();
  }

  #faultOf(socket: TLSSocket): string | undefined {
    if (!this.#asksCertificate) return undefined;
    const { raw } = socket.getPeerCertificate();
    if (!raw) return "it showed no certificate";
    if (socket.authorized === true) return undefined;
    const certificate = readCertificate(raw);
    const fault = dateFault(certificate, wallMs()) ?? `is signed by none of the CAs in --tls-ca`;
    return `its certificate (${certificate.subject}) ${fault}`;
  }
}

function endsOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}

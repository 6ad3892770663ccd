import { wallMs } from "../base/clock.ts";
import * as tls from "node:tls";
import type { ConnectionOptions, TLSSocket } from "node:tls";
import { formatFingerprint } from "../base/fingerprint.ts";
import { isSameBytes } from "../base/same_bytes.ts";
import {
  type Certificate,
  checkAuthorities,
  dateFault,
  type KeyPair,
  readCertificate,
  readKeyPair,
} from "./certificate.ts";

/** Which certificates of a master are trusted. */
export type Trust =
  /** That one alone, whatever its names and dates: the SHA-256 of its DER. */
  | Readonly<{ kind: "pin"; hash: Uint8Array }>
  /** Those for the host that was dialed, signed by these (PEM). */
  | Readonly<{ kind: "ca"; ca: string }>
  /** Those for the host that was dialed, signed by a CA that this system trusts. */
  | Readonly<{ kind: "system" }>;

/** TLS at a slave. */
export type SlaveTls = Readonly<{
  trust: Trust;
  /** What it shows to a master that asks for a certificate. */
  identity?: KeyPair | undefined;
}>;

/** Takes a slave to its master by TLS 1.3, and judges the certificate that it is shown. */
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
      // `judge` decides, for a pin too, and can then say what it saw.
      rejectUnauthorized: false,
    };
  }

  /** Nothing may be written before `judge` was content. */
  connect(host: string, port: number): TLSSocket {
    return tls.connect({ ...this.#options, host, port });
  }

  /**
   * Why the master's certificate is not trusted, as the end of a sentence; else its hash.
   *
   * @param socket Whose TLS is established, and so whose peer proved that it holds the certificate's key.
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
 * Undefined: those that the runtime brings along. A pin asks nobody, but is given one: clients without any share a cache
 * of sessions in Deno, and one that is resumed shows the certificate that it began with.
 */
function authorities(trust: Trust): string | string[] | undefined {
  if (trust.kind === "ca") return trust.ca;
  // Node before 22.15 does not know those of the system.
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

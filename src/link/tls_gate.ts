import { wallMs } from "../base/clock.ts";
import type { Socket } from "node:net";
import { createServer, type Server, type TLSSocket } from "node:tls";
import { checkAuthorities, dateFault, type KeyPair, readCertificate, readKeyPair } from "./certificate.ts";

/** TLS at a master. */
export type MasterTls = Readonly<
  KeyPair & {
    /** PEM: slaves must show a certificate that one of these signed. */
    ca?: string | undefined;
  }
>;

/** The connection speaks TLS; `fault`, if any, is what is wrong with the client's certificate. */
export type OnPassed = (socket: TLSSocket, fault: string | undefined) => void;

/**
 * Takes connections from TCP to TLS 1.3. It listens nowhere itself: who may come in, and how long that may take, is
 * the lobby's.
 */
export class TlsGate {
  /** SHA-256 of the master's certificate. */
  readonly certificateHash: Uint8Array;
  readonly #server: Server;
  readonly #asksCertificate: boolean;
  /** By both addresses: the server tells the secured connection alone. */
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
      // The gate judges by itself, in `#faultOf`: to a client that is rejected here, TLS 1.3 shows a reset.
      rejectUnauthorized: false,
    }, (socket) => this.#passed(socket));
    // Its socket stays open otherwise.
    this.#server.on("tlsClientError", (_error, socket) => socket.destroy());
  }

  /** `onPassed` is called once TLS is established; if it never is, the socket closes, or is its owner's to destroy. */
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

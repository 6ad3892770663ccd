import { formatFingerprint } from "../lib/bytes.ts";
import { ConnectError, UsageError } from "../lib/errors.ts";
import { isLoopback } from "../lib/units.ts";
import {
  checkAuthorities,
  isoDate,
  type KeyPair,
  type MasterTls,
  readCertificate,
  readKeyPair,
  type SlaveTls,
  type Trust,
} from "../link/tls.ts";
import type { SlaveOptions } from "../slave/types.ts";
import type { TlsGreeting } from "../terminal/greeting.ts";
import type { Invocation } from "./command.ts";
import { hostDefault, type Settings } from "./options.ts";
import { compiledBinary } from "./program.ts";
import { readPublicFile, readSecretFile } from "./secret_file.ts";
import type { Environment } from "./settings.ts";
import { resolveToken, tokenBytes } from "./token.ts";

/** Longest private key file: an RSA key of 16,384 bits has 13 KB. */
const keyBytesMax = 64 << 10;
/** Longest file of certificates: all the CAs that Mozilla trusts take 220 KB. */
const pemBytesMax = 4 << 20;

/**
 * What the options say about TLS at a master; undefined for none.
 *
 * @throws {UsageError} if options are missing; {ConnectError} if a file cannot be used.
 */
export async function masterTls(settings: Settings, env: Environment): Promise<MasterTls | undefined> {
  const { tls, "tls-cert": cert, "tls-ca": ca } = settings;
  if (cert === undefined && settings["tls-key"] === undefined) {
    if (!tls && ca === undefined) return undefined;
    throw new UsageError(
      `${
        ca === undefined ? "--tls" : "--tls-ca"
      } at a master needs --tls-cert FILE and --tls-key FILE: a certificate that ` +
        "the master shows to its slaves. `taskmaster cert` makes one.",
    );
  }
  const pair = await readPair(settings, env);
  return ca === undefined ? pair : { ...pair, ca: await readAuthorities(ca) };
}

/** Where a client finds its master, what it proves to it, and what it trusts. */
export type MasterAccess = Pick<SlaveOptions, "host" | "port" | "token" | "tokenFrom" | "tls">;

/**
 * What the options say of the master to connect to.
 *
 * @param waitMs how long to wait for the token, which a master on this machine may be about to make.
 * @throws {UsageError} if options are missing or contradict each other; {ConnectError} if there is no token, or a file
 *   cannot be used.
 */
export async function masterAccess(
  settings: Settings,
  { line, env, tokenText }: Invocation,
  warn: (sentence: string) => void,
  waitMs = 0,
): Promise<MasterAccess> {
  const address = settings.host ?? hostDefault(line.command);
  const token = settings.insecure ? undefined : await resolveToken({
    file: settings["token-file"],
    text: tokenText,
    env,
    binary: compiledBinary(),
    mayCreate: false,
    warn,
    waitMs: isLoopback(address.host) ? waitMs : 0,
  });
  return {
    ...address,
    token: token === undefined ? null : tokenBytes(token.text),
    tokenFrom: token?.isNamed ? token.from : undefined,
    tls: await clientTls(settings, env),
  };
}

/** What the options say about TLS at a slave, or at another client; undefined for none. */
export async function clientTls(settings: Settings, env: Environment): Promise<SlaveTls | undefined> {
  const { "tls-cert": cert, "tls-key": key } = settings;
  const trust = await readTrust(settings);
  if (cert === undefined && key === undefined) return trust && { trust };
  if (trust !== undefined) return { trust, identity: await readPair(settings, env) };
  throw new UsageError(
    "--tls-cert and --tls-key at a slave are what it shows to its master. Say by which certificate it knows the master, " +
      "too: --tls-pin (the master prints it), --tls-ca FILE, or --tls for the CAs of this system.",
  );
}

/** What a master says of its certificate at the start. */
export function tlsGreeting({ cert, ca }: MasterTls): TlsGreeting {
  const { hash, names, untilMs } = readCertificate(cert);
  const about = `the certificate is for ${names || "no host"}, good until ${isoDate(untilMs)}`;
  return { fingerprint: formatFingerprint(hash), about, asksSlaves: ca !== undefined };
}

/** Describes for a person how the slave authenticates its master: the trust anchor. */
export function trustInWords({ trust }: SlaveTls, settings: Settings): string {
  if (trust.kind === "pin") return "its pinned certificate";
  return trust.kind === "ca"
    ? `a certificate of ${settings["tls-ca"]}`
    : "a certificate of this system's CAs";
}

async function readTrust(settings: Settings): Promise<Trust | undefined> {
  const { tls, "tls-pin": hash, "tls-ca": ca } = settings;
  if (hash !== undefined && ca !== undefined) {
    throw new UsageError(
      "--tls-pin and --tls-ca are two ways to know the master: by the one certificate, or by the CA that signed it and the " +
        "name. Give one of them.",
    );
  }
  if (hash !== undefined) return { kind: "pin", hash };
  if (ca !== undefined) return { kind: "ca", ca: await readAuthorities(ca) };
  return tls ? { kind: "system" } : undefined;
}

async function readPair(settings: Settings, env: Environment): Promise<KeyPair> {
  const { "tls-cert": certPath, "tls-key": keyPath } = settings;
  if (certPath === undefined || keyPath === undefined) {
    const [has, lacks] = certPath === undefined ? ["--tls-key", "--tls-cert"] : ["--tls-cert", "--tls-key"];
    throw new UsageError(
      `${has} needs ${lacks} FILE as well: a certificate and its private key go together.`,
    );
  }
  const key = await readSecretFile({
    path: keyPath,
    what: "private key",
    bytesMax: keyBytesMax,
    otherwise: "Name another file with --tls-key.",
    credentialsFolder: env["CREDENTIALS_DIRECTORY"],
  });
  if (key === undefined) throw missing("private key", keyPath, "--tls-key");
  const pair = { cert: await readPem(certPath, "certificate", "--tls-cert"), key };
  readKeyPair(pair, `${certPath} with ${keyPath}`);
  return pair;
}

async function readAuthorities(path: string): Promise<string> {
  const pem = await readPem(path, "CA file", "--tls-ca");
  checkAuthorities(pem, path);
  return pem;
}

async function readPem(path: string, what: string, flag: string): Promise<string> {
  const otherwise = `Name another file with ${flag}.`;
  const pem = await readPublicFile({ path, what, bytesMax: pemBytesMax, otherwise });
  if (pem === undefined) throw missing(what, path, flag);
  return pem;
}

function missing(what: string, path: string, flag: string): ConnectError {
  return new ConnectError(
    `There is no ${what} ${path} (${flag}): \`taskmaster cert\` makes a certificate and its key.`,
  );
}

import { execFile } from "node:child_process";
import { chmod, constants, copyFile, mkdtemp, readFile, rm } from "node:fs/promises";
import { isIP } from "node:net";
import { hostname, networkInterfaces } from "node:os";
import { dirname, join } from "node:path";
import { formatFingerprint } from "../../lib/bytes.ts";
import { ConnectError, UsageError } from "../../lib/errors.ts";
import { printable } from "../../lib/text.ts";
import { type Certificate, isoDate, readKeyPair } from "../../link/tls.ts";
import { shellQuote } from "../../terminal/text_width.ts";
import type { Invocation } from "../command.ts";
import { options } from "../options.ts";
import { programWords } from "../program.ts";
import { settle } from "../settings.ts";

/** The longest that browsers and Apple's libraries take. */
const days = 825;
const opensslMs = 30_000;

export type CertificateFiles = Readonly<{ certPath: string; keyPath: string; hosts: readonly string[] }>;

/**
 * Makes a self-signed certificate for these hosts and its private key, by the system's openssl. Neither file is ever
 * overwritten, and the key is at no moment readable by others.
 *
 * @throws {UsageError} if a file is there already, or there is no openssl. {ConnectError} if it fails.
 */
export async function makeCertificate({ certPath, keyPath, hosts }: CertificateFiles): Promise<Certificate> {
  const folder = await makeFolder(dirname(keyPath));
  try {
    const cert = join(folder, "cert.pem"), key = join(folder, "key.pem");
    await openssl(opensslWords(cert, key, hosts), opensslWords(certPath, keyPath, hosts));
    await chmod(key, 0o600);
    const pair = { cert: await readFile(cert, "utf8"), key: await readFile(key, "utf8") };
    const made = readKeyPair(pair, "what openssl made");
    await place(key, keyPath, "--tls-key");
    await place(cert, certPath, "--tls-cert").catch(async (error) => {
      await rm(keyPath, { force: true });
      throw error;
    });
    return made;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The arguments with which `openssl` makes a P-256 key and its certificate. */
function opensslWords(certPath: string, keyPath: string, hosts: readonly string[]): string[] {
  const names = hosts.map((host) => isIP(host) === 0 ? `DNS:${host}` : `IP:${host}`).join(",");
  return [
    ..."req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=taskmaster".split(" "),
    ...["-days", `${days}`, "-keyout", keyPath, "-out", certPath],
    ...["-addext", `subjectAltName=${names}`, "-addext", "basicConstraints=critical,CA:FALSE"],
  ];
}

function openssl(words: readonly string[], shown: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile("openssl", words, { timeout: opensslMs }, (error, _stdout, stderr) => {
      if (error === null) return resolve();
      const keyPath = shown[shown.indexOf("-keyout") + 1]!;
      const below = [
        "",
        `  ${shellQuote(["openssl", ...shown])}`,
        `  ${shellQuote(["chmod", "600", keyPath])}`,
      ];
      if (error.code as unknown === "ENOENT") {
        return reject(
          new UsageError(
            `There is no openssl on this machine, which is needed to make a certificate. Install it, or make both files on ` +
              "another machine and copy them here:",
            { below },
          ),
        );
      }
      const why = stderr.trim().split("\n").at(-1) ?? error.message;
      reject(
        new ConnectError(`Cannot make a certificate: openssl failed (${why}). Its command:`, { below }),
      );
    });
  });
}

/** Of this user alone, and where the files are to be, so that a full disk shows here. */
async function makeFolder(parent: string): Promise<string> {
  try {
    return await mkdtemp(join(parent, ".taskmaster-cert-"));
  } catch (error) {
    throw new ConnectError(
      `Cannot make a certificate in ${parent}: ${
        (error as Error).message
      }. Name other files with --tls-cert and --tls-key.`,
      { cause: error },
    );
  }
}

async function place(from: string, path: string, flag: string): Promise<void> {
  try {
    await copyFile(from, path, constants.COPYFILE_EXCL);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") {
      throw new UsageError(
        `The file ${path} is there already, and is not overwritten: name another with ${flag}, or remove it.`,
      );
    }
    throw new ConnectError(`Cannot write ${path}: ${(error as Error).message}.`, { cause: error });
  }
}

/** Makes a self-signed certificate and its key, and says how they are used. */
export async function cert({ line, env, argv }: Invocation): Promise<number> {
  const settings = settle(line, env);
  const certPath = settings["tls-cert"] ?? options["tls-cert"].commands.cert.defaultText;
  const keyPath = settings["tls-key"] ?? options["tls-key"].commands.cert.defaultText;
  const hosts = settings.name ?? ownHosts();
  const { hash, names, untilMs } = await makeCertificate({ certPath, keyPath, hosts });
  const fingerprint = formatFingerprint(hash);
  const program = programWords({ env, argv });
  const files = ["--tls-cert", certPath, "--tls-key", keyPath];
  process.stdout.write([
    printable(
      `Made ${certPath} and its private key ${keyPath}, for ${names}, good until ${isoDate(untilMs)}`,
      Infinity,
    ),
    `Fingerprint: ${fingerprint}`,
    "",
    `On the master:  ${shellQuote([...program, "master", "PLUGIN", ...files])}`,
    `On each slave:  ${
      shellQuote([...program, "slave", "PLUGIN", "--host", `${hosts[0]}:5050`])
    } --tls-pin ${fingerprint}`,
    "",
  ].join("\n"));
  return 0;
}

/** How others may dial this machine, the name first; and how it dials itself. */
function ownHosts(): string[] {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? [])
    .map(({ address }) => address).filter((address) => !address.startsWith("fe80:"));
  return [...new Set([hostname(), "localhost", ...addresses])];
}

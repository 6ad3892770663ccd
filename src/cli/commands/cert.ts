import { hostname, networkInterfaces } from "node:os";
import { UsageError } from "../../base/errors.ts";
import { printable } from "../../base/printable.ts";
import { formatFingerprint } from "../../base/fingerprint.ts";
import { isoDate } from "../../link/certificate.ts";
import { shellQuote } from "../../terminal/shell_quote.ts";
import type { Invocation } from "../invocation.ts";
import { programWords } from "../program.ts";
import { settle } from "../settings.ts";
import { makeCertificate } from "../tls/make_certificate.ts";

/** Makes a self-signed certificate and its key, and says how they are used. */
export async function cert({ line, env, argv }: Invocation): Promise<number> {
  if (line.words.length > 0) {
    throw new UsageError(
      "`taskmaster cert` takes no words: names go behind --name. See `taskmaster help cert`.",
    );
  }
  const settings = settle(line, env);
  const certPath = settings["tls-cert"] ?? "taskmaster-cert.pem";
  const keyPath = settings["tls-key"] ?? "taskmaster-key.pem";
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

import { type Address, formatAddress, isLoopback } from "../lib/units.ts";
import type { Resumed } from "../observe/events.ts";
import { shellQuote } from "./text_width.ts";

const notEncrypted =
  "Connections are authenticated at connect; not encrypted, not protected against tampering";

/** What a master shows of its certificate. */
export type TlsGreeting = Readonly<{
  fingerprint: string;
  /** In words: what it is for, until when. */
  about: string;
  /** Whether slaves must show one too. */
  asksSlaves: boolean;
}>;

type Greeting = Readonly<{
  /** Where the master really listens, and where others reach it. */
  bound: Address;
  reachable: Address;
  /** The plugin as a slave is to name it: its path as it was typed, and its export if that is a whole plugin. */
  plugin: string;
  isInsecure: boolean;
  /** Null without TLS. */
  tls: TlsGreeting | null;
  /** Whether other slaves are expected to join. */
  mayJoin: boolean;
}>;

/** A master's first lines. */
export function greetingLines({ bound, reachable, plugin, isInsecure, tls, mayJoin }: Greeting): string[] {
  const lines = [`Taskmaster server running on '${formatAddress(bound)}'`];
  const join = [
    "taskmaster",
    "slave",
    plugin,
    "--host",
    formatAddress(reachable),
    ...(isInsecure ? ["--insecure"] : []),
    ...(tls === null ? [] : ["--tls-pin", tls.fingerprint]),
    ...(tls?.asksSlaves ? ["--tls-cert", "slave-cert.pem", "--tls-key", "slave-key.pem"] : []),
  ];
  if (mayJoin) lines.push(`Join with: ${shellQuote(join)}`);
  if (tls !== null) lines.push(`Encrypted: TLS 1.3; ${tls.about}`);
  if (tls?.asksSlaves) {
    lines.push("Slaves are asked for a certificate, too: slave-cert.pem stands for their own");
  }
  if (isInsecure) {
    const who = tls?.asksSlaves ? "shows such a certificate" : "can connect";
    lines.push(`Insecure: no token is asked for, whoever ${who} can take jobs`);
  } else if (tls === null && !isLoopback(bound.host)) lines.push(notEncrypted);
  return lines;
}

/**
 * A slave's first lines, of a connection to this host: what its connection is worth.
 *
 * @param trust By what it knows its master, with TLS.
 */
export function slaveGreetingLines(host: string, isInsecure: boolean, trust?: string): string[] {
  const encrypted = trust === undefined ? [] : [`Encrypted: TLS 1.3; the master is known by ${trust}`];
  if (isInsecure) {
    const who = trust === undefined
      ? "whoever listens there can hand out jobs"
      : "its certificate alone does";
    return [...encrypted, `Insecure: no token proves the master, ${who}`];
  }
  return trust === undefined && !isLoopback(host) ? [notEncrypted] : encrypted;
}

/** Says what is resumed. Of a fresh start there is nothing to say: none (null), or one that handed out nothing. */
export function resumeLine(resumed: Resumed | null, statePath: string): string | undefined {
  if (resumed === null || (resumed.handedOut === 0 && !resumed.complete)) return undefined;
  const { done, skipped, dead, stranded } = resumed;
  const settled = `${done + skipped + dead} jobs settled (${done} done, ${skipped} skipped, ${dead} dead)`;
  if (resumed.complete) {
    return `This run was finished: ${settled}. Only jobs that appeared since are handed out; --reset starts over. State: ${statePath}`;
  }
  return `Resuming: ${settled}, ${stranded} handed out and unfinished run first. State: ${statePath}`;
}

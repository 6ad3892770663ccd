import type { LogSettings } from "../lib/log.ts";
import { type Address, formatAddress } from "../lib/units.ts";
import type { MasterSettings } from "../master/types.ts";
import type { SlaveSettings } from "../slave/types.ts";
import type { Allowed, Kind, ValueOf } from "./kinds.ts";

/** The commands that have options; `worker` is for our own processes and takes none. */
export type CommandName =
  | "run"
  | "master"
  | "slave"
  | "status"
  | "ctl"
  | "state"
  | "dead"
  | "token"
  | "cert"
  | "help"
  | "version";

/**
 * Who takes options under names of its own: each field of its settings has a row here, and each row that names it a
 * field.
 */
export type Readers = Readonly<{
  /** A master, of what was settled. */
  master: MasterSettings;
  /** A slave, of what was given: where nothing was, its plugin counts, or its master. */
  slave: SlaveSettings;
  /** The log of a program, and that of its workers. */
  log: LogSettings;
}>;

export type Option =
  & Allowed
  & Readonly<{
    kind: Kind;
    /** What stands for the value in help; none for a switch. */
    value?: string;
    /** As it would be written behind the flag; read by the same reader. */
    default?: string;
    /** A default in words, where it is not a value. */
    defaultText?: string;
    /** The commands that have it, each with what is different there. */
    commands: Readonly<Partial<Record<CommandName, AtCommand>>>;
    /** May stand in a plugin's `options` export. */
    inPlugin?: true;
    /** A good value, for error messages. */
    example?: string;
    help: string;
    /**
     * For one start only. No variable sets it (left in the environment, it would start every resume over), and the command
     * that resumes a run is shown without it.
     */
    once?: true;
    /** The slave of a `run` has it as the run was given it; no other option of a slave reaches that one. */
    localSlave?: true;
  }>
  & Readonly<Partial<{ [R in keyof Readers]: keyof Readers[R] }>>;

/** What an option is at one command, where that differs from its row. */
type AtCommand = Readonly<{
  help?: string;
  defaultText?: string;
  /** The variable that sets it, null for none, where it is not TASKMASTER_ and its name. */
  variable?: string | null;
}>;

/** What `--host` leaves out. A master listens on every address; whoever connects does so to this machine. */
export function hostDefault(command: CommandName): Address {
  return { host: command === "master" ? "0.0.0.0" : "127.0.0.1", port: 5050 };
}

/** Whether a command connects to a master, and so needs to know where to. */
export function isClient(command: CommandName): boolean {
  return Object.hasOwn(atClient, command);
}

const atMaster = { run: {}, master: {} } as const;
const atSlave = { run: {}, slave: {} } as const;
const running = { run: {}, master: {}, slave: {} } as const;
/** The commands that connect to a master, and how they know each other. */
const atClient = { slave: {}, status: {}, ctl: {} } as const;
const networked = { master: {}, ...atClient } as const;
const named = { run: {}, master: {}, state: {}, dead: {}, status: {}, ctl: {} } as const;
/** The master that a client is to reach. */
const masterToReach = {
  help: "the master to connect to: `h`, `:p`, `h:p`, `[v6]:p`",
  variable: "TASKMASTER_HOST",
} as const;
const masterToAsk = {
  ...masterToReach,
  defaultText: "the one that the lock file of that run names",
} as const;

/** Every option, in the order help shows them. The environment variable of `size-bytes` is TASKMASTER_SIZE_BYTES. */
export const options = {
  "host": {
    kind: "address",
    value: "h:p",
    example: "10.0.0.5:5050",
    commands: {
      run: {
        defaultText: `${formatAddress(hostDefault("run"))}, or a free port if that is taken`,
        variable: null,
      },
      master: { defaultText: formatAddress(hostDefault("master")), variable: "TASKMASTER_LISTEN" },
      slave: { ...masterToReach, defaultText: formatAddress(hostDefault("slave")) },
      status: masterToAsk,
      ctl: masterToAsk,
    },
    help: "where the master listens: `h`, `:p`, `h:p`, `[v6]:p`",
  },
  "key": {
    kind: "key",
    value: "NAME",
    example: "posts",
    commands: named,
    defaultText: "the plugin's file name",
    help: "names the run and its state file, <key>.state",
  },
  "state-dir": {
    kind: "text",
    value: "DIR",
    example: "/var/lib/taskmaster",
    commands: named,
    defaultText: "the plugin's folder",
    help: "where <key>.state and <key>.dead.ndjson live",
  },
  "reset": {
    kind: "switch",
    commands: atMaster,
    help:
      "start over; earlier state and dead letters are kept as .bak.<time>. Asks at a terminal if the run is unfinished, " +
      "unless --force is given too",
    once: true,
    master: "reset",
  },
  "force": {
    kind: "switch",
    commands: atMaster,
    help: "resume although the state is of another plugin or other arguments",
    once: true,
    master: "force",
  },
  "any-plugin": {
    kind: "switch",
    commands: { slave: {} },
    help: "run although this slave's plugin is not the master's",
    slave: "anyPlugin",
  },
  "size": {
    kind: "count",
    value: "N",
    default: "10000",
    example: "10000",
    min: 1,
    commands: atMaster,
    inPlugin: true,
    help: "most jobs yielded but not settled",
    master: "jobsMax",
  },
  "size-bytes": {
    kind: "size",
    value: "B",
    default: "64MiB",
    example: "64MiB",
    min: 1,
    commands: atMaster,
    inPlugin: true,
    help: "the same cap in encoded bytes",
    master: "bytesMax",
  },
  "procs": {
    kind: "count",
    value: "N",
    example: "4",
    min: 1,
    max: 4_096,
    commands: atSlave,
    inPlugin: true,
    defaultText: "number of CPUs",
    help: "worker processes",
    localSlave: true,
    slave: "procs",
  },
  "concurrency": {
    kind: "count",
    value: "N",
    default: "1",
    example: "100",
    min: 1,
    max: 100_000,
    commands: atSlave,
    inPlugin: true,
    help: "jobs in progress at once in each worker process",
    localSlave: true,
    slave: "concurrency",
  },
  "rate": {
    kind: "rate",
    value: "R",
    defaultText: "none",
    example: "100/s",
    commands: atMaster,
    inPlugin: true,
    help: "most attempts begun a second, minute or hour in the whole fleet, retries included",
    master: "ratePerSecond",
  },
  "max-in-flight": {
    kind: "count",
    value: "N",
    defaultText: "none",
    example: "50",
    min: 1,
    commands: atMaster,
    inPlugin: true,
    help: "most jobs in progress at once in the whole fleet",
    master: "inFlightMax",
  },
  "attempts": {
    kind: "count",
    value: "N",
    default: "3",
    example: "3",
    min: 1,
    commands: atMaster,
    inPlugin: true,
    help: "failures before a job becomes a dead letter",
    master: "failuresMax",
  },
  "backoff": {
    kind: "duration",
    value: "D",
    default: "1s",
    example: "1s",
    min: 0,
    commands: atMaster,
    inPlugin: true,
    help: "first retry delay; doubles with full jitter, up to 60s",
    master: "backoffMs",
  },
  "timeout": {
    kind: "duration",
    value: "D",
    defaultText: "none",
    example: "30s",
    min: 1,
    commands: atMaster,
    inPlugin: true,
    help: "longest one attempt may take",
    master: "timeoutMs",
  },
  "max-outage": {
    kind: "duration",
    value: "D",
    defaultText: "none; 5m once only failed jobs are left",
    example: "10m",
    min: 1_000,
    commands: atMaster,
    inPlugin: true,
    help:
      "stop, saved, after so long without a success while everything fails; where only failed jobs are left, take " +
      "them for bad instead",
    master: "maxOutageMs",
  },
  "max-dead": {
    kind: "size",
    value: "B",
    default: "1GiB",
    example: "1GiB",
    min: 1,
    commands: atMaster,
    inPlugin: true,
    help: "stop, saved, before the dead letters take more of the disk",
    master: "maxDeadBytes",
  },
  "heartbeat": {
    kind: "duration",
    value: "D",
    default: "5s",
    example: "5s",
    min: 500,
    max: 3_600_000,
    commands: { master: {} },
    inPlugin: true,
    help: "each side sends a beat after this long without sending; three silent ones lose a slave",
    master: "heartbeatMs",
  },
  "checkpoint": {
    kind: "pace",
    value: "D",
    default: "auto",
    example: "1s",
    min: 1,
    commands: atMaster,
    inPlugin: true,
    help:
      "how often changed state is saved; auto: between 50ms and 1s, such that it costs at most 2 % of the master's thread",
    master: "checkpointMs",
  },
  "grace": {
    kind: "duration",
    value: "D",
    default: "30s",
    example: "30s",
    min: 0,
    commands: running,
    inPlugin: true,
    help: "how long a stop waits for running jobs; a slave's own wins over its master's",
    localSlave: true,
    master: "graceMs",
    slave: "graceMs",
  },
  "token-file": {
    kind: "text",
    value: "F",
    example: "/run/secrets/taskmaster",
    commands: { ...atMaster, ...atClient, token: {} },
    help: "the shared secret; TASKMASTER_TOKEN holds the secret itself",
  },
  "insecure": {
    kind: "switch",
    commands: networked,
    help: "no token at all: whoever can connect can hand out or take jobs",
  },
  "tls-cert": {
    kind: "text",
    value: "FILE",
    example: "taskmaster-cert.pem",
    commands: {
      master: { help: "certificate (PEM) that this master shows; it switches TLS on" },
      ...atClient,
      slave: { help: "certificate (PEM) that this slave shows to a master that asks for one" },
      cert: { help: "where to write the certificate (PEM)", defaultText: "taskmaster-cert.pem" },
    },
    help: "certificate (PEM) to show to a master that asks for one",
  },
  "tls-key": {
    kind: "text",
    value: "FILE",
    example: "taskmaster-key.pem",
    commands: {
      ...networked,
      cert: {
        help: "where to write its private key, readable by its owner alone",
        defaultText: "taskmaster-key.pem",
      },
    },
    help: "its private key, readable by its owner alone",
  },
  "tls-ca": {
    kind: "text",
    value: "FILE",
    example: "ca.pem",
    commands: {
      master: { help: "slaves must show a certificate that one of these CAs (PEM) signed" },
      ...atClient,
    },
    help: "CAs (PEM) that sign the master's certificate",
  },
  "tls": {
    kind: "switch",
    commands: {
      master: { help: "TLS; it needs --tls-cert and --tls-key, which switch it on by themselves" },
      ...atClient,
    },
    help: "TLS, with a master whose certificate is signed by a CA of this system, or of --tls-ca",
  },
  "tls-pin": {
    kind: "pin",
    value: "SHA256",
    example: "AB:CD:...",
    commands: atClient,
    help: "TLS, with the one certificate of this SHA-256 fingerprint, whatever its names and dates",
  },
  "name": {
    kind: "hosts",
    value: "HOST",
    example: "web1,10.0.0.5",
    commands: { cert: {} },
    defaultText: "the names and addresses of this machine",
    help: "a name or address by which slaves dial the master; may be given again",
  },
  "write": {
    kind: "text",
    value: "FILE",
    example: "taskmaster.token",
    commands: { token: {} },
    help: "put the token into FILE, for other machines, rather than print it",
  },
  "json": {
    kind: "switch",
    commands: {
      ...running,
      state: { help: "print the state as JSON" },
      dead: { help: "print the letters, or those chosen, as JSON, one object a line, jobs in full" },
      status: { help: "print all that is known as JSON, one object a line" },
      ctl: { help: "print the answer as JSON" },
    },
    help: "newline-delimited JSON on stdout",
  },
  "group": {
    kind: "group",
    value: "G",
    example: "3f2a91bc",
    commands: { dead: {} },
    help: "only the letters of this group",
    once: true,
  },
  "seq": {
    kind: "seqs",
    value: "N,..",
    example: "17,18",
    commands: { dead: {} },
    help: "only the letters of these jobs, in full",
    once: true,
  },
  "watch": {
    kind: "switch",
    commands: { status: {} },
    help: "go on showing it, every second, until Ctrl-C or the end of the run",
  },
  "quiet": {
    kind: "switch",
    commands: running,
    help: "nothing but warnings and errors",
    localSlave: true,
    log: "isQuiet",
  },
  "log-level": {
    kind: "choice",
    value: "LEVEL",
    default: "info",
    example: "debug",
    choices: ["debug", "info", "warn", "error"],
    commands: running,
    help: "least serious log line shown: debug, info, warn, error",
    localSlave: true,
    log: "level",
  },
  "log-format": {
    kind: "choice",
    value: "FORMAT",
    default: "text",
    example: "json",
    choices: ["text", "json"],
    commands: running,
    help: "log lines on stderr as text or json",
    localSlave: true,
    log: "format",
  },
  "no-progress": { kind: "switch", commands: running, help: "no status line" },
  "status-interval": {
    kind: "duration",
    value: "D",
    default: "30s",
    example: "30s",
    min: 100,
    commands: running,
    help: "how often a plain status line comes where stderr is no terminal, or a shell has it",
  },
} as const satisfies Record<string, Option>;

export type OptionName = keyof typeof options;

type ValueIn<O extends Pick<Option, "kind">> = O extends { choices: readonly (infer C)[] } ? C
  : ValueOf<O["kind"]>;

/** Undefined only where an option has no default; times in milliseconds. */
export type Settings = {
  readonly [N in OptionName]: (typeof options)[N] extends { kind: "switch" } | { default: string }
    ? ValueIn<(typeof options)[N]>
    : ValueIn<(typeof options)[N]> | undefined;
};

/** The settings that a reader takes, under its own names. */
export type FieldsOf<R extends keyof Readers, S extends Partial<Settings>> = {
  readonly [
    N in OptionName as (typeof options)[N] extends Readonly<Record<R, infer F extends string>> ? F : never
  ]: S[N];
};

type Never<T extends never> = T;
/** Does not compile while a field of a reader has no row. */
export type EveryFieldHasARow = Never<
  { [R in keyof Readers]: Exclude<keyof Readers[R], keyof FieldsOf<R, Settings>> }[keyof Readers]
>;

/** All options with their names, seen as plain rows. */
export const optionRows: readonly (readonly [OptionName, Option])[] = Object.entries(options) as [
  OptionName,
  Option,
][];

/** The options of a command, as plain rows. */
export function optionsOf(command: CommandName): readonly (readonly [OptionName, Option])[] {
  return optionRows.filter(([, { commands }]) => commands[command] !== undefined);
}

import { controlCommands, verbs } from "../control/commands.ts";
import { jsonEvents } from "../observe/ndjson.ts";
import type { Commands } from "./command.ts";
import type { CommandName } from "./options.ts";

function eventsNote(remarks: Readonly<Record<string, string>>): string {
  const list = Object.entries(remarks).map(([name, remark]) => remark === "" ? name : `${name} (${remark})`);
  return `With --json, stdout has one object a line, with \`event\` and \`at\`: ${list.join(", ")}.`;
}

const masterNotes = [
  `Status, logs and the summary go to stderr. ${eventsNote(jsonEvents.master)}`,
  "Ctrl-C, SIGTERM and SIGHUP stop: the first waits for running jobs, the second does not. SIGUSR1 shows the status. " +
  "Exit codes: 0 every job handled, 1 error or getJobs threw, 2 usage, 3 dead letters or late errors, 4 plugin, 5 connection or " +
  "token, 6 state, 7 --max-outage or --max-dead, 130 and 143 stopped by a signal. All but 0 and 3 are resumed by the same command.",
];

/**
 * Every command a person can give, in the order help shows them. The code of one is loaded when it is called, and that
 * of no other: help comes at once, whatever a master needs.
 */
export const commands: Commands = {
  run: {
    usage: "run <plugin> [name=value ...] [options]",
    summary: "a master and a slave in one command on this machine: the way to start",
    examples: [
      ["run plugins/posts.ts", "on every CPU"],
      ["run plugins/posts.ts table=users", "with an argument"],
      ["run plugins/posts.ts --reset", "start over"],
    ],
    notes: masterNotes,
    plugin: "with arguments",
    load: async () => (await import("./commands/run.ts")).run,
  },
  master: {
    usage: "master <plugin> [name=value ...] [options]",
    summary: "iterate getJobs, hand jobs to slaves, keep the resume state",
    examples: [
      ["master plugins/posts.ts", "on port 5050"],
      ["master plugins/posts.ts --host 10.0.0.5:6000", "only there"],
      ["master plugins/posts.ts --timeout 30s", "30 s an attempt"],
      ["master plugins/posts.ts --tls-cert taskmaster-cert.pem --tls-key taskmaster-key.pem", "with TLS"],
    ],
    notes: masterNotes,
    plugin: "with arguments",
    load: async () => (await import("./commands/master.ts")).master,
  },
  slave: {
    usage: "slave <plugin> --host h:p [options]",
    summary: "run handleJob for a master, in worker processes",
    examples: [
      ["slave plugins/posts.ts --host 10.0.0.5:5050", "on every CPU"],
      [
        "slave plugins/posts.ts --host 10.0.0.5 --concurrency 100",
        "a hundred jobs at once in each worker process",
      ],
      [
        "slave plugins/posts.ts --host 10.0.0.5 --procs 2 --grace 5m",
        "two worker processes; a stop waits five minutes",
      ],
    ],
    notes: [
      `Status and logs go to stderr. ${eventsNote(jsonEvents.slave)}`,
      "Ctrl-C, SIGTERM and SIGHUP drain: the first lets running jobs end, the second does not. Exit codes: 0 the run is " +
      "complete, or drained; 1 error, 2 usage, 4 plugin, 5 refused, or no token; 130 and 143 ended by a second signal.",
    ],
    plugin: "alone",
    load: async () => (await import("./commands/slave.ts")).slave,
  },
  status: {
    usage: "status [<plugin-or-key>] [options]",
    summary: "how a running master does: once, or --watch",
    examples: [
      ["status plugins/posts.ts", "the run of this plugin, on this machine"],
      ["status posts --state-dir /var/lib/taskmaster --watch", "by key, ever again"],
      ["status --host 10.0.0.5:5050 --json", "a master elsewhere, for a program"],
    ],
    notes: [
      "A master of this machine is found by the lock file beside its state, with the certificate that it shows; any other by " +
      "--host. Both need the token of the run. Exit codes: 0, 2 usage, 5 no master, or none that " +
      "answers; of --watch 0 if the master leaves, 5 if its connection breaks.",
    ],
    words: { most: 1 },
    load: async () => (await import("./commands/status.ts")).status,
  },
  ctl: {
    usage: "ctl [<plugin-or-key>] <verb> [options]",
    summary: `steer a running master: ${verbs.join(", ")}`,
    examples: [
      ["ctl plugins/posts.ts pause", "hand out nothing more; jobs that run go on"],
      ["ctl plugins/posts.ts resume", "go on"],
      ["ctl --host 10.0.0.5:5050 checkpoint", "save the state of a master elsewhere now"],
    ],
    notes: [
      verbs.map((verb) => `${verb}: ${controlCommands[verb].help}.`).join(" "),
      "What is set counts at once, is logged by the master with who said it, and is kept over its restarts. The master is found as " +
      "for `taskmaster status`. Exit codes: 0 done, 2 usage, 5 refused, or no master that answers, 6 the state could not be saved (a pause counts all the same).",
    ],
    words: { most: 2, needs: "a verb" },
    load: async () => (await import("./commands/ctl.ts")).ctl,
  },
  state: {
    usage: "state <plugin-or-key> [options]",
    summary: "print a run's resume state in readable form",
    examples: [
      ["state plugins/posts.ts", "the state beside the plugin"],
      ["state posts --state-dir /var/lib/taskmaster", "by key"],
      ["state posts --json", "for a program"],
    ],
    words: { most: 1, needs: "a plugin or a key" },
    load: async () => (await import("./commands/state.ts")).state,
  },
  dead: {
    usage: "dead <plugin-or-key> [options]",
    summary: "the dead letters of a run: grouped by error, or some in full",
    examples: [
      ["dead plugins/posts.ts", "what failed, and how often"],
      ["dead plugins/posts.ts --group 3f2a91bc", "one group, with its stack and its jobs"],
      ["dead plugins/posts.ts --seq 17,18", "two letters in full"],
      ["dead plugins/posts.ts --json", "all letters, for a program"],
    ],
    notes: [
      "Errors that differ in numbers, ids, times, addresses of mail and quoted values only are one group. It takes no lock: a " +
      "master may go on writing. With --json, the newest letter first, `job` is the job; where it has what JSON lacks, `cbor` " +
      "has its bytes, in base64, too. Exit codes: 0, 2 usage, 6 no such run, not readable, or damaged lines (the rest is shown).",
    ],
    words: { most: 1, needs: "a plugin or a key" },
    load: async () => (await import("./commands/dead.ts")).dead,
  },
  token: {
    usage: "token [--write FILE]",
    summary: "print (and create once) this user's token",
    examples: [
      ["token", "print it"],
      ["token --write taskmaster.token", "to copy to other machines"],
      ["token | ssh web1 'umask 77; cat > taskmaster.token'", "straight to another machine"],
    ],
    notes: [
      "Which token: of --token-file, else of TASKMASTER_TOKEN, else taskmaster.token beside the binary, else the user's own " +
      "in $XDG_CONFIG_HOME/taskmaster, which is made if there is none. The file must be readable by its owner alone.",
    ],
    words: { most: 0 },
    load: async () => (await import("./commands/token.ts")).token,
  },
  cert: {
    usage: "cert [--name HOST ...]",
    summary: "make a self-signed certificate for TLS, with openssl",
    examples: [
      ["cert", "for this machine's names"],
      ["cert --name web1.example --name 10.0.0.5", "for these names alone"],
      ["cert --tls-cert slave.pem --tls-key slave-key.pem", "other files: for a slave"],
    ],
    notes: [
      "A P-256 key, good for 825 days. It prints the fingerprint, and the commands with which master and slaves use it. A file " +
      "that is there is never overwritten. A slave that pins the fingerprint looks at no names and dates; one that goes by a CA does.",
    ],
    words: { most: 0, instead: "names go behind --name" },
    load: async () => (await import("./commands/cert.ts")).cert,
  },
  help: {
    usage: "help [command|plugin]",
    summary: "this text, that of one command, or the arguments of a plugin",
    examples: [
      ["help", "all commands"],
      ["help run", "one command"],
      ["run --help", "the same"],
      ["help plugins/posts.ts", "the arguments that this plugin takes"],
    ],
    words: { most: 1 },
    load: async () => (await import("./commands/help.ts")).helpOf(commands),
  },
  version: {
    usage: "version",
    summary: "print the version",
    examples: [["version", "print it"], ["--version", "the same"], ["-V", "the same"]],
    words: { most: 0 },
    load: async () => (await import("./commands/help.ts")).showVersion,
  },
};

export const commandNames = Object.keys(commands) as readonly CommandName[];

export function isCommand(word: string): word is CommandName {
  return Object.hasOwn(commands, word);
}

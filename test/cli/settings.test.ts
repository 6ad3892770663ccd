import t from "tap";
import { readCommandLine } from "../../src/cli/command_line.ts";
import { type CommandName, optionRows } from "../../src/cli/options.ts";
import { environmentName, localSlaveSettings, oddVariables, settle } from "../../src/cli/settings.ts";

const run = (...flags: string[]) => readCommandLine(["run", "x.ts", ...flags]);

t.test("settle() has every default of the documentation", async (t) => {
  t.match(settle(run(), {}), {
    size: 10_000,
    "size-bytes": 64 * 2 ** 20,
    concurrency: 1,
    attempts: 3,
    backoff: 1_000,
    heartbeat: 5_000,
    checkpoint: "auto",
    grace: 30_000,
    "status-interval": 30_000,
    "log-level": "info",
    reset: false,
    force: false,
    json: false,
    quiet: false,
    insecure: false,
  });
  const { host, key, timeout, procs } = settle(run(), {});
  t.same([host, key, timeout, procs], [undefined, undefined, undefined, undefined]);
});

const precedence:
  readonly (readonly [string, string[], Record<string, string>, Record<string, unknown>, number])[] = [
    ["the default", [], {}, {}, 10_000],
    ["the plugin's, before the default", [], {}, { size: 30 }, 30],
    ["the environment's, before the plugin's", [], { TASKMASTER_SIZE: "20" }, { size: 30 }, 20],
    ["the flag's, before all", ["--size", "10"], { TASKMASTER_SIZE: "20" }, { size: 30 }, 10],
    ["not an empty variable's", [], { TASKMASTER_SIZE: "" }, { size: 30 }, 30],
  ];
for (const [what, flags, env, plugin, expected] of precedence) {
  t.test(`settle() takes ${what}`, async (t) => t.equal(settle(run(...flags), env, plugin).size, expected));
}

t.test("settle() lets a flag switch off what the environment switches on", async (t) => {
  t.equal(settle(run(), { TASKMASTER_JSON: "1" }).json, true);
  t.equal(settle(run(), { TASKMASTER_JSON: "off" }).json, false);
  t.equal(settle(run("--json=false"), { TASKMASTER_JSON: "1" }).json, false);
});

t.test("settle() reads TASKMASTER_LISTEN for a master, TASKMASTER_HOST for a slave, neither for run", async (t) => {
  const env = { TASKMASTER_LISTEN: ":1", TASKMASTER_HOST: "web1" };
  t.same(settle(readCommandLine(["master", "x.ts"]), env).host, { host: "0.0.0.0", port: 1 });
  t.same(settle(readCommandLine(["slave", "x.ts"]), env).host, { host: "web1", port: 5050 });
  t.equal(settle(run(), env).host, undefined);
  t.same(settle(run("--host", ":7"), env).host, { host: "127.0.0.1", port: 7 });
});

t.test("settle() takes a plugin's bare numbers as milliseconds and bytes", async (t) => {
  t.match(settle(run(), {}, { backoff: 250, "size-bytes": 4096, timeout: "2m" }), {
    backoff: 250,
    "size-bytes": 4096,
    timeout: 120_000,
  });
});

t.test("settle() takes auto or a duration for --checkpoint, wherever it is set", async (t) => {
  t.equal(settle(run("--checkpoint", "2s"), {}, { checkpoint: "auto" }).checkpoint, 2_000);
  t.equal(settle(run("--checkpoint", "auto"), { TASKMASTER_CHECKPOINT: "3s" }).checkpoint, "auto");
  t.equal(settle(run(), { TASKMASTER_CHECKPOINT: "auto" }, { checkpoint: 7 }).checkpoint, "auto");
  t.equal(settle(run(), {}, { checkpoint: 7 }).checkpoint, 7);
  t.throws(() => settle(run("--checkpoint", "often"), {}), {
    name: "UsageError",
    message: /--checkpoint cannot be "often": it takes auto, or a duration from 1ms to 24d/,
  });
});

t.test("settle() takes --reset and --force of the command line alone", async (t) => {
  const env = { TASKMASTER_RESET: "1", TASKMASTER_FORCE: "1" };
  t.match(settle(run(), env), { reset: false, force: false });
  t.match(settle(run("--reset", "--force"), env), { reset: true, force: true });
});

t.test("settle() refuses port 0 for whoever connects", async (t) => {
  t.throws(() => settle(readCommandLine(["slave", "x.ts", "--host", "web1:0"]), {}), {
    name: "UsageError",
    message: /Port 0.*masters only/,
  });
  t.equal(settle(readCommandLine(["master", "x.ts", "--host", ":0"]), {}).host?.port, 0);
});

t.test("settle() does not read what is of another command", async (t) => {
  t.equal(settle(readCommandLine(["slave", "x.ts"]), { TASKMASTER_SIZE: "nonsense" }).size, 10_000);
});

const bad:
  readonly (readonly [string, string[], Record<string, string>, Record<string, unknown>, RegExp, string])[] =
    [
      [
        "a count of nothing",
        ["--size", "0"],
        {},
        {},
        /^--size cannot be "0": it takes a whole number of at least 1, such as --size=10000\.$/,
        "UsageError",
      ],
      ["a negative count", ["--size=-5"], {}, {}, /--size cannot be "-5"/, "UsageError"],
      ["a fraction", ["--procs", "1.5"], {}, {}, /--procs cannot be "1\.5".*--procs=4/, "UsageError"],
      ["a count in words", ["--attempts", "three"], {}, {}, /--attempts/, "UsageError"],
      ["infinity", ["--size", "1e999"], {}, {}, /--size/, "UsageError"],
      [
        "a duration without a unit",
        ["--timeout", "30"],
        {},
        {},
        /--timeout cannot be "30".*unit.*--timeout=30s/,
        "UsageError",
      ],
      [
        "a duration no timer can keep",
        ["--timeout", "100d"],
        {},
        {},
        /--timeout.* from 1ms to 24d,/,
        "UsageError",
      ],
      ["too many processes", ["--procs", "5000"], {}, {}, /--procs.* from 1 to 4096,/, "UsageError"],
      ["too many jobs at once", ["--concurrency=100001"], {}, {}, / from 1 to 100000,/, "UsageError"],
      ["no bytes", ["--size-bytes", "0"], {}, {}, /--size-bytes.* of at least 1, in bytes/, "UsageError"],
      [
        "a host that is a port",
        ["--host", "5050"],
        {},
        {},
        / A port alone is written :5050\.$/,
        "UsageError",
      ],
      [
        "a size of another kind",
        ["--size-bytes", "64M"],
        {},
        {},
        /--size-bytes.*--size-bytes=64MiB/,
        "UsageError",
      ],
      [
        "an address of another kind",
        ["--host", "http://web1"],
        {},
        {},
        /--host.*h:p.*--host=10\.0\.0\.5:5050/,
        "UsageError",
      ],
      [
        "another level",
        ["--log-level", "trace"],
        {},
        {},
        /--log-level.*debug, info, warn, error/,
        "UsageError",
      ],
      [
        "a bad variable",
        [],
        { TASKMASTER_SIZE: "x\u001b[2J" },
        {},
        /^TASKMASTER_SIZE cannot be "x\\e\[2J".*TASKMASTER_SIZE=10000/,
        "UsageError",
      ],
      [
        "a bad switch variable",
        [],
        { TASKMASTER_JSON: "maybe" },
        {},
        /^TASKMASTER_JSON.*TASKMASTER_JSON=1/,
        "UsageError",
      ],
      [
        "a bad option of the plugin",
        [],
        {},
        { size: "many" },
        /^The plugin's option "size" cannot be "many"/,
        "PluginError",
      ],
      ["an option that no plugin sets", [], {}, { reset: true }, /holds "reset"/, "PluginError"],
      [
        "a mistyped option of the plugin",
        [],
        {},
        { concurency: 5 },
        /Did you mean "concurrency"/,
        "PluginError",
      ],
    ];
for (const [what, flags, env, plugin, message, name] of bad) {
  t.test(`settle() refuses ${what}`, async (t) => {
    t.throws(() => settle(run(...flags), env, plugin), { name, message });
  });
}

for (
  const key of [
    "../../etc/x",
    "/etc/x",
    ".",
    "..",
    ".hidden",
    "a/b",
    "a\0b",
    "a b",
    "x".repeat(300),
    "ключ",
    "-x",
  ]
) {
  t.test(`settle() refuses the key ${JSON.stringify(key.slice(0, 20))}`, async (t) => {
    t.throws(() => settle(run(`--key=${key}`), {}), {
      name: "UsageError",
      message: /1 to 64 letters, digits/,
    });
  });
}

t.test("every option but those for one start has a variable, and none is shared", async (t) => {
  const names = optionRows.map(([name]) => environmentName(name, "slave")).filter((name) =>
    name !== undefined
  );
  t.equal(new Set(names).size, optionRows.filter(([, { once }]) => !once).length);
  t.equal(environmentName("size-bytes", "run"), "TASKMASTER_SIZE_BYTES");
  t.notOk(names.includes("TASKMASTER_TOKEN"), "the secret has no option");
});

const odd: readonly (readonly [Record<string, string>, readonly string[]])[] = [
  [{ TASKMASTER_SZIE: "5" }, [
    "The variable TASKMASTER_SZIE is no setting, and is ignored. Did you mean TASKMASTER_SIZE?",
  ]],
  [{ TASKMASTER_STATEDIR: "/x", taskmaster_size: "1" }, [
    "The variable TASKMASTER_STATEDIR is no setting, and is ignored. Did you mean TASKMASTER_STATE_DIR?",
    "The variable taskmaster_size is no setting, and is ignored. Did you mean TASKMASTER_SIZE?",
  ]],
  [{ TASKMASTER_RESET: "1" }, [
    "TASKMASTER_RESET is ignored: --reset is for one start, and counts as a flag only.",
  ]],
  [{ TASKMASTER_MY_DATABASE_PASSWORD: "secret" }, [
    "The variable TASKMASTER_MY_DATABASE_PASSWORD is no setting, and is ignored. See `taskmaster help run` for those there are.",
  ]],
  [{ "TASKMASTER_\u001b[2J": "1" }, [
    "The variable TASKMASTER_\\e[2J is no setting, and is ignored. See `taskmaster help run` for those there are.",
  ]],
  [{ TASKMASTER_TOKEN: "x", TASKMASTER_LISTEN: ":1", TASKMASTER_HOST: ":1" }, []],
  [{ TASKMASTER_GENERATION: "slave", TASKMASTER_PARENT: "1", TASKMASTER_TUNED: "x", TASK: "1" }, []],
];
for (const [env, sentences] of odd) {
  t.test(`oddVariables() of ${Object.keys(env).join()}`, async (t) => t.same(oddVariables(env), sentences));
}

t.test("oddVariables() knows the variable of every option", async (t) => {
  for (const [name, { commands }] of optionRows) {
    for (const command of Object.keys(commands) as CommandName[]) {
      const variable = environmentName(name, command);
      if (variable !== undefined) t.same(oddVariables({ [variable]: "1" }), [], variable);
    }
  }
});

t.test("the slave of a run has the run's flags that are a slave's, and no variable that would lead it elsewhere", async (t) => {
  const { flags, without } = localSlaveSettings(
    run(
      "--procs=2",
      "--size=5",
      "--quiet",
      "--grace",
      "5m",
      "--host=:6000",
      "--token-file=x",
      "--json",
      "--reset",
    ),
  );
  t.same(flags.toSorted(), ["--grace=5m", "--procs=2", "--quiet=true"]);
  t.same(
    [...new Set(without)].toSorted(),
    [
      "ANY_PLUGIN",
      "HOST",
      "INSECURE",
      "JSON",
      "LISTEN",
      "NO_PROGRESS",
      "STATUS_INTERVAL",
      "TLS",
      "TLS_CA",
      "TLS_CERT",
      "TLS_KEY",
      "TLS_PIN",
      "TOKEN_FILE",
    ].map((name) => `TASKMASTER_${name}`),
  );
});

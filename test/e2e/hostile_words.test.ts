import t from "tap";
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { binary } from "../kit/runtimes.ts";
import { tokenText } from "../kit/scenario.ts";

// Whatever words reach the binary from outside, none of them moves a cursor, hides, or passes for a line of its own.

t.jobs = 2;

/** What `printable` promises to escape, written anew; line breaks are looked at as lines. */
const unsafe = /[^\n\P{Cc}]|[\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{DI}\p{NChar}\u2800]/u;

/** A file may be called so. Its second line would pass for one of the log. */
const word =
  "w\x1b[31m\x1b]0;owned\x07\u009b2J\r\nforged: line\t\u202eb\u200b\u2066\u2028\ufe0f\u3164\u{e0041}";

const fine = "export const getJobs = () => [1, 2, 3];\nexport function handleJob() {}\n";
const strongToken = "9f86d081884c7d659a2feaa0c55ad015";

type Files = Readonly<Record<string, string | null>>;
type Case = Readonly<{
  args: readonly string[];
  /** Written in the folder first; null makes a folder. */
  files?: Files;
  env?: Readonly<Record<string, string>>;
  code: number;
  /** What must be in it, so that it is this sentence. */
  says: RegExp;
}>;

const run = (plugin: string, ...more: string[]) => [
  "run",
  plugin,
  "--host",
  "127.0.0.1:0",
  "--procs",
  "1",
  "--no-progress",
  ...more,
];
const withPlugin = { "x.mjs": fine };
const slave = (...more: string[]) => ["slave", "x.mjs", "--host", "127.0.0.1:1", ...more];
const openToken = { "x.mjs": fine, [word]: strongToken };

const cases: Readonly<Record<string, Case>> = {
  "a command": { args: [word], code: 2, says: /no command/ },
  "a command asked for help": { args: ["help", word], code: 2, says: /no command/ },
  "an option": { args: ["run", "x.mjs", `--${word}`], code: 2, says: /option/ },
  "a switch's value": { args: ["run", "x.mjs", `--quiet=${word}`], code: 2, says: /switch/ },
  "an option's value": { args: run("x.mjs", "--size", word), code: 2, says: /--size cannot be/ },
  "an address": { args: ["slave", "x.mjs", "--host", word], code: 2, says: /--host cannot be/ },
  "a key": { args: run("x.mjs", "--key", word), files: withPlugin, code: 2, says: /Cannot use the key/ },
  "an argument": { args: run("x.mjs", `${word}=1`), code: 2, says: /forged/ },
  "an argument given twice": { args: run("x.mjs", `a=${word}`, `a=${word}`), code: 2, says: /twice/ },
  "an argument of a slave": { args: slave(`a=${word}`), code: 2, says: /argument/ },
  "a plugin that is not there": { args: run(`${word}.mjs`), code: 4, says: /there is no file/ },
  "a plugin that is a folder": { args: run(word), files: { [word]: null }, code: 4, says: /is a folder/ },
  "a plugin of a slave that is not there": {
    args: ["slave", `${word}.mjs`, "--host", "127.0.0.1:1"],
    code: 4,
    says: /there is no file/,
  },
  "a file URL": { args: run(`file:${word}`), code: 4, says: /Cannot load the plugin/ },
  "an export that is not there": {
    args: run("x.mjs:get\u034f\ufe0f"),
    files: withPlugin,
    code: 4,
    says: /x\.mjs/,
  },
  "a plugin that throws": {
    args: run("x.mjs"),
    files: { "x.mjs": `throw new Error(${JSON.stringify(word)});` },
    code: 4,
    says: /owned/,
  },
  "a plugin that throws in a file of that name": {
    args: run(`${word}.mjs`),
    files: { [`${word}.mjs`]: `function a() { throw new Error("no"); }\nfunction b() { a(); }\nb();` },
    code: 4,
    says: /owned/,
  },
  "a plugin that lacks a module": {
    args: run("x.mjs"),
    files: { "x.mjs": `import ${JSON.stringify(`./${word}.mjs`)};\n${fine}` },
    code: 4,
    says: /owned/,
  },
  "a plugin that is no code": {
    args: run(`${word}.mjs`),
    files: { [`${word}.mjs`]: `const ;` },
    code: 4,
    says: /owned/,
  },
  "a plugin whose cursor throws": {
    args: run("x.mjs"),
    files: { "x.mjs": `${fine}export function cursor() { throw new Error(${JSON.stringify(word)}); }` },
    code: 1,
    says: /Ended: .*cursor\(job\) threw: .*owned/,
  },
  "a plugin's option": {
    args: run("x.mjs"),
    files: { "x.mjs": `${fine}export const options = { size: ${JSON.stringify(word)} };` },
    code: 4,
    says: /owned/,
  },
  "a plugin that exits": {
    args: run(`${word}.mjs`),
    files: { [`${word}.mjs`]: `process.exit(0)` },
    code: 1,
    says: /The plugin ended the process/,
  },
  "what nobody catches": {
    args: run("x.mjs"),
    files: { "x.mjs": `Promise.reject(new Error(${JSON.stringify(word)}));\nawait 1;\n${fine}` },
    code: 1,
    says: /owned/,
  },
  "a token file that is not there": {
    args: run("x.mjs", "--token-file", word),
    files: withPlugin,
    code: 5,
    says: /There is no token file/,
  },
  "a token file that others can read": {
    args: run("x.mjs", "--token-file", word),
    files: openToken,
    code: 5,
    says: /chmod 600/,
  },
  "a token file that is a folder": {
    args: slave("--token-file", word),
    files: { ...withPlugin, [word]: null },
    code: 5,
    says: /Cannot read the token file/,
  },
  "a token that is none": {
    args: run("x.mjs"),
    files: withPlugin,
    env: { TASKMASTER_TOKEN: word },
    code: 5,
    says: /The token in TASKMASTER_TOKEN/,
  },
  "a token to write where there is no folder": {
    args: ["token", "--write", join("x.mjs", word)],
    files: withPlugin,
    code: 5,
    says: /Cannot make the token file/,
  },
  "a token to write where one is": {
    args: ["token", "--write", word],
    files: openToken,
    code: 5,
    says: /chmod 600/,
  },
  "a token that is written": { args: ["token", "--write", word], code: 0, says: /scp/ },
  "a token in a folder for settings": {
    args: ["token"],
    files: { [word]: "a file" },
    env: { TASKMASTER_TOKEN: "", XDG_CONFIG_HOME: `FOLDER/${word}` },
    code: 5,
    says: /Cannot make the token file/,
  },
  "a certificate that is not there": {
    args: ["master", "x.mjs", "--host", "127.0.0.1:0", "--tls-cert", word, "--tls-key", "k"],
    files: { ...withPlugin },
    code: 5,
    says: /There is no private key k/,
  },
  "a key that is not there": {
    args: ["master", "x.mjs", "--host", "127.0.0.1:0", "--tls-cert", "c", "--tls-key", word],
    files: { ...withPlugin },
    code: 5,
    says: /There is no private key w/,
  },
  "CAs that are not there": { args: slave("--tls-ca", word), files: withPlugin, code: 5, says: /no CA file/ },
  "CAs that are none": { args: slave("--tls-ca", word), files: openToken, code: 5, says: /owned/ },
  "a certificate to be made where there is no folder": {
    args: ["cert", "--tls-cert", join("x.mjs", word), "--tls-key", join("x.mjs", word)],
    files: withPlugin,
    code: 5,
    says: /Cannot make a certificate/,
  },
  "a certificate that is there already": {
    args: ["cert", "--tls-cert", word, "--tls-key", "new-key.pem"],
    files: { [word]: "" },
    code: 2,
    says: /is there already/,
  },
  "a certificate that is made": {
    args: ["cert", "--tls-cert", word, "--tls-key", `${word}2`],
    code: 0,
    says: /Made /,
  },
  "a name of a certificate": { args: ["cert", "--name", word], code: 2, says: /owned/ },
  "a state folder that is not there": {
    args: run("x.mjs", "--state-dir", word),
    files: withPlugin,
    code: 6,
    says: /owned/,
  },
  "a state folder that is a file": {
    args: run("x.mjs", "--state-dir", word),
    files: openToken,
    code: 6,
    says: /owned/,
  },
  "a state that is not there": { args: ["state", `./${word}/x.mjs`], code: 6, says: /owned/ },
  "a state that is none": {
    args: ["state", `${word}.state`],
    files: { [`${word}.state`]: "nothing" },
    code: 6,
    says: /owned/,
  },
  "a run without dead letters, nor anything else": {
    args: ["dead", `./${word}/x.mjs`],
    code: 6,
    says: /owned/,
  },
  "dead letters that are none": {
    args: ["dead", `${word}.state`],
    files: { [`${word}.state`]: "", [`${word}.dead.ndjson`]: `${word}\n` },
    code: 6,
    says: /2 lines are no dead letters, lines 1, 2/,
  },
  "a group": { args: ["dead", "x.mjs", "--group", word], code: 2, says: /--group cannot be/ },
  "numbers of jobs": { args: ["dead", "x.mjs", "--seq", `1,${word}`], code: 2, says: /--seq cannot be/ },
  "a second word of state": { args: ["state", "x", word], code: 2, says: /one word/ },
  "a variable's name": {
    args: run("none.mjs"),
    env: { [`TASKMASTER_${word}`]: "1" },
    code: 4,
    says: /is no setting/,
  },
  "a variable's name, of another command": {
    args: ["state", "none"],
    env: { [`TASKMASTER_${word}`]: "1" },
    code: 6,
    says: /is no setting/,
  },
  "a variable's value": {
    args: run("x.mjs"),
    env: { TASKMASTER_SIZE: word },
    code: 2,
    says: /TASKMASTER_SIZE cannot be/,
  },
  "a name that says it is a child": {
    args: [word],
    env: { TASKMASTER_GENERATION: "slave" },
    code: 2,
    says: /Cannot run: started as a slave/,
  },
};

/** In a folder of its own; `FOLDER` in the environment stands for it. */
function stage(t: { teardown: (end: () => unknown) => void }, files: Files = {}): string {
  const folder = mkdtempSync(join(tmpdir(), "taskmaster-words-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) {
    if (text === null) mkdirSync(join(folder, name));
    else writeFileSync(join(folder, name), text);
  }
  return folder;
}

type Ended = Readonly<{ code: number | null; stdout: string; stderr: string }>;

function ran(folder: string, args: readonly string[], env: Case["env"] = {}): Promise<Ended> {
  const own = Object.entries(env).map(([name, value]) => [name, value.replace("FOLDER", folder)]);
  const child = spawn(binary, [...args], {
    cwd: folder,
    env: { PATH: process.env.PATH, HOME: folder, TASKMASTER_TOKEN: tokenText, ...Object.fromEntries(own) },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 40_000,
    killSignal: "SIGKILL",
  });
  let stdout = "", stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text) => stdout += text);
  child.stderr.setEncoding("utf8").on("data", (text) => stderr += text);
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, stdout, stderr })));
}

/** The lines that would fool whoever reads them. */
function fooling(text: string): string[] {
  return text.split("\n").filter((line) => unsafe.test(line) || line.startsWith("forged"))
    .map(plain);
}

/** For the report of this test, on the way to which an assertion is lost whose message has such characters in it. */
function plain(text: string): string {
  return text.replace(/[^ -~]/g, (char) => `<${char.charCodeAt(0).toString(16)}>`);
}

for (const [what, { args, files, env, code, says }] of Object.entries(cases)) {
  t.test(`hostile: ${what}`, async (t) => {
    const ended = await ran(stage(t, files), args, env);
    const text = ended.stdout + ended.stderr;
    t.equal(ended.code, code, plain(text));
    t.ok(says.test(text), `${says}`);
    t.same(fooling(text), []);
  });
}

/** All that it prints of itself as it lives. */
const failing = `export const getJobs = () => [1, 2];
export function handleJob(job, ctx) { ctx.log.warn(${JSON.stringify(word)}, { word: ${
  JSON.stringify(word)
} }); throw new Error(${JSON.stringify(word)}); }
export const options = { attempts: 1 };
`;

for (const flags of [[], ["--quiet"], ["--log-format", "json"], ["--json"], ["--log-level", "debug"]]) {
  t.test(`hostile: a whole run in a folder of that name, with ${flags.join(" ") || "no flags"}`, async (t) => {
    const folder = join(stage(t, { [word]: null }), word);
    writeFileSync(join(folder, "x.mjs"), failing);
    const { code, stdout, stderr } = await ran(
      folder,
      run(join(folder, "x.mjs"), `${"a"}=${word}`, ...flags),
    );
    t.equal(code, 3, plain(stderr));
    t.ok(/owned/.test(stderr + stdout), "it is told of");
    t.same(fooling(stdout + stderr), []);
    if (flags[0] === "--json") {
      const events = stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
      t.ok(events.find(({ event }) => event === "dead")?.message === word, "a machine reads the very string");
      t.ok(events[0].statePath === join(folder, "x.state"));
    }
    const letters = readFileSync(join(folder, "x.dead.ndjson"), "utf8");
    t.same(fooling(letters), []);
    const [letter] = letters.split("\n").map((line) => line && JSON.parse(line));
    t.ok(letter.attempts[0].error === word, "a machine reads the very string");
    for (const more of [[], ["--json"]]) {
      const state = await ran(folder, ["state", join(folder, "x.mjs"), ...more]);
      t.equal(state.code, 0, plain(state.stderr));
      t.ok(/owned/.test(state.stdout), "it is told of");
      t.same(fooling(state.stdout), []);
      if (more.length > 0) t.ok(JSON.parse(state.stdout).args.a === word);
    }
    for (const more of [[], ["--seq", "0,1"], ["--json"]]) {
      const dead = await ran(folder, ["dead", join(folder, "x.mjs"), ...more]);
      t.equal(dead.code, 0, plain(dead.stderr));
      t.ok(/owned/.test(dead.stdout), "it is told of");
      t.same(fooling(dead.stdout + dead.stderr), []);
    }
    const again = await ran(folder, run(join(folder, "x.mjs"), `a=${word}`, "--reset", ...flags));
    t.same(fooling(again.stdout + again.stderr), [], "nor where the earlier state lies");
  });
}

t.test("hostile: on a terminal", {
  skip: spawnSync("script", ["--version"]).status === 0 ? false : "there is no `script` here",
}, async (t) => {
  const folder = stage(t, { [word]: null });
  writeFileSync(join(folder, word, "x.mjs"), failing);
  for (
    const args of [run(`${word}/x.mjs`), run(`${word}/none.mjs`), ["token", "--write", `${word}/none/t`]]
  ) {
    const quoted = [binary, ...args].map((part) => `'${part}'`).join(" ");
    writeFileSync(join(folder, "s.sh"), `${quoted}\n`);
    const { stdout } = spawnSync("script", ["-qfec", "timeout 40 bash s.sh", "/dev/null"], {
      cwd: folder,
      env: { PATH: process.env.PATH, HOME: folder, TASKMASTER_TOKEN: tokenText, TERM: "xterm" },
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
      timeout: 60_000,
    });
    t.ok(/owned/.test(stdout), "it is told of");
    const raw = ["\x1b]0;owned", "w\x1b[31m", "\u009b", "\u202e", "\u200b", "\ufe0f"];
    t.same(raw.filter((text) => stdout.includes(text)).map(plain), [], plain(stdout));
    t.notOk(/^forged/m.test(stdout), "nor is there a line that it made");
  }
});

t.test("a command to copy is the word that was meant, and no other command", async (t) => {
  const name = "t $(touch owned); touch owned #'";
  const folder = stage(t, { ...withPlugin, [name]: strongToken });
  chmodSync(join(folder, name), 0o644);
  const { stderr } = await ran(folder, run("x.mjs", "--token-file", name));
  const [, command] = /`(chmod 600 .*)`/.exec(stderr) ?? [];
  spawnSync("bash", ["-c", command!], { cwd: folder, timeout: 10_000 });
  t.notOk(existsSync(join(folder, "owned")), String(command));
  t.equal((await ran(folder, run("x.mjs", "--token-file", name))).code, 0, readdirSync(folder).join(" "));
});

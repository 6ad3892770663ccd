import t from "tap";
import { spawn, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { binary } from "../kit/runtimes.ts";
import { processesOf } from "../kit/processes.ts";
import { Scenario } from "../kit/scenario.ts";
import { until } from "../kit/until.ts";

// The binary on a real terminal, which `script` (util-linux) makes; a shell with job control is on it, as a person's is.

const skip = spawnSync("script", ["--version"]).status === 0 ? false : "there is no `script` here";

const plugin = `
export function* getJobs(last = 0) { for (let id = last + 1; id <= 100000; id++) yield id; }
export async function handleJob(job) {
  await new Promise((resolve) => setTimeout(resolve, 20));
  if (job === 5) throw new Error("bad row");
  if (job % 20 === 1) console.log("plugin says", job);
}
export const options = { attempts: 1 };
`;

/** A shell on a terminal of its own, and all that came out on that; an escape is shown as `␛`. */
class Shell {
  readonly scenario = new Scenario();
  readonly ended: Promise<number | null>;
  text = "";
  readonly #child;

  /** @param lines Of bash; the program is \`$TM\`. */
  constructor(lines: readonly string[], env: Record<string, string> = {}) {
    const { folder } = this.scenario;
    writeFileSync(join(folder, "slow.mjs"), plugin);
    writeFileSync(join(folder, "script.sh"), ["set -m", `TM=${binary}`, ...lines, ""].join("\n"));
    this.#child = spawn(
      "script",
      ["-qfec", `timeout --foreground 60 bash ${folder}/script.sh`, "/dev/null"],
      {
        cwd: folder,
        env: { ...this.scenario.env, TERM: "xterm", ...env },
        stdio: ["pipe", "pipe", "ignore"],
      },
    );
    this.#child.stdout!.setEncoding("utf8").on(
      "data",
      (text: string) => this.text += text.replaceAll("\u001b", "␛"),
    );
    this.ended = new Promise((resolve) => this.#child.on("close", (code) => resolve(code)));
  }

  /** Waits for what is printed behind this many characters; returns how many there are then. */
  async printed(pattern: RegExp, from = 0): Promise<number> {
    await until(() => pattern.test(this.text.slice(from)), String(pattern)).catch((error) => {
      throw new Error(`${error.message}\n${this.text}`);
    });
    return this.text.length;
  }

  type(text: string): void {
    this.#child.stdin!.write(text);
  }

  async end(): Promise<void> {
    this.#child.kill("SIGHUP");
    for (const pid of processesOf(this.scenario.folder)) {
      try {
        process.kill(Number(pid), "SIGKILL");
      } catch {
        // it has ended
      }
    }
    await this.ended;
    await this.scenario.end();
  }
}

const run = "$TM run slow.mjs --host 127.0.0.1:0 --procs 2 --status-interval 500ms";

t.test(
  "a status line on a terminal of 80 columns fits, and shows failures and the reason",
  { skip },
  async (t) => {
    const shell = new Shell(["stty cols 80 rows 24", `${run} & fg`]);
    t.teardown(() => shell.end());
    await shell.printed(/Failed: 1 \| [a-z]/);
    const statuses = shell.text.match(/(?<=\r␛\[K)Current Job: [^\r\n]*/g) ?? [];
    t.ok(statuses.length > 0);
    t.same(statuses.filter((line) => line.length > 79), []);
    t.match(statuses.at(-1), /^Current Job: \d+ \| Rate: +[\d.]+\/s \| .*\d:\d\d:\d\d \| .*[a-z]$/);
  },
);

t.test("in the background nothing is drawn into the shell's line, and a run fetched back draws again", {
  skip,
}, async (t) => {
  const shell = new Shell(["stty cols 80 rows 24", `${run} &`, "read go", "fg"]);
  t.teardown(() => shell.end());
  const from = await shell.printed(/^Current Job: .*\| Slaves: \d+ \| Failed: 1 \| .*[a-z]\r\n/m);
  const more = await shell.printed(/plugin says \d+[^]*plugin says \d+[^]*Current Job/, from);
  t.notMatch(shell.text.slice(0, more), /␛\[K/, "no line is erased, by the master or by a worker");
  shell.type("\n");
  await shell.printed(/\r␛\[KCurrent Job: /, more);
});

t.test("stty tostop does not stop a run in the background at its first line", { skip }, async (t) => {
  const shell = new Shell([
    "stty cols 80 rows 24 tostop",
    `${run} &`,
    "read go",
    "kill -TERM %1",
    "wait %1",
    "echo code $?",
  ]);
  t.teardown(() => shell.end());
  await shell.printed(/Current Job: [^0][^]*Current Job: /);
  shell.type("\n");
  await shell.printed(/code \d/);
  t.match(shell.text, /code 143/, "it ran on, and was saved");
});

t.test("what the shell on the way would drop of the environment reaches the plugin", { skip }, async (t) => {
  const shell = new Shell([
    "stty cols 80 rows 24",
    `echo 'console.log("got", process.env["odd.name"], process.env.plain)' >> slow.mjs`,
    `env 'odd.name=a b' plain=c ${run} & fg`,
  ]);
  t.teardown(() => shell.end());
  await shell.printed(/got .*\r\n/);
  t.match(shell.text, "got a b c");
});

t.test("what resumes a run is what was typed, on a terminal too", { skip }, async (t) => {
  const shell = new Shell([
    "stty cols 200 rows 24",
    `ln -s $TM tm`,
    `echo 'console.log("leaks:", Object.keys(process.env).filter((name) => name.includes("TYPED")).length)' >> slow.mjs`,
    `${run.replace("$TM", "./tm")} &`,
    "read go",
    "kill -INT %1",
    "wait %1",
  ]);
  t.teardown(() => shell.end());
  await shell.printed(/joined/);
  shell.type("\n");
  await shell.printed(/Resume with: .*\r\n/);
  t.match(shell.text, "Resume with: ./tm run slow.mjs");
  t.match(shell.text, "leaks: 0");
});

t.test("a dumb terminal gets plain lines", { skip }, async (t) => {
  const shell = new Shell(["stty cols 80 rows 24", `${run} & fg`], { TERM: "dumb" });
  t.teardown(() => shell.end());
  await shell.printed(/^Current Job: .*Slaves: \d.*\r\n/m);
  t.notMatch(shell.text, /␛/);
});

t.test("help breaks no word where the terminal is narrow, and needs none", { skip }, async (t) => {
  const shell = new Shell(["stty cols 50 rows 24", "$TM help run", "stty cols 0", "$TM help run"]);
  t.teardown(() => shell.end());
  await shell.ended;
  const [narrow, wide] = shell.text.split("taskmaster run: ").slice(1).map((text) => text.split("\r\n"));
  t.same(narrow!.filter((line) => line.length > 50), []);
  t.same(wide!.filter((line) => line.length > 80), []);
});

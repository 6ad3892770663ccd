import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { binary } from "../e2e/harness.ts";

const page = readFileSync(new URL("../../docs/smallest-slave.md", import.meta.url), "utf8");
const script = /```python\n([^]*?)```/.exec(page)![1]!;
const tokenText = "0123456789abcdef0123456789abcdef";

type Ended = Readonly<{ code: number | null; stdout: string; stderr: string }>;

/** Runs a program for half a minute at most. */
function start(
  command: string,
  words: readonly string[],
  cwd: string,
): { ended: Promise<Ended>; printed(words: RegExp): Promise<RegExpExecArray> } {
  const child = spawn(command, words, {
    cwd,
    timeout: 30_000,
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: process.env.PATH, HOME: cwd, TASKMASTER_TOKEN: tokenText },
  });
  let stdout = "", stderr = "", onText = () => {};
  child.stdout.on("data", (chunk) => (stdout += chunk, onText()));
  child.stderr.on("data", (chunk) => (stderr += chunk, onText()));
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => (onText(), resolve({ code, stdout, stderr })));
  });
  const printed = (wanted: RegExp) =>
    new Promise<RegExpExecArray>((resolve, reject) => {
      const look = () => {
        const found = wanted.exec(stderr);
        if (found) resolve(found);
        else if (child.exitCode !== null) reject(new Error(`It ended without ${wanted}: ${stderr}`));
      };
      onText = look;
      look();
    });
  return { ended, printed };
}

const plugin = `
export function* getJobs() {
  yield { id: 0, text: "\\u00e9", at: new Date(0), big: 2n ** 70n, bytes: new Uint8Array([1]), odd: [null, undefined, -1, 1.5, true] };
  for (let id = 1; id < 200; id++) yield { id };
}
export const options = { attempts: 1 };
`;

/** What the page's handler does here: writes down each job, and fails one. */
const handler = `
def handle(job):
    with open("done.txt", "a") as file:
        file.write(f"{job['id']}\\n")
    if job["id"] == 7:
        raise ValueError("seven")
`;

t.test("the smallest slave does a run", async (t) => {
  const python = spawn("python3", ["-c", ""], { stdio: "ignore", timeout: 10_000 });
  const hasPython = await new Promise((resolve) =>
    python.on("error", () => resolve(false)).on("exit", (code) => resolve(code === 0))
  );
  if (!hasPython) return void t.comment("skipped: there is no python3 here");
  const folder = mkdtempSync("/tmp/tm-smallest-");
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  t.match(script, /^def handle\(job\):\n {4}.*\n/m, "the page has a handler to put another in place of");
  writeFileSync(join(folder, "slave.py"), script.replace(/^def handle\(job\):\n {4}.*\n/m, handler));
  writeFileSync(join(folder, "jobs.ts"), plugin);
  writeFileSync(join(folder, "taskmaster.token"), `  ${tokenText}\n`, { mode: 0o600 });
  writeFileSync(join(folder, "other.token"), "another-token-0123456789abcdef\n", { mode: 0o600 });

  const master = start(
    binary,
    ["master", "jobs.ts", "--host", "127.0.0.1:0", "--heartbeat", "500ms"],
    folder,
  );
  const [, port] = await master.printed(/running on '127\.0\.0\.1:(\d+)'/);
  const refused = await start("python3", ["slave.py", `127.0.0.1:${port}`, "other.token"], folder).ended;
  t.match(refused, { code: 1, stderr: /refused with code 1/ }, "a wrong token ends it");
  const slave = await start("python3", ["slave.py", `127.0.0.1:${port}`, "taskmaster.token"], folder).ended;
  t.match(slave, { code: 0, stderr: "" }, "it is dismissed");
  const { code, stderr } = await master.ended;
  t.equal(code, 3, stderr);
  t.match(stderr, /Handed out: 200 = 199 done \+ 0 skipped \+ 1 dead \+ 0 stranded/);
  const ids = readFileSync(join(folder, "done.txt"), "utf8").trim().split("\n").map(Number);
  t.same(ids.sort((a, b) => a - b), Array.from({ length: 200 }, (_, id) => id));
});

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import { encodeRefusal } from "../../src/protocol/handshake.ts";
import { Program } from "../kit/program.ts";
import { binary } from "../kit/runtimes.ts";
import { tokenText } from "../kit/scenario.ts";

const page = readFileSync(new URL("../../docs/smallest-slave.md", import.meta.url), "utf8");
const script = /```python\n([^]*?)```/.exec(page)![1]!;

/** Runs a program for half a minute at most. */
function start(command: string, words: readonly string[], cwd: string): Program {
  const env = { PATH: process.env.PATH, HOME: cwd, TASKMASTER_TOKEN: tokenText };
  return new Program([command, ...words], { cwd, env, lifeMsMax: 30_000 });
}

/** How it ended, and what it said. */
async function ended(program: Program): Promise<{ code: number | string; stdout: string; stderr: string }> {
  const code = await program.ended;
  return { code, stdout: program.stdout, stderr: program.stderr };
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

/** A folder with the page's slave, `handler` in place of its own, and the tokens; undefined, with the reason, without Python. */
async function prepare(t: Test, handler: string): Promise<string | undefined> {
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
  return folder;
}

t.test("the smallest slave does a run", async (t) => {
  const folder = await prepare(t, handler);
  if (folder === undefined) return;
  const master = start(
    binary,
    ["master", "jobs.ts", "--host", "127.0.0.1:0", "--heartbeat", "500ms"],
    folder,
  );
  const [, port] = await master.printed(/running on '127\.0\.0\.1:(\d+)'/);
  const refused = await ended(start("python3", ["slave.py", `127.0.0.1:${port}`, "other.token"], folder));
  t.match(refused, { code: 1, stderr: /refused with code 1/ }, "a wrong token ends it");
  const slave = await ended(start("python3", ["slave.py", `127.0.0.1:${port}`, "taskmaster.token"], folder));
  t.match(slave, { code: 0, stderr: "" }, "it is dismissed");
  const { code, stderr } = await ended(master);
  t.equal(code, 3, stderr);
  t.match(stderr, /Handed out: 200 = 199 done \+ 0 skipped \+ 1 dead \+ 0 stranded/);
  const ids = readFileSync(join(folder, "done.txt"), "utf8").trim().split("\n").map(Number);
  t.same(ids.sort((a, b) => a - b), Array.from({ length: 200 }, (_, id) => id));
});

t.test("it goes on under the next master when one is killed, and leaves another run alone", async (t) => {
  const folder = await prepare(t, handler.replace("    if", "    time.sleep(0.01)\n    if"));
  if (folder === undefined) return;
  const masterAt = (port: string, ...words: string[]) =>
    start(
      binary,
      ["master", "jobs.ts", ...words, "--host", `127.0.0.1:${port}`, "--heartbeat", "500ms"],
      folder,
    );
  const first = masterAt("0");
  const [, port] = await first.printed(/running on '127\.0\.0\.1:(\d+)'/);
  const slave = start("python3", ["slave.py", `127.0.0.1:${port}`, "taskmaster.token"], folder);
  await first.printed(/joined/);
  first.signal("SIGKILL");
  await first.ended;
  await slave.printed(/trying again/);
  const stranger = createServer((socket) => socket.on("error", () => {}).end(encodeRefusal("token")));
  await new Promise<void>((resolve) => stranger.listen(Number(port), "127.0.0.1", resolve));
  await slave.printed(/refused with code 1: see its log; trying again/);
  await new Promise((resolve) => stranger.close(resolve));
  const next = masterAt(port!);
  t.match(await ended(next), { code: 3, stderr: /199 done \+ 0 skipped \+ 1 dead \+ 0 stranded/ });
  t.match(await ended(slave), { code: 0 }, "it is dismissed by the second one");

  const another = start("python3", ["slave.py", `127.0.0.1:${port}`, "taskmaster.token"], folder);
  const one = masterAt(port!, "--key", "one");
  await one.printed(/joined/);
  one.signal("SIGKILL");
  await one.ended;
  await another.printed(/trying again/);
  const other = masterAt(port!, "--key", "other");
  t.match(await ended(another), { code: 0 }, "it is not of this run");
  other.signal("SIGKILL");
  await other.ended;
});

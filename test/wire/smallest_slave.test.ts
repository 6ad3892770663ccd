import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import { encodeRefusal } from "../../src/protocol/handshake.ts";
import { binary } from "../kit/runtimes.ts";

const page = readFileSync(new URL("../../docs/smallest-slave.md", import.meta.url), "utf8");
const script = /```python\n([^]*?)```/.exec(page)![1]!;
const tokenText = "9f86d081884c7d659a2feaa0c55ad015";

type Ended = Readonly<{ code: number | null; stdout: string; stderr: string }>;

/** Runs a program for half a minute at most. */
function start(
  command: string,
  words: readonly string[],
  cwd: string,
): { ended: Promise<Ended>; printed(words: RegExp): Promise<RegExpExecArray>; kill(): void } {
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
  return { ended, printed, kill: () => child.kill("SIGKILL") };
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
  first.kill();
  await first.ended;
  await slave.printed(/trying again/);
  const stranger = createServer((socket) => socket.on("error", () => {}).end(encodeRefusal("token")));
  await new Promise<void>((resolve) => stranger.listen(Number(port), "127.0.0.1", resolve));
  await slave.printed(/refused with code 1: see its log; trying again/);
  await new Promise((resolve) => stranger.close(resolve));
  const next = masterAt(port!);
  t.match(await next.ended, { code: 3, stderr: /199 done \+ 0 skipped \+ 1 dead \+ 0 stranded/ });
  t.match(await slave.ended, { code: 0 }, "it is dismissed by the second one");

  const another = start("python3", ["slave.py", `127.0.0.1:${port}`, "taskmaster.token"], folder);
  const one = masterAt(port!, "--key", "one");
  await one.printed(/joined/);
  one.kill();
  await one.ended;
  await another.printed(/trying again/);
  const other = masterAt(port!, "--key", "other");
  t.match(await another.ended, { code: 0 }, "it is not of this run");
  other.kill();
  await other.ended;
});

import t from "tap";
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { binary } from "../kit/runtimes.ts";

// Files that hold a secret: of this user or root, regular, and never waited for. Strangers are a second user.

const hasTwoUsers = process.getuid?.() === 0 && spawnSync("setpriv", ["--version"]).status === 0;
const needsTwo = { skip: hasTwoUsers ? false : "needs root and setpriv: a second user" };
const strangerUid = 65_534;

const ours = "9f86d081884c7d659a2feaa0c55ad015";
const theirs = "0b1d6f9ae4c25873d90e6f1a2b8c47d3";
const fine = "export const getJobs = () => [1, 2, 3];\nexport function handleJob() {}\n";

type Ended = Readonly<{ code: number | string | null; stdout: string; stderr: string }>;

/** A folder to which everybody may come, with a copy of the binary in `bin`. */
function stage(t: { teardown: (end: () => unknown) => void }): string {
  const folder = mkdtempSync(join(tmpdir(), "taskmaster-secrets-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  chmodSync(folder, 0o755);
  for (const name of ["bin", "home"]) mkdirSync(join(folder, name), { mode: 0o755 });
  copyFileSync(binary, join(folder, "bin", "taskmaster"));
  writeFileSync(join(folder, "x.mjs"), fine);
  return folder;
}

/** Runs it without a token in its environment. What hangs is ended, and its code is a signal. */
function ran(
  folder: string,
  args: readonly string[],
  program = join(folder, "bin", "taskmaster"),
): Promise<Ended> {
  const child = spawn(program, [...args], {
    cwd: folder,
    env: { PATH: process.env.PATH, HOME: join(folder, "home") },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 20_000,
    killSignal: "SIGKILL",
  });
  let stdout = "", stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text) => stdout += text);
  child.stderr.setEncoding("utf8").on("data", (text) => stderr += text);
  return new Promise((resolve) =>
    child.on("close", (code, signal) => resolve({ code: code ?? signal, stdout, stderr }))
  );
}

/** A file as the stranger would leave it; the folder of the test may be one that it could not come to. */
function strangersFile(path: string, text: string, mode: string): void {
  writeFileSync(path, text);
  chmodSync(path, Number.parseInt(mode, 8));
  chownSync(path, strangerUid, strangerUid);
}

t.test(
  "a stranger's token beside the binary, in a folder that others can write to, is not taken",
  needsTwo,
  async (t) => {
    for (const mode of [0o777, 0o1777, 0o757, 0o775]) {
      const folder = stage(t);
      const bin = join(folder, "bin"), beside = join(bin, "taskmaster.token");
      chmodSync(bin, 0o777);
      strangersFile(beside, theirs, "600");
      chmodSync(bin, mode);
      const { code, stdout, stderr } = await ran(folder, ["token"]);
      t.equal(code, 0, stderr);
      t.notMatch(stdout, theirs);
      t.match(stdout, /^[\w-]{43}\n$/, "this user's own is made");
      t.match(
        stderr,
        `taskmaster: ${beside} is not looked at, for others can write to its folder (mode ${
          mode.toString(8).padStart(4, "0")
        })`,
      );
      t.match(stderr, `chmod go-w ${bin}`);
      const run = await ran(folder, ["run", "x.mjs", "--host", "127.0.0.1:0", "--procs", "1"]);
      t.equal(run.code, 0, run.stderr);
      t.match(run.stderr, "is not looked at");
      const slave = await ran(folder, ["slave", "x.mjs", "--host", "127.0.0.1:1", "--token-file", "none"]);
      t.notMatch(slave.stderr, "is not looked at", "who names a file does not search");
    }
  },
);

t.test(
  "a token of one's own there is not taken either, and nothing is said where there is none",
  needsTwo,
  async (t) => {
    const folder = stage(t);
    const bin = join(folder, "bin");
    chmodSync(bin, 0o777);
    const quiet = await ran(folder, ["token"]);
    t.equal(quiet.stderr, "");
    writeFileSync(join(bin, "taskmaster.token"), ours, { mode: 0o600 });
    t.equal((await ran(folder, ["token"])).stdout, quiet.stdout);
    chmodSync(bin, 0o755);
    t.equal((await ran(folder, ["token"])).stdout, `${ours}\n`, "it is, once nobody else can write there");
    chownSync(bin, strangerUid, strangerUid);
    const foreign = await ran(folder, ["token"]);
    t.equal(foreign.stdout, quiet.stdout);
    t.match(foreign.stderr, `its folder belongs to another user (uid ${strangerUid})`);
  },
);

t.test("a stranger's file is no secret, by whatever name it is reached", needsTwo, async (t) => {
  const folder = stage(t);
  const shared = join(folder, "shared"), path = join(shared, "t");
  mkdirSync(shared);
  chmodSync(shared, 0o777);
  for (const mode of ["600", "400", "700"]) {
    strangersFile(path, theirs, mode);
    symlinkSync(path, join(folder, "link"));
    for (const name of [path, join(folder, "link")]) {
      const { code, stdout, stderr } = await ran(folder, ["token", "--token-file", name]);
      t.equal(code, 5, stderr);
      t.match(stderr, `belongs to another user (uid ${strangerUid})`);
      t.notMatch(stdout + stderr, theirs);
    }
    // The user's own place, in a home that a stranger can write to.
    const own = join(folder, "home", ".config", "taskmaster");
    mkdirSync(own, { recursive: true });
    chmodSync(own, 0o777);
    strangersFile(join(own, "token"), theirs, mode);
    for (
      const args of [["token"], ["run", "x.mjs", "--host", "127.0.0.1:0"], [
        "slave",
        "x.mjs",
        "--host",
        "127.0.0.1:1",
      ]]
    ) {
      const { code, stderr } = await ran(folder, args);
      t.equal(code, 5, stderr);
      t.match(stderr, `belongs to another user (uid ${strangerUid})`);
    }
    const tls = ["--tls-cert", "c.pem", "--tls-key", path];
    for (const args of [["master", "x.mjs", "--host", "127.0.0.1:0", "--insecure", ...tls]]) {
      const { code, stderr } = await ran(folder, args);
      t.equal(code, 5, stderr);
      t.match(stderr, /The private key .* belongs to another user/);
    }
    for (const each of [path, join(folder, "link"), join(own, "token")]) unlinkSync(each);
  }
});

t.test("root's file is a secret of everybody who can read it; a user's own is one", needsTwo, async (t) => {
  const folder = stage(t);
  const run = (path: string, program: readonly string[]) =>
    spawnSync(program[0]!, [...program.slice(1), binary, "token", "--token-file", path], {
      env: { PATH: process.env.PATH, HOME: join(folder, "home") },
      encoding: "utf8",
      timeout: 20_000,
    });
  const asStranger = ["setpriv", `--reuid=${strangerUid}`, `--regid=${strangerUid}`, "--clear-groups"];
  const path = join(folder, "t");
  writeFileSync(path, ours, { mode: 0o600 });
  t.equal(run(path, ["env"]).stdout, `${ours}\n`, "root's own");
  t.match(run(path, asStranger).stderr, /Cannot read the token file .*EACCES/);
  chownSync(path, strangerUid, strangerUid);
  t.equal(run(path, asStranger).stdout, `${ours}\n`, "the stranger's own");
  t.match(run(path, ["env"]).stderr, "belongs to another user");
  chownSync(path, 0, 0);
  chmodSync(path, 0o604);
  t.match(run(path, asStranger).stderr, "Others can use the token file");
});

t.test("what is no regular file is refused at once, wherever a file is named", async (t) => {
  const folder = stage(t);
  const at = (name: string) => join(folder, name);
  t.equal(spawnSync("mkfifo", ["-m", "600", at("pipe")]).status, 0);
  mkdirSync(at("folder"), { mode: 0o700 });
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(at("socket"), resolve));
  t.teardown(() => server.close());
  chmodSync(at("socket"), 0o600);
  const kinds: Record<string, string> = {
    pipe: "a pipe",
    folder: "a folder",
    socket: "a socket",
    "/dev/zero": "a device",
  };
  writeFileSync(at("key"), "k", { mode: 0o600 });
  for (const [name, kind] of Object.entries(kinds)) {
    const path = name.startsWith("/") ? name : at(name), link = at(`link to ${kind}`);
    symlinkSync(path, link);
    for (const named of [path, link]) {
      const host = ["--host", "127.0.0.1:0"];
      const uses: readonly (readonly string[])[] = [
        ["token", "--token-file", named],
        ["run", "x.mjs", ...host, "--token-file", named],
        ["slave", "x.mjs", "--token-file", named],
        ["master", "x.mjs", ...host, "--insecure", "--tls-cert", "key", "--tls-key", named],
        ["master", "x.mjs", ...host, "--insecure", "--tls-cert", named, "--tls-key", "key"],
        ["slave", "x.mjs", "--insecure", "--tls-ca", named],
      ];
      for (const args of uses) {
        const { code, stderr } = await ran(folder, args, binary);
        t.equal(code, 5, `${args.join(" ")}: ${stderr}`);
        t.match(stderr, `it is ${kind}, and must be a regular file`);
      }
    }
  }
  writeFileSync(at("key"), ours);
  for (const name of ["pipe", "/dev/zero"]) {
    const { code, stderr } = await ran(
      folder,
      ["run", name, "--host", "127.0.0.1:0", "--token-file", "key"],
      binary,
    );
    t.equal(code, 4, stderr);
    t.match(
      stderr,
      /Cannot load the plugin .* is a pipe, a socket or a device/,
      "nor is a plugin waited for",
    );
  }
  const besideBinary = join(folder, "bin", "taskmaster.token");
  symlinkSync(at("pipe"), besideBinary);
  const beside = await ran(folder, ["token"]);
  t.equal(beside.code, 5, beside.stderr);
  t.match(beside.stderr, "it is a pipe");
});

t.test("a pipe that was handed over open is read, and not waited for without end", async (t) => {
  const folder = stage(t);
  spawnSync("mkfifo", ["-m", "600", join(folder, "pipe")]);
  const bash = (script: string) => ran(folder, ["-c", script, "bash", binary], "bash");
  const late = await bash(`"$1" token --token-file <(sleep 0.3; echo ${ours})`);
  t.equal(late.stdout, `${ours}\n`, late.stderr);
  const never = await bash(`exec 9<>pipe; "$1" token --token-file /dev/fd/9`);
  t.equal(never.code, 5, never.stderr);
  t.match(never.stderr, "Cannot read the token file /dev/fd/9: it is a pipe that did not end within 5 s");
});

t.test("a token that could be guessed is refused by every command that takes one", async (t) => {
  const folder = stage(t);
  for (const weak of ["0".repeat(32), "password".repeat(4)]) {
    writeFileSync(join(folder, "t"), weak, { mode: 0o600 });
    for (
      const args of [
        ["token"],
        ["run", "x.mjs", "--host", "127.0.0.1:0"],
        ["master", "x.mjs", "--host", "127.0.0.1:0"],
        ["slave", "x.mjs", "--host", "127.0.0.1:1"],
      ]
    ) {
      const { code, stderr, stdout } = await ran(folder, [...args, "--token-file", "t"], binary);
      t.equal(code, 5, stderr);
      t.match(
        stderr,
        /The token in t is one short word over and over, .*`taskmaster token` makes a good one/,
      );
      t.notMatch(stderr + stdout, weak);
    }
  }
});

import t from "tap";
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { connect, createServer } from "node:net";
import { basename, join } from "node:path";
import { makeOwnFolder, ownFileAt } from "../../src/lib/own_file.ts";
import { encodeStart } from "../../src/lib/worker_start.ts";
import { greetWorker, makeWorkerSecret } from "../../src/link/local_link.ts";
import { encodeMessage } from "../../src/protocol/parse.ts";
import { runtimes } from "../kit/runtimes.ts";
import { portOf } from "../kit/scenario.ts";
import { until } from "../kit/until.ts";
import { row, type Stage } from "./stage.ts";
import { noStranger, Stranger } from "./stranger.ts";

// Table E of docs/reliability.md, as far as other users of the same machine go, and what handlers start.

t.jobs = 3;

/**
 * A folder that is not the stranger's is cleared away; he makes one of its name, with links to what he wants written in the
 * places of what is to be written, and a socket that tells whoever comes to load a plugin.
 */
const takeover = `
  const fs = require("node:fs"), net = require("node:net");
  const [folder, victim, load] = process.argv.slice(1);
  fs.mkdirSync(folder);
  for (let n = 1; n <= 60; n++) for (const what of ["note", "last"]) fs.symlinkSync(victim, folder + "/" + n + "." + what);
  net.createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", (chunk) => console.log("heard " + chunk.toString("hex")));
    socket.write(Buffer.from(load, "hex"));
  }).listen(folder + "/s", () => {
    fs.chmodSync(folder + "/s", 0o777);
    fs.chmodSync(folder, 0o755);
    console.log("sits");
  });
`;

/** What makes a worker run this plugin, if it takes it from a stranger. */
function loadOf(plugin: string): string {
  const load = { kind: "load", plugin, exportName: "", hash: new Uint8Array(0) } as const;
  return Buffer.from(encodeMessage(load)).toString("hex");
}

/** A plugin that leaves a mark wherever it is loaded. */
function markingPlugin(folder: string): Readonly<{ plugin: string; mark: string }> {
  const [plugin, mark] = [join(folder, "stranger.mjs"), join(folder, "mark")];
  const code = `import { writeFileSync } from "node:fs"; writeFileSync(${
    JSON.stringify(mark)
  }, String(process.pid));`;
  writeFileSync(plugin, `${code}\nexport function handleJob() {}\n`);
  return { plugin, mark };
}

/** A temporary folder that everybody may write to, as /tmp is. */
function sharedFolder(t: { teardown(end: () => void): void }, mode = 0o1777): string {
  const shared = mkdtempSync("/tmp/tm-shared-");
  chmodSync(shared, mode);
  t.teardown(() => rmSync(shared, { recursive: true, force: true }));
  return shared;
}

const workersFolder = (shared: string): string =>
  join(shared, readdirSync(shared).find((name) => name.startsWith("taskmaster-"))!);

/** A slave with one worker, whose temporary folder is shared, and which has begun job 0. */
async function begun(
  stage: Stage,
  shared: string,
): Promise<Readonly<Record<"master" | "slave", ReturnType<Stage["hand"]>>>> {
  const master = stage.scripted("gate:a,5*ok", ["--backoff", "1ms"]);
  const words = ["slave", stage.plugin, "--host", `127.0.0.1:${await portOf(master)}`, "--procs", "1"];
  const slave = stage.start(runtimes.binary, words, { TMPDIR: shared });
  await until(() => stage.entries("B", 0).length > 0, "job 0 begun");
  return { master, slave };
}

row(
  "E12: who takes over a workers' folder that was cleared away gets nothing, and nothing is written for him",
  async (t, stage) => {
    const shared = sharedFolder(t);
    const { master, slave } = await begun(stage, shared);
    const victim = stage.write("victim", "what only its owner may change");
    const { plugin, mark } = markingPlugin(shared);
    const folder = workersFolder(shared);
    rmSync(folder, { recursive: true });
    const stranger = new Stranger(t, takeover, [folder, victim, loadOf(plugin)]);
    await stranger.said(/sits/);
    process.kill(stage.entries("B", 0)[0]!.pid, "SIGKILL");
    await until(() => stage.entries("B", 0).length > 1 || existsSync(mark), "job 0 begun again");
    t.notOk(existsSync(mark), "his plugin is loaded nowhere");
    t.equal(stage.read("victim").toString(), "what only its owner may change");
    if (existsSync(mark)) return;
    stage.open("a");
    t.equal(await master.ended, 0, master.stderr);
    t.equal(await slave.ended, 0, slave.stderr);
    t.match(master.ending(), { done: 6, dead: 0 });
    t.equal(stranger.stdout, "sits\n", "no worker came to him");
    t.equal(readdirSync(folder).length, 121, "what is his is left to him");
    t.match(slave.stderr, /another one is in its place\): making a new folder/);
  },
  { skip: noStranger() },
);

row(
  "E12: a folder that was opened to others, or whose socket was replaced, is used no more",
  async (t, stage) => {
    for (
      const [what, spoil] of Object.entries<(folder: string) => void>({
        "opened": (folder) => chmodSync(folder, 0o755),
        "a socket that is another one": (folder) => {
          rmSync(join(folder, "s"));
          symlinkSync(join(folder, "elsewhere"), join(folder, "s"));
        },
        "a link to it": (folder) => {
          spawnSync("mv", [folder, `${folder}.moved`], { timeout: 10_000 });
          symlinkSync(`${folder}.moved`, folder);
        },
      })
    ) {
      const shared = sharedFolder(t);
      stage.unlink("open.a");
      stage.unlink("scripted.state");
      const before = stage.entries("B", 0).length;
      const master = stage.scripted("gate:a,5*ok", ["--backoff", "1ms", "--reset", "--force"]);
      const words = ["slave", stage.plugin, "--host", `127.0.0.1:${await portOf(master)}`, "--procs", "1"];
      const slave = stage.start(runtimes.binary, words, { TMPDIR: shared });
      await until(() => stage.entries("B", 0).length > before, "job 0 begun");
      spoil(workersFolder(shared));
      process.kill(stage.entries("B", 0).at(-1)!.pid, "SIGKILL");
      await until(() => stage.entries("B", 0).length > before + 1, "job 0 begun again");
      stage.open("a");
      t.equal(await master.ended, 0, `${what}: ${master.stderr}`);
      t.equal(await slave.ended, 0, `${what}: ${slave.stderr}`);
      t.match(slave.stderr, /making a new folder/, what);
    }
  },
);

row(
  "E12: workers that outlive their slave clear away what was theirs, and nothing else",
  async (t, stage) => {
    for (const isTakenOver of [false, true]) {
      const shared = sharedFolder(t);
      const master = stage.scripted("gate:a", ["--reset", "--force"]);
      const before = stage.entries("B", 0).length;
      const words = ["slave", stage.plugin, "--host", `127.0.0.1:${await portOf(master)}`, "--procs", "1"];
      const slave = stage.start(runtimes.binary, words, { TMPDIR: shared });
      await until(() => stage.entries("B", 0).length > before, "job 0 begun");
      const worker = stage.entries("B", 0).at(-1)!.pid;
      const folder = workersFolder(shared);
      if (isTakenOver) {
        rmSync(folder, { recursive: true });
        mkdirSync(folder, { mode: 0o700 });
        writeFileSync(join(folder, "1.note"), "of somebody else");
      }
      slave.signal("SIGKILL");
      await until(() => !existsSync(`/proc/${worker}`), "the worker's end");
      t.same(readdirSync(shared), isTakenOver ? [basename(folder)] : []);
      if (isTakenOver) t.same(readdirSync(folder), ["1.note"]);
      master.signal("SIGKILL");
      await master.ended;
    }
  },
);

row("E12: where the temporary folder lets others rename, the socket is not in it", async (t, stage) => {
  const shared = sharedFolder(t, 0o777);
  const { master, slave } = await begun(stage, shared);
  t.notOk(readdirSync(shared).length, "another temporary folder is taken");
  stage.open("a");
  t.equal(await master.ended, 0, master.stderr);
  t.equal(await slave.ended, 0, slave.stderr);
});

/** A worker that is told this; how it ended. */
async function workerOf(stage: Stage, [command, ...words]: readonly string[], start: string) {
  const worker = spawn(command!, [...words, "worker"], {
    stdio: ["pipe", "ignore", "pipe"],
    env: { ...stage.env, TASKMASTER_GENERATION: "worker", TASKMASTER_PARENT: String(process.pid) },
    timeout: 30_000,
    // Workers listen to the others.
    killSignal: "SIGKILL",
  });
  let stderr = "";
  worker.stderr.on("data", (text) => stderr += text);
  worker.stdin.end(start);
  const code = await new Promise((resolve) => worker.once("close", resolve));
  return { code, stderr };
}

for (const name of ["binary", "bun", "deno", "node"] as const) {
  row(
    `E12: a worker whose supervisor is a stranger tells him nothing and does nothing for him: ${name}`,
    async (t, stage) => {
      const { plugin, mark } = markingPlugin(stage.folder);
      const load = Buffer.from(loadOf(plugin), "hex");
      const secret = makeWorkerSecret();
      const answers: Record<string, (call: Buffer) => Uint8Array> = {
        "at once, as if it were known": () => load,
        "with a proof made up": () => Buffer.concat([new Uint8Array(64), load]),
        "with what it said": (call) => Buffer.concat([call, call.subarray(0, 28), load]),
      };
      for (const [what, answer] of Object.entries(answers)) {
        let heard = Buffer.alloc(0);
        const server = createServer((socket) => {
          socket.on("error", () => {});
          socket.on("data", (chunk) => {
            const isFirst = heard.length === 0;
            heard = Buffer.concat([heard, chunk]);
            if (isFirst) socket.write(answer(chunk));
          });
        });
        const address = join(stage.folder, `s${what.length}`);
        await new Promise<void>((resolve) => server.listen(address, resolve));
        const start = {
          address,
          worker: 1,
          secret,
          socket: null,
          folder: null,
          note: null,
          last: null,
          log: null,
        };
        const { code, stderr } = await workerOf(stage, runtimes[name], encodeStart(start));
        server.close();
        t.equal(code, 70, `${what}: ${stderr}`);
        t.match(stderr, /did not prove that it is this worker's supervisor/, what);
        t.equal(heard.length, 36, `${what}: it says its number and a nonce`);
        t.notOk(heard.includes(Buffer.from(secret)), what);
        t.notOk(existsSync(mark), `${what}: his plugin is not loaded`);
      }
    },
  );
}

row("E12: who sits at the socket and relays is found out by his place", async (t, stage) => {
  const folder = makeOwnFolder(join(stage.folder, "own-"));
  const [address, moved] = [join(folder.path, "s"), join(folder.path, "moved")];
  const secret = makeWorkerSecret();
  let isIn = false;
  const supervisor = createServer((socket) =>
    greetWorker(socket, {
      secretOf: () => secret,
      onWorker: (_, link) => {
        isIn = true;
        void link.close("it is in");
      },
      nowMs: () => performance.now(),
    })
  );
  await new Promise<void>((resolve) => supervisor.listen(address, resolve));
  const socket = ownFileAt(address);
  renameSync(address, moved);
  let relayed = 0;
  const relay = createServer((worker) => {
    const on = connect(moved);
    worker.on("error", () => {}).on("close", () => on.destroy()).on("data", (chunk) => {
      relayed += chunk.length;
      on.write(chunk);
    });
    on.on("error", () => {}).pipe(worker);
  });
  await new Promise<void>((resolve) => relay.listen(address, resolve));
  const start = { address, worker: 1, secret, socket, folder, note: null, last: null, log: null };
  const { code, stderr } = await workerOf(stage, runtimes.binary, encodeStart(start));
  t.equal(code, 70, stderr);
  t.match(stderr, /did not prove/);
  t.equal(relayed, 36, "he is not told the proof");
  t.notOk(isIn);
  relay.close();
  supervisor.close();
});

row(
  "E12: a worker that strangers have put out of its place before it was known calls again",
  async (t, stage) => {
    const secret = makeWorkerSecret();
    let calls = 0, isIn = false;
    const server = createServer((socket) => {
      socket.on("error", () => {});
      if (++calls <= 3) return void socket.destroy();
      greetWorker(socket, {
        // The fourth time the worker has seen the proof of its supervisor, and its own comes too late.
        secretOf: () => calls === 4 ? secret.slice() : secret,
        onWorker: (_, link) => {
          isIn = true;
          link.send({ kind: "quit", waitMs: 0, isSick: false });
        },
        nowMs: () => performance.now(),
      });
    });
    const address = join(stage.folder, "s");
    await new Promise<void>((resolve) => server.listen(address, resolve));
    const start = {
      address,
      worker: 1,
      secret,
      socket: null,
      folder: null,
      note: null,
      last: null,
      log: null,
    };
    const { code, stderr } = await workerOf(stage, runtimes.binary, encodeStart(start));
    server.close();
    t.ok(isIn, `it ended with ${code}: ${stderr}`);
    t.equal(calls, 5);
    t.equal(code, 0, "it does what it is told, and calls no more");
  },
);

/** What a handler finds of its worker's environment, and starts without one of its own. */
const spawning = (dir: string): string => `
  import { spawnSync } from "node:child_process";
  import { readFileSync, writeFileSync } from "node:fs";
  export function* getJobs() { yield { n: 1 }; }
  export function handleJob() {
    const { Bun, Deno } = globalThis;
    const environ = ["/bin/cat", "/proc/self/environ"];
    const found = {
      own: Deno ? "" : readFileSync("/proc/self/environ", "latin1"),
      node: String(spawnSync(environ[0], environ.slice(1)).stdout),
      native: Bun ? String(Bun.spawnSync(environ).stdout)
        : Deno ? new TextDecoder().decode(new Deno.Command(environ[0], { args: environ.slice(1) }).outputSync().stdout) : "",
      stdin: String(spawnSync("/bin/cat", { stdio: [0, "pipe", "inherit"] }).stdout),
      again: -1,
      said: "",
    };
    if (Bun && process.argv[1].startsWith("/$bunfs/")) {
      const place = ["--state-dir", ${JSON.stringify(dir)}, "--host", "127.0.0.1:0", "--procs", "1"];
      const { exitCode, stderr } = Bun.spawnSync([process.execPath, "run", ${
  JSON.stringify(join(dir, "inner.mjs"))
}, ...place]);
      found.again = exitCode;
      found.said = String(stderr);
    }
    writeFileSync(${JSON.stringify(join(dir, "found.json"))}, JSON.stringify(found));
  }
`;

for (const name of ["binary", "bun", "deno", "node"] as const) {
  row(
    `E13: what a handler starts has nothing of its worker, however it is started: ${name}`,
    async (t, stage) => {
      const plugin = stage.write("outer.mjs", spawning(stage.folder));
      stage.write("inner.mjs", "export function* getJobs() { yield 1; }\nexport function handleJob() {}\n");
      const master = stage.masterOf(plugin, [], 0, runtimes[name]);
      const slave = stage.hand(await portOf(master), ["--log-format", "json"], plugin, runtimes[name]);
      t.equal(await master.ended, 0, master.stderr);
      t.equal(await slave.ended, 0, slave.stderr);
      const { own, node, native, stdin, again, said } = JSON.parse(stage.read("found.json").toString());
      for (const environ of [own, node, native]) {
        t.notMatch(environ, /TASKMASTER_WORKER|SECRET|SOCKET|TASKMASTER_TOKEN|TASKMASTER_LOG/);
      }
      t.match(node, /PATH=/, "it is an environment");
      t.equal(stdin, "", "nor does its standard input tell anything");
      if (name === "binary") t.equal(again, 0, `a run of its own is none of a worker: ${said}`);
    },
  );
}

import t from "tap";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runtimes } from "../kit/runtimes.ts";
import { portOf, probePlugin, Scenario } from "../kit/scenario.ts";

/** A command of a client to the end, and what it said. */
async function told(scenario: Scenario, words: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const program = scenario.start(runtimes.binary, words, env);
  const code = await program.ended;
  return { code, stdout: program.stdout, stderr: program.stderr };
}

function scene(t: { teardown(end: () => unknown): unknown }): Scenario {
  const scenario = new Scenario();
  t.teardown(() => scenario.end());
  return scenario;
}

const place = (scenario: Scenario) => ["probe", "--state-dir", scenario.folder];

t.test("a paused run stays paused over a restart, shows why, and goes on: nothing is lost", async (t) => {
  const scenario = scene(t);
  const words = ["jobs=400", "pause=20", "--json", "--status-interval", "100ms"];
  const first = scenario.master(words);
  const port = await portOf(first);
  scenario.slave(port, ["--procs", "1", "--concurrency", "2"]);
  await first.event(({ event, done }) => event === "status" && Number(done) > 20);
  const paused = await told(scenario, ["ctl", ...place(scenario), "pause"]);
  t.equal(paused.code, 0, paused.stderr);
  t.match(paused.stdout, /^Paused: /);
  t.match(await first.event(({ event }) => event === "control"), { command: "pause", value: null });
  await first.event(({ event, reasonCode, inFlight }) =>
    event === "status" && reasonCode === "paused" && inFlight === 0
  );
  first.signal("SIGKILL");
  await first.ended;

  const second = scenario.master(words, runtimes.binary, port);
  t.match(await second.printed(/The run is paused[^\n]*/), [/taskmaster ctl \W+\S+probe\.state\W+resume/]);
  await second.event(({ event, reasonCode, slaves }) =>
    event === "status" && reasonCode === "paused" && slaves === 1
  );
  const report = await told(scenario, ["status", probePlugin, "--state-dir", scenario.folder]);
  t.match(report.stdout, /^probe: paused\n/);
  t.match(report.stdout, /Slaves: 1\n/);
  const json = JSON.parse((await told(scenario, ["status", ...place(scenario), "--json"])).stdout);
  t.match(json, { key: "probe", reason: "paused", reasonCode: "paused", inFlight: 0 });
  t.match(json.sessions, [{ workers: 1, inFlight: 0, failures: 0, mode: "open" }]);
  t.type(json.sessions[0].heardMs, "number");

  const resumed = await told(scenario, ["ctl", "resume", "--host", `127.0.0.1:${port}`]);
  t.equal(resumed.code, 0, resumed.stderr);
  await second.endedWith(0);
  t.match(second.ending(), { done: 400, dead: 0, stranded: 0 });
  t.match(await told(scenario, ["status", ...place(scenario)]), {
    code: 5,
    stderr: /No master of "probe" runs: there is no probe\.lock/,
  });
});

t.test("it is steered without a slave, and while its plugin holds its thread", async (t) => {
  const scenario = scene(t);
  const plugin = join(scenario.folder, "busy.ts");
  writeFileSync(
    plugin,
    "export function* getJobs() { for (let id = 0;; id++) { const endMs = Date.now() + 150; while (Date.now() < endMs); yield id; } }\n" +
      "export const cursor = (id: number) => id;\nexport const handleJob = () => {};\n",
  );
  const master = scenario.start(runtimes.binary, ["master", plugin, "--host", "127.0.0.1:0"]);
  await portOf(master);
  const where = ["busy", "--state-dir", scenario.folder];
  for (const verb of ["pause", "checkpoint", "resume"]) {
    const { code, stderr } = await told(scenario, ["ctl", ...where, verb]);
    t.equal(code, 0, stderr);
  }
  t.match((await told(scenario, ["status", ...where])).stdout, /^busy: waiting for slaves\n/);
  const watched = scenario.start(runtimes.binary, ["status", ...where, "--watch"]);
  await watched.printed(/waiting for slaves\n.*waiting for slaves\n/s);
  const other = scenario.start(runtimes.binary, ["status", ...where, "--watch"]);
  await other.printed(/waiting for slaves/);
  master.signal("SIGSTOP");
  other.signal("SIGINT");
  t.equal(await other.ended, 130, "a master that is stopped keeps nobody");
  master.signal("SIGCONT");
  master.signal("SIGKILL");
  t.equal(await watched.ended, 5, "a connection that breaks is not the end of the run");
  t.match(await told(scenario, ["ctl", ...where, "pause"]), {
    code: 5,
    stderr: /The master of "busy" \(pid \d+ on ".*"\) has died without a word/,
  });
});

t.test("a checkpoint is durable when it is said to be", async (t) => {
  const scenario = scene(t);
  const master = scenario.master(["jobs=10", "--checkpoint", "1h"]);
  const port = await portOf(master);
  const state = () => readFileSync(join(scenario.folder, "probe.state"));
  const before = state();
  const watched = scenario.start(runtimes.binary, ["status", ...place(scenario), "--watch"]);
  await watched.printed(/waiting for slaves/);
  t.equal((await told(scenario, ["ctl", ...place(scenario), "pause"])).code, 0);
  t.notOk(state().equals(before), "a setting is saved at once");
  t.match((await told(scenario, ["state", ...place(scenario)])).stdout, /Settings: paused=true\n/);
  const savedMs = () => statSync(join(scenario.folder, "probe.state")).mtimeMs;
  const pausedMs = savedMs();
  t.match(await told(scenario, ["ctl", "checkpoint", "--host", `:${port}`]), {
    code: 0,
    stdout: /^The state is saved/,
  });
  t.ok(savedMs() > pausedMs);
  master.signal("SIGTERM");
  t.equal(await watched.ended, 0, "a master that leaves ends the watch");
});

t.test("who may not steer is told why", async (t) => {
  const scenario = scene(t);
  const master = scenario.master(["jobs=10"]);
  const port = await portOf(master);
  const other = await told(scenario, ["ctl", ...place(scenario), "pause"], {
    TASKMASTER_TOKEN: "another-token-of-enough-characters-0123456789",
  });
  t.match(other, { code: 5, stderr: /token/ });
  t.match(await told(scenario, ["ctl", "--host", `:${port}`, "--insecure", "pause"]), {
    code: 5,
    stderr: /asks for a token/,
  });
  t.match(await told(scenario, ["status", "--host", `:${port}`, "--key", "other"]), {
    code: 5,
    stderr: /--key says "other", and --host .*, but there answers a master of "probe"/,
  });
  for (
    const [words, complaint] of [
      [["ctl"], /needs a verb, such as `taskmaster ctl plugins\/posts\.ts pause`/],
      [["ctl", "pauze"], /no verb "pauze": did you mean pause\?/],
      [["ctl", "probe", "status"], /`taskmaster status` shows/],
      [["ctl", "plugins/posts.ts"], /needs a verb behind the run/],
      [["ctl", "probe", "pause", "now"], /./],
      [["status", "probe", "pause"], /./],
    ] as const
  ) t.match(await told(scenario, words), { code: 2, stderr: complaint }, words.join(" "));
  t.match(await told(scenario, ["status", "--host", `:${port}`]), { code: 0, stdout: /^probe: waiting/ });
});

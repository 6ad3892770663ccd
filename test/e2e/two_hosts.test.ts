import t from "tap";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FakeMaster } from "../slave/fake_master.ts";
import type { Program } from "../kit/program.ts";
import { binary } from "../kit/runtimes.ts";
import { portOf } from "../kit/scenario.ts";
import { until } from "../kit/until.ts";
import { heartbeat, row, type Stage, token } from "./stage.ts";

// C6 of docs/reliability.md: two masters of one key on two hosts that share a disk. A network and a host name of its
// own make a "host" here: neither sees the other's abstract sockets, so the kernel's lock is no help.

t.jobs = 3;

const mayUnshare = process.platform === "linux" &&
  spawnSync("unshare", ["--net", "--uts", "ip", "link"]).status === 0;
const skip = mayUnshare ? false : "new network namespaces are not allowed here";

/** Two hosts with a cable between them. */
class Hosts {
  readonly addresses = ["10.77.0.1", "10.77.0.2"] as const;
  readonly #holders: ChildProcess[] = [];
  readonly #stage: Stage;

  private constructor(stage: Stage) {
    this.#stage = stage;
  }

  static async make(stage: Stage): Promise<Hosts> {
    const hosts = new Hosts(stage);
    for (const name of ["host-a", "host-b"]) {
      const prepare = `hostname ${name} && ip link set lo up && echo ready && exec sleep 80`;
      const holder = spawn("unshare", ["--net", "--uts", "sh", "-c", prepare], {
        stdio: ["ignore", "pipe", 2],
      });
      await new Promise((resolve) => holder.stdout!.once("data", resolve));
      hosts.#holders.push(holder);
    }
    const peer = String(hosts.#holders[1]!.pid);
    hosts.#ip(0, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", peer);
    for (const host of [0, 1] as const) {
      hosts.#ip(host, "addr", "add", `${hosts.addresses[host]}/24`, "dev", "cable");
      hosts.#ip(host, "link", "set", "cable", "up");
    }
    return hosts;
  }

  /** Pulls the cable, or plugs it in. */
  cable(is: "up" | "down"): void {
    this.#ip(0, "link", "set", "cable", is);
  }

  master(host: 0 | 1, script: string): Program {
    const { folder, plugin } = this.#stage;
    const place = ["--state-dir", folder, "--host", `${this.addresses[host]}:0`, "--json", ...heartbeat];
    return this.#start(host, ["master", plugin, `dir=${folder}`, `script=${script}`, ...place]);
  }

  slave(host: 0 | 1, of: 0 | 1, port: number): Program {
    const where = ["--host", `${this.addresses[of]}:${port}`, "--procs", "1"];
    return this.#start(host, ["slave", this.#stage.plugin, ...where]);
  }

  end(): void {
    for (const holder of this.#holders) holder.kill("SIGKILL");
  }

  #start(host: number, args: string[]): Program {
    return this.#stage.start(["nsenter", ...this.#inside(host), binary], args);
  }

  #ip(host: number, ...args: string[]): void {
    const { status, stderr } = spawnSync("nsenter", [...this.#inside(host), "ip", ...args], {
      encoding: "utf8",
    });
    if (status !== 0) throw new Error(`ip ${args.join(" ")}: ${stderr}`);
  }

  #inside(host: number): string[] {
    return ["-t", String(this.#holders[host]!.pid), "--net", "--uts", "--"];
  }
}

const script = "300*wait:10,gate,20*ok";

row("C6: the first one answers at the address in its lock: the second is refused", async (t, stage) => {
  const hosts = await Hosts.make(stage);
  t.teardown(() => hosts.end());
  const first = hosts.master(0, script);
  await portOf(first);
  const second = hosts.master(1, script);
  t.equal(await second.ended, 6, second.stderr);
  t.match(second.stderr, /its master runs elsewhere, pid \d+ on "host-a" at 10\.77\.0\.1:\d+: it answers/);
  first.signal("SIGINT");
  t.equal(await first.ended, 130);
  const third = hosts.master(1, script);
  await portOf(third);
  t.notMatch(third.stderr, /did not end in order/, "after an orderly end nobody waits");
}, { skip });

row("C6: the first one cannot be reached, but saves: the second is refused", async (t, stage) => {
  const hosts = await Hosts.make(stage);
  t.teardown(() => hosts.end());
  const first = hosts.master(0, "2000*wait:10");
  hosts.slave(0, 0, await portOf(first));
  await until(() => stage.entries("E").length > 10, "it runs");
  hosts.cable("down");
  const second = hosts.master(1, "2000*wait:10");
  t.equal(await second.ended, 6, second.stderr);
  t.match(second.stderr, /it is saving its state/);
  t.equal(first.hasEnded, false);
}, { skip });

row(
  "C6: the first one is stopped: the second takes over, and the first one ends when it wakes",
  async (t, stage) => {
    const hosts = await Hosts.make(stage);
    t.teardown(() => hosts.end());
    const first = hosts.master(0, script);
    const holder = hosts.slave(0, 0, await portOf(first));
    await until(() => stage.entries("E").length > 20, "it runs");
    first.signal("SIGSTOP");
    const firstState = stage.read("scripted.state");
    const second = hosts.master(1, script);
    const port = await portOf(second);
    await second.printed(/did not end in order\. Watching for 1\.5 s/);
    t.match(await stage.state(), { epoch: 2 });
    hosts.slave(1, 1, port);
    await until(() => stage.entries("E").length > 100, "the second one goes on");
    // As a rename would that was under way when the first one was stopped.
    writeFileSync(join(stage.folder, "late"), firstState);
    renameSync(join(stage.folder, "late"), join(stage.folder, "scripted.state"));
    await second.printed(/was replaced by an older one meanwhile; writing it anew/);
    await until(() => stage.entries("B", 300).length > 0, "it is at the gate");
    first.signal("SIGCONT");
    t.equal(await first.ended, 6, first.stderr);
    t.match(first.stderr, /another master took this run over \(epoch 2, this master's is 1\)/);
    t.match(await stage.state(), { epoch: 2 });
    stage.open();
    t.equal(await second.ended, 0, second.stderr);
    t.same(stage.records().lost(321), []);
    t.match(second.ending(), { handedOut: 321, done: 321, stranded: 0 });
    t.equal(holder.hasEnded, false, "the first one's slave waits for it");
  },
  { skip },
);

row("C6: a slave obeys the highest epoch of its run", async (t, stage) => {
  const plugin = stage.write("handlers.ts", "export function handleJob() {}");
  const life = async (epoch: number, port: number) => {
    const master = await FakeMaster.start({
      runId: "one",
      masterId: `m${epoch}`,
      epoch,
      port,
      token,
      heartbeatMs: 500,
    });
    t.teardown(() => master.stop());
    return master;
  };
  const second = await life(2, 0);
  const slave = stage.hand(second.port, [], plugin);
  await second.until((master) => master.isReady);
  await second.stop();
  const first = await life(1, second.port);
  await first.until((master) => master.closed > 0);
  t.equal(first.isReady, false, "it is not told what the slave holds");
  await slave.printed(/An earlier master of "key" answers still: it is left alone/);
  await first.stop();
  const third = await life(3, second.port);
  await third.until((master) => master.isReady);
  third.send({ kind: "dismiss" });
  t.equal(await slave.ended, 0, slave.stderr);
});

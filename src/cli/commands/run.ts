import { formatAddress } from "../../base/address.ts";
import { refuseWithoutChildren } from "../../base/start_words.ts";
import type { OptionName } from "../options.ts";
import type { Invocation } from "../invocation.ts";
import { LocalSlave } from "../local_slave.ts";
import { type MasterProgram, startMasterProgram } from "../master_program.ts";

/** A master on loopback, and one slave of this machine that ends with it. */
export async function run(invocation: Invocation): Promise<number> {
  refuseWithoutChildren();
  const program = await startMasterProgram(invocation);
  const slave = new LocalSlave({
    args: slaveArgs(invocation, program),
    tokenText: program.tokenText!, // `run` has no --insecure
    onLine: (line) => program.terminal.relay(line),
    onStart: () => program.awaitSlave(),
    isEnding: () => program.isEnding,
    onHopeless: (exitCode) =>
      program.fail(exitCode, `this machine's slave cannot run, as it said above (exit code ${exitCode})`),
    log: program.terminal.log,
  });
  // The slave starts meanwhile.
  program.greet();
  return await program.finish({
    // A finished run that is started again may end before its slave has joined: then nobody dismissed that one.
    ended: (isComplete) => slave.end(isComplete && program.master.status().settledNow > 0),
    hurried: () => slave.kill(),
  });
}

/** Flags of a run that are its slave's; what came by the environment reaches it by the environment. */
const passedOn: readonly OptionName[] = ["procs", "concurrency", "grace", "log-level", "log-format", "quiet"];

function slaveArgs({ line }: Invocation, { master, words }: MasterProgram): string[] {
  const plugin = words.exportName === undefined ? words.path : `${words.path}:${words.exportName}`;
  const host = master.address.host === "0.0.0.0" || master.address.host === "::"
    ? "127.0.0.1"
    : master.address.host;
  const flags = passedOn.filter((name) => line.flags[name] !== undefined).map((name) =>
    `--${name}=${line.flags[name]}`
  );
  return [
    `--host=${formatAddress({ host, port: master.address.port })}`,
    "--no-progress",
    "--json=false",
    ...flags,
    "--",
    plugin,
  ];
}

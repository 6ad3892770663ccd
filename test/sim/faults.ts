import type { SessionId } from "../../src/core/types.ts";
import type { Answer } from "../../src/protocol/messages.ts";
import type { SimMaster } from "./master.ts";
import type { Plan } from "./plan.ts";
import type { Simulation } from "./simulation.ts";

type Fault = keyof Plan["faults"];

/** Lets each fault happen with its probability. */
export function injectFault(simulation: Simulation): void {
  const { plan, world } = simulation;
  for (const [fault, rate] of Object.entries(plan.faults) as [Fault, number][]) {
    if (!world.random.perMille(rate)) continue;
    world.trace.note(fault);
    happen(simulation, fault);
  }
}

function happen(simulation: Simulation, fault: Fault): void {
  const { world: { random }, slaves, master } = simulation;
  const slave = slaves.length > 0 ? random.pick(slaves) : undefined;
  const link = simulation.links.length > 0 ? random.pick(simulation.links.slice(-6)) : undefined;
  const isMasterUp = master !== null && master.process.isAlive;
  switch (fault) {
    case "slaveDies":
      return slave?.die(false);
    case "hostDies":
      return slave?.die(true);
    case "linkHeld":
      return link?.hold("both", random.int(10, 8_000));
    case "linkHeldOneWay":
      return link?.hold(random.pick(["toSlave", "toMaster"]), random.int(10, 8_000));
    case "linkDies":
      return link?.die();
    case "slavePaused":
      return slave?.pause(random.int(10, 8_000));
    case "workerDies":
      return slave?.killWorker();
    case "masterDies":
      return isMasterUp ? simulation.masterDied(random.perMille(300)) : undefined;
    case "masterPaused":
      return isMasterUp ? master.pause(random.int(10, 10_000)) : undefined;
    case "masterStopped":
      return isMasterUp ? master.process.do(() => master.stop()) : undefined;
    case "staleAnswer":
      return isMasterUp ? sayStale(simulation, master) : undefined;
    case "redials":
      return slave?.redial();
    case "sourceThrows":
      return; // the source draws this fault itself
    default:
      return fault satisfies never;
  }
}

/** Sends an answer again, or a made-up answer for a lease of another session or of none: nothing may change. */
function sayStale(simulation: Simulation, master: SimMaster): void {
  const { random } = simulation.world;
  const { sessions } = master;
  if (sessions.length === 0) return;
  const session = random.pick(sessions);
  const answer = random.perMille(300) && master.heard.length > 0
    ? random.pick(master.heard).answer
    : forged(simulation, master, session);
  const before = summary(master);
  master.run.apply({ kind: "answered", session, number: 0, answer, at: "" }, simulation.world.nowMs);
  simulation.checks.unchanged(before, summary(master));
}

/** Makes an answer that acks all jobs, from a session that does not hold them. */
function forged({ world: { random } }: Simulation, master: SimMaster, session: SessionId): Answer {
  const foreign = master.run.capture().state.stranded.filter(({ lease }) => {
    return lease !== null && !master.sessionHolds(session, lease.name);
  });
  const lease = foreign.length > 0
    ? random.pick(foreign).lease!.name
    : { masterId: master.id, number: 1_000_000 };
  const everything = [0, 1_000_000];
  const nothing = { done: [], skipped: [], failed: [], crash: null, released: [] };
  return { lease, ...nothing, [random.pick(["done", "skipped", "released"])]: everything };
}

/** The parts of the status that may not change. Without `final`, because any event after the grace ends the run. */
function summary(master: SimMaster): string {
  const { stranded, final: _, ...counters } = master.run.capture().state;
  return JSON.stringify([
    { ...counters, last: null },
    stranded.map(({ span, history, lease }) => [span.seq, span.count, history, lease]),
  ]);
}

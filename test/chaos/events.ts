import type { Program } from "../kit/program.ts";

/** A slave joined a master or left it, as the master said with `--json`. */
export type SessionEvent = Readonly<{
  event: "joined" | "left";
  atMs: number;
  /** Which master, counted from 0, and its session. */
  master: number;
  session: number;
  /** Of the supervisor. */
  pid: number;
  reason: string;
}>;

/** What masters said of sessions, in the order in which it happened. */
export function sessionEvents(masters: readonly Program[]): SessionEvent[] {
  return masters.flatMap((program, master) =>
    program.events().filter(({ event }) => event === "joined" || event === "left").map((told) => ({
      event: told.event as "joined" | "left",
      atMs: Date.parse(told.at),
      master,
      session: Number(told.session),
      // a slave is named after host and pid
      pid: Number(String(told.slave).split(":").at(-1)),
      reason: String(told.reason ?? ""),
    }))
  );
}

/** Whether the slave of this pid is joined to the latest master now. */
export function isJoined(master: Program, pid: number): boolean {
  const own = sessionEvents([master]).filter((event) => event.pid === pid);
  return own.filter(({ event }) => event === "joined").length >
    own.filter(({ event }) => event === "left").length;
}

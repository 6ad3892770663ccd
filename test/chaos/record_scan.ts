import { closeSync, openSync, readdirSync, readSync } from "node:fs";
import { join } from "node:path";

/** One call of a handler. */
export type JobRun = Readonly<{
  id: number;
  /** Of the worker. */
  pid: number;
  /** Of its supervisor; 0 if the worker did not say. */
  supervisor: number;
  fromMs: number;
  /** Infinity if it never came to an end. */
  toMs: number;
  how: "ended" | "skipped" | "misbehaved" | "cut off";
}>;

export type RecordVisitor = Readonly<{
  /** A master yielded it; `again` by a source that goes back. */
  onYielded: (id: number, again: boolean) => void;
  onRun: (run: JobRun) => void;
  onProblem: (problem: string) => void;
}>;

type Open = Map<number, { fromMs: number; misbehavedMs: number }>;

const chunkBytes = 1 << 20;

/** Reads the records of all processes, a file at a time: they may be more than fit into memory as objects. */
export function scanRecords(folder: string, visitor: RecordVisitor): void {
  for (const name of readdirSync(folder).filter((name) => name.endsWith(".records"))) {
    scanFile(join(folder, name), Number(name.split(".")[0]), visitor);
  }
}

function scanFile(path: string, pid: number, visitor: RecordVisitor): void {
  let supervisor = 0;
  const open: Open = new Map();
  const end = (id: number, toMs: number, how: JobRun["how"]) => {
    const begun = open.get(id);
    if (begun === undefined) {
      return visitor.onProblem(`job ${id} ended in worker ${pid} and never began there`);
    }
    open.delete(id);
    visitor.onRun({ id, pid, supervisor, fromMs: begun.fromMs, toMs, how });
  };
  for (const line of lines(path)) {
    const [what, idText, atText] = line.split(" ");
    const id = Number(idText), atMs = Number(atText);
    if (what === "S") supervisor = id;
    else if (what === "Y" || what === "O") visitor.onYielded(id, what === "O");
    else if (what === "B") {
      const before = open.get(id);
      // one that threw writes no end
      if (before !== undefined && before.misbehavedMs < Infinity) end(id, before.misbehavedMs, "misbehaved");
      else if (before !== undefined) visitor.onProblem(`job ${id} began in worker ${pid} while it ran there`);
      open.set(id, { fromMs: atMs, misbehavedMs: Infinity });
    } else if (what === "X") open.get(id)!.misbehavedMs = atMs;
    else if (what === "E") end(id, atMs, "ended");
    else if (what === "K") end(id, atMs, "skipped");
  }
  for (const [id, { fromMs, misbehavedMs }] of open) {
    const how = misbehavedMs === Infinity ? "cut off" : "misbehaved";
    visitor.onRun({ id, pid, supervisor, fromMs, toMs: misbehavedMs, how });
  }
}

/** A last line that was cut off by a death has no newline, and is left out. */
function* lines(path: string): Generator<string> {
  const file = openSync(path, "r");
  try {
    const buffer = Buffer.alloc(chunkBytes);
    let rest = "";
    for (let bytes = readSync(file, buffer); bytes > 0; bytes = readSync(file, buffer)) {
      const parts = (rest + buffer.toString("latin1", 0, bytes)).split("\n");
      rest = parts.pop()!;
      yield* parts;
    }
  } finally {
    closeSync(file);
  }
}

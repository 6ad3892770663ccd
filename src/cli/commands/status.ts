import { type ControlClient, MasterLeftError } from "../../control/client.ts";
import { readSnapshot } from "../../control/commands.ts";
import { setTimeout } from "../../lib/clock.ts";
import { reported, safeJson } from "../../lib/text.ts";
import type { Snapshot } from "../../observe/events.ts";
import { reasonForJson } from "../../observe/ndjson.ts";
import { reasonInWords } from "../../observe/phrases.ts";
import { masterStatusLine } from "../../terminal/status_line.ts";
import { snapshotLines } from "../../terminal/status_report.ts";
import type { Invocation } from "../command.ts";
import { connectToRun } from "../reach_run.ts";
import { settle } from "../settings.ts";
import { onSignals, stopSignals } from "../signals.ts";

/** Between two looks of `--watch`. */
const watchMs = 1_000;
/** The cursor goes home, and what is below it is erased. */
const clearScreen = "\x1b[H\x1b[J";
const columnsDefault = 80;

/** Shows how a running master does. */
export async function status(invocation: Invocation): Promise<number> {
  const settings = settle(invocation.line, invocation.env);
  const client = await connectToRun(invocation.line.words[0], settings, invocation);
  try {
    if (settings.watch) return await watch(client, settings.json);
    show(await look(client), settings.json ? "json" : "report");
    return 0;
  } finally {
    await client.close();
  }
}

async function look(client: ControlClient): Promise<Snapshot> {
  return readSnapshot(await client.ask("status"));
}

type Form = "json" | "report" | "screen" | "line";

function show(snapshot: Snapshot, form: Form): void {
  const columns = process.stdout.columns || columnsDefault;
  switch (form) {
    case "json":
      return void process.stdout.write(
        `${safeJson(JSON.stringify({ ...snapshot, ...reasonForJson(snapshot.reason) }))}\n`,
      );
    case "line":
      return void process.stdout.write(
        `${masterStatusLine({ ...snapshot, reason: reasonInWords(snapshot.reason) })(Infinity)}\n`,
      );
    case "report":
      return void process.stdout.write(`${snapshotLines(snapshot, Infinity).join("\n")}\n`);
    case "screen": {
      const rows = (process.stdout.rows || 24) - 1;
      return void process.stdout.write(
        `${clearScreen}${snapshotLines(snapshot, columns - 1, rows).join("\n")}\n`,
      );
    }
    default:
      return form satisfies never;
  }
}

/** Ever again, until a signal, or until the master leaves. @throws {ConnectError} if the connection breaks. */
async function watch(client: ControlClient, isJson: boolean): Promise<number> {
  let exitCode: number | null = null;
  let interrupt = () => {};
  let lookNow = () => {};
  const over = onSignals({
    stop: (signal) => {
      exitCode = stopSignals[signal];
      interrupt();
    },
    show: () => lookNow(),
  });
  // A master that is stopped owes its answer for long: whoever looks on may leave all the same.
  const orSignal = <T>(work: Promise<T>) =>
    new Promise<T | null>((resolve, reject) => {
      interrupt = () => resolve(null);
      work.then(resolve, reject);
    });
  // Whoever read it has enough.
  process.stdout.once("error", () => {
    exitCode ??= 0;
    interrupt();
  });
  const form = isJson ? "json" : process.stdout.isTTY === true ? "screen" : "line";
  for (let looks = 0; exitCode === null; looks++) {
    const snapshot = await orSignal(look(client)).catch((error: unknown) => {
      if (looks === 0 || !(error instanceof MasterLeftError)) throw error;
      process.stderr.write(reported(error.message));
      exitCode ??= 0;
      return null;
    });
    if (snapshot === null) break;
    show(snapshot, form);
    await orSignal(
      new Promise<void>((resolve) => {
        lookNow = resolve;
        setTimeout(resolve, watchMs);
      }),
    );
  }
  over(exitCode!);
  return exitCode!;
}

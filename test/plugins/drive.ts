/**
 * Runs a plugin's jobs through a real source and a real handler, in this process, whatever runtime it is:
 *
 *     bun test/plugins/drive.ts plugins/posts.ts '{"args":{},"stopAfter":100}'
 *
 * Prints one line of JSON: what came of it.
 */
import { Buffer } from "node:buffer";
import { argv, stdout, versions } from "node:process";
import type { Block } from "../../src/lib/bytes.ts";
import type { Log, LogLevel } from "../../src/lib/log.ts";
import { describeError } from "../../src/plugin/describe_error.ts";
import { type CallResult, PluginHost } from "../../src/plugin/handler.ts";
import { loadPlugin } from "../../src/plugin/load_plugin.ts";
import { handlerOf, sourceOf } from "../../src/plugin/kinds.ts";
import { SourceReader } from "../../src/plugin/source.ts";
import type { Plugin } from "../../src/plugin/types.ts";
import { decode, decodeJobs } from "../../src/protocol/cbor.ts";

export type Task = Readonly<{
  args: Readonly<Record<string, string>>;
  /** The encoded cursor of an earlier drive, in base64. */
  last?: string;
  /** Stops the source after so many jobs, as a stop of the master would. */
  stopAfter?: number;
  /** Reads the source only. */
  isMasterOnly?: boolean;
  /** Handled rather than what the source yields, as on a machine of its own. */
  jobs?: readonly unknown[];
}>;

export type Outcome = Readonly<{
  runtime: string;
  jobs: unknown[];
  last: string | undefined;
  lastCursor: unknown;
  results: CallResult[];
  logs: string[];
  error: string | undefined;
}>;

async function drive(plugin: Plugin, task: Task): Promise<Outcome> {
  const logs: string[] = [];
  const log = (level: LogLevel, message: string, fields?: object) =>
    void logs.push(`${level} ${message}${fields ? ` ${JSON.stringify(fields)}` : ""}`);
  const outcome = {
    jobs: [] as unknown[],
    last: undefined as string | undefined,
    results: [] as CallResult[],
  };
  const host = task.isMasterOnly ? undefined : new PluginHost(plugin, task.args, log);
  let error: string | undefined;
  try {
    // Together, as `taskmaster run` starts them.
    const [blocks, parts] = await Promise.all([
      task.jobs === undefined ? readBlocks(plugin, task, log) : [],
      host?.setup(),
    ]);
    outcome.jobs = [
      ...task.jobs ?? [],
      ...blocks.flatMap((block) => decodeJobs(block.bytes, block.ends.length)),
    ];
    const cursor = blocks.map(lastCursor).at(-1);
    if (cursor) outcome.last = Buffer.from(cursor).toString("base64");
    const handler = parts && handlerOf(plugin, parts);
    for (const seq of handler ? outcome.jobs.keys() : []) {
      const attempt = handler!.run({ seq: 0, attempt: 1, jobs: outcome.jobs }, seq, seq + 1);
      outcome.results.push(attempt.kind === "pending" ? await attempt.ended : attempt);
    }
    await host?.teardown();
  } catch (thrown) {
    error = describeError(thrown).message;
  }
  const lastSeen = outcome.last === undefined ? undefined : decode(Buffer.from(outcome.last, "base64"));
  return { runtime: runtime(), ...outcome, lastCursor: lastSeen, logs, error };
}

function readBlocks(
  plugin: Plugin,
  task: Task,
  log: Log,
): Promise<Block[]> {
  return new Promise((resolve, reject) => {
    const blocks: Block[] = [];
    let left = task.stopAfter ?? Infinity;
    const stop = () => source.close().then(() => resolve(blocks));
    const source = new SourceReader(sourceOf(plugin), {
      args: task.args,
      log,
      demand: () => ({ jobs: left, bytes: Infinity }),
      nextSeq: () => blocks.reduce((sum, { ends }) => sum + ends.length, 0),
      tell(event) {
        switch (event.kind) {
          case "yielded":
            blocks.push(event.block);
            left -= event.block.ends.length;
            return void (left <= 0 && stop());
          case "unsendable":
            return reject(`at ${event.row.path} there is ${event.row.reason}`);
          case "source ended":
            return resolve(blocks);
          case "source failed":
            return reject(event.message.split("\n", 1)[0]);
        }
      },
    });
    source.open(task.last === undefined ? undefined : new Uint8Array(Buffer.from(task.last, "base64")));
  });
}

function lastCursor(block: Block): Uint8Array {
  const { bytes, ends } = block.cursors ?? block;
  return bytes.slice(ends.length > 1 ? ends[ends.length - 2] : 0);
}

function runtime(): string {
  return "bun" in versions ? "bun" : "deno" in versions ? "deno" : "node";
}

const [path, task] = argv.slice(2);
const { plugin } = await loadPlugin(path!, undefined, "both");
stdout.write(`${JSON.stringify(await drive(plugin, JSON.parse(task!) as Task))}\n`);

import type { Block, Unsendable } from "../../src/lib/bytes.ts";
import { sourceOf } from "../../src/plugin/kinds.ts";
import { type SourceEvent, SourceReader } from "../../src/plugin/source.ts";
import type { Plugin } from "../../src/plugin/types.ts";
import { decodeJobs } from "../../src/protocol/cbor.ts";

export type Failed = Readonly<{ message: string; fatal: boolean }>;
export type AnyPlugin = Pick<Plugin<never, unknown>, "getJobs" | "cursor">;

/** A master that takes `limit` jobs in all, and notes what it is told. */
export class Taker {
  readonly blocks: Block[] = [];
  /** Each with the number of jobs before it. */
  readonly rows: (Unsendable & { after: number })[] = [];
  readonly warnings: string[] = [];
  /** Of each block. */
  readonly moreAtHand: boolean[] = [];
  readonly source: SourceReader;
  limit: Readonly<{ jobs: number; bytes: number }> = { jobs: Infinity, bytes: Infinity };
  firstSeq = 0;
  onBlock: () => void = () => {};
  /** Whether the blocks count. */
  takes = true;
  readonly over: Promise<Failed | "ended">;
  #resolve!: (how: Failed | "ended") => void;

  constructor(plugin: AnyPlugin, args: Readonly<Record<string, string>> = {}) {
    this.over = new Promise((resolve) => this.#resolve = resolve);
    this.source = new SourceReader(sourceOf(plugin as Plugin), {
      args,
      demand: () => ({ jobs: this.limit.jobs - this.count, bytes: this.limit.bytes - this.bytes }),
      tell: (event) => this.#hear(event),
      nextSeq: () => this.firstSeq + (this.takes ? this.count + this.rows.length : 0),
      log: (_level, message) => void this.warnings.push(message),
    });
  }

  #hear(event: SourceEvent): void {
    switch (event.kind) {
      case "yielded":
        this.blocks.push(event.block);
        this.moreAtHand.push(event.moreAtHand);
        return this.onBlock();
      case "unsendable":
        return void this.rows.push({ ...event.row, after: this.count });
      case "source ended":
        return this.#resolve("ended");
      case "source failed":
        return this.#resolve({ message: event.message, fatal: event.fatal });
      default:
        return event satisfies never;
    }
  }

  get count(): number {
    return this.blocks.reduce((sum, block) => sum + block.ends.length, 0);
  }

  get bytes(): number {
    return this.blocks.reduce((sum, block) => sum + block.bytes.length, 0);
  }

  get jobs(): unknown[] {
    return this.blocks.flatMap((block) => decodeJobs(block.bytes, block.ends.length));
  }

  get cursors(): unknown[] {
    return this.blocks.flatMap(({ cursors }) =>
      cursors ? decodeJobs(cursors.bytes, cursors.ends.length) : []
    );
  }

  /** Resolves when the next block is handed over. */
  nextBlock(): Promise<void> {
    return new Promise((resolve) => this.onBlock = resolve);
  }
}

export async function read(plugin: AnyPlugin): Promise<[unknown[], Failed | "ended", Taker]> {
  const taker = new Taker(plugin);
  taker.source.open(undefined);
  const over = await taker.over;
  return [taker.jobs, over, taker];
}

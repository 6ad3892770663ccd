import { join } from "node:path";
import { fieldsOf, settle } from "../../src/cli/settings.ts";
import { type Master, type MasterOptions, startMaster } from "../../src/master/master.ts";
import type { MasterEvent } from "../../src/observe/events.ts";
import type { Plugin } from "../../src/plugin/types.ts";
import { FakeSlave, type FakeSlaveOptions } from "../kit/fake_slave.ts";

export const token = new Uint8Array(32).fill(7);

/** What the harness needs of tap's test. */
interface Test {
  testdir(): string;
  teardown(callback: () => unknown): unknown;
}

export type TestMaster = Readonly<{
  master: Master;
  events: MasterEvent[];
  logged: string[];
  /** The first event of this kind, now or later. */
  event<K extends MasterEvent["kind"]>(kind: K): Promise<Extract<MasterEvent, { kind: K }>>;
  join(options?: Partial<FakeSlaveOptions>): Promise<FakeSlave>;
  options: MasterOptions;
}>;

/** A master of this plugin with its state in the test's folder; ended at once when the test is over. */
export async function start(
  t: Test,
  plugin: Plugin,
  changes: Partial<MasterOptions> = {},
): Promise<TestMaster> {
  const events: MasterEvent[] = [];
  const logged: string[] = [];
  let emitted: () => void = () => {};
  const options: MasterOptions = {
    ...fieldsOf("master", settle({ command: "master", words: [], flags: {} }, {})),
    plugin: {
      name: "test.ts",
      path: "/test.ts",
      exportName: "default",
      hash: new Uint8Array(32),
      code: [],
      plugin,
      options: {},
      hints: [],
    },
    args: {},
    host: "127.0.0.1",
    port: 0,
    portFallback: false,
    token,
    key: "test",
    stateDir: changes.stateDir ?? t.testdir(),
    backoffMs: 1,
    checkpointMs: 50,
    graceMs: 5_000,
    reclaimMs: 0,
    version: "0",
    log: (level, message) => void logged.push(`${level}: ${message}`),
    onEvent: (event) => {
      events.push(event);
      emitted();
    },
    ...changes,
  };
  const master = await startMaster(options);
  t.teardown(async () => {
    master.stop();
    master.stop();
    await master.finished;
  });
  return {
    master,
    events,
    logged,
    options,
    join: (more = {}) => FakeSlave.join(master.address, { token, ...more }),
    async event(kind) {
      for (;;) {
        const found = events.find((event) => event.kind === kind);
        if (found !== undefined) return found as never;
        await new Promise<void>((resolve) => emitted = resolve);
      }
    },
  };
}

export function statePath(stateDir: string): string {
  return join(stateDir, "test.state");
}

/** Jobs `{ id }` from 0, below `count`, after `last`. */
export function* ids(count: number, last?: { id: number }): Generator<{ id: number }> {
  for (let id = (last?.id ?? -1) + 1; id < count; id++) yield { id };
}

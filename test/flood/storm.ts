import { Crowd } from "../kit/crowd.ts";
import { Field } from "./field.ts";

export type Storm = Readonly<{
  slaves: number;
  /** From the first line of the second master to the last of them being back. */
  backMs: number;
  /** Sessions that the second master gave up for silence meanwhile, and in five seconds more. */
  silent: number;
  ratePerSecond: number;
}>;

/** A master is killed while so many slaves are connected, and started again in its place. */
export async function reconnectStorm(count: number): Promise<Storm> {
  const field = await Field.open();
  const crowd = new Crowd(field.port, count);
  try {
    await crowd.joined(1);
    await field.restart();
    const startMs = Date.now();
    await crowd.joined(2);
    const backMs = Date.now() - startMs;
    const { ratePerSecond } = await field.watch(5);
    const silent = field.master.events("left").filter(({ reason }) => /silent/.test(String(reason))).length;
    return { slaves: count, backMs, silent, ratePerSecond };
  } finally {
    await crowd.leave();
    await field.end();
  }
}

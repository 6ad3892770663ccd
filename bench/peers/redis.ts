import type { Rig } from "../rig.ts";
import type { Presence } from "../system.ts";
import { findProgram } from "./versions.ts";

export const findRedis = (): Presence => findProgram("redis-server", ["--version"], "redis-server");

/** A server with its default settings: snapshots on disk (RDB) after 60 s at the soonest, no append-only file. */
export function serveRedis(rig: Rig): Promise<number> {
  return rig.serve(
    "redis-server",
    (port) => ["--bind", "127.0.0.1", "--port", String(port), "--dir", rig.folder],
  );
}

export const redisStored = "Redis in memory with snapshots, at the soonest every minute, as it is by default";

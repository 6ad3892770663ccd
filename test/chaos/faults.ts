/** What a fault is done to. */
export type Where = "slave" | "master" | "all";

export type FaultKind = Readonly<{
  where: Where;
  /** Shortest and longest time until it is undone: a process started again, a link healed. */
  forMs: readonly [number, number];
  /**
   * Whether a slave's session may be lost by it. If not, the master must not give the slave up, and no job may run
   * twice for it, but for what `killsWorker` and `killsMaster` say.
   */
  losesSessions: boolean;
}>;

/**
 * Every fault there is. The silence limit is 1.5 s here (heartbeat 500 ms): "briefly" stays well under it, and what is to
 * be noticed stays well above.
 */
export const faultKinds = {
  /** SIGKILL of the supervisor; another slave takes its place. */
  "kill slave": { where: "slave", forMs: [200, 1_500], losesSessions: true },
  /** SIGSTOP of the supervisor alone: its workers go on with what they have. */
  "stop supervisor": { where: "slave", forMs: [2_200, 4_000], losesSessions: true },
  /** SIGSTOP of supervisor and workers, like a machine that was suspended. */
  "stop slave": { where: "slave", forMs: [2_200, 4_000], losesSessions: true },
  "stop slave briefly": { where: "slave", forMs: [200, 800], losesSessions: false },
  /** SIGTERM; another slave takes its place. */
  "drain slave": { where: "slave", forMs: [500, 1_500], losesSessions: false },
  "kill worker": { where: "slave", forMs: [0, 0], losesSessions: false },
  "stop worker": { where: "slave", forMs: [300, 2_500], losesSessions: false },
  /** RST to both ends. */
  "reset": { where: "slave", forMs: [0, 0], losesSessions: true },
  /** RST in the middle of a frame, often: after some more bytes. `pick` says which way. */
  "cut": { where: "slave", forMs: [1_500, 1_500], losesSessions: true },
  /** Half-open: the connection that is there goes silent both ways; a new one can be made. */
  "half-open": { where: "slave", forMs: [2_200, 4_000], losesSessions: true },
  /** Nothing passes either way, on no connection; then all that was held arrives, stale as it is. */
  "partition": { where: "slave", forMs: [2_200, 4_000], losesSessions: true },
  "partition briefly": { where: "slave", forMs: [200, 800], losesSessions: false },
  "one-way up": { where: "slave", forMs: [2_200, 4_000], losesSessions: true },
  "one-way down": { where: "slave", forMs: [2_200, 4_000], losesSessions: true },
  /** Latency, little bandwidth, or a byte a segment: `pick` says which. */
  "slow link": { where: "slave", forMs: [1_500, 4_000], losesSessions: false },
  /** One bit, where it can be noticed: in a greeting or in the head of a frame. */
  "flip": { where: "slave", forMs: [2_000, 2_000], losesSessions: true },
  /** Old answers, of this session, other sessions and other masters, arrive in a live session. */
  "stale answers": { where: "slave", forMs: [0, 0], losesSessions: false },
  /** Another session claims that this slave's jobs are done; then this slave dies. */
  "forged answers": { where: "slave", forMs: [2_500, 2_500], losesSessions: true },
  /** In a network namespace of its own: the link goes down. */
  "link down": { where: "slave", forMs: [2_200, 4_000], losesSessions: true },
  "link down briefly": { where: "slave", forMs: [200, 800], losesSessions: false },
  /** A blackhole route on the slave's side: nothing goes up. */
  "blackhole up": { where: "slave", forMs: [2_200, 4_000], losesSessions: true },
  "blackhole down": { where: "slave", forMs: [2_200, 4_000], losesSessions: true },
  /** `ss -K` on the master's side. */
  "kill sockets": { where: "slave", forMs: [0, 0], losesSessions: true },
  /** SIGKILL, then the same command again, under another runtime now and then. */
  "kill master": { where: "master", forMs: [100, 2_000], losesSessions: true },
  "stop master": { where: "master", forMs: [2_200, 4_000], losesSessions: false },
  /** SIGTERM, then the same command again. */
  "end master": { where: "master", forMs: [100, 1_000], losesSessions: false },
  /** SIGKILL of the master and of all slaves, like a machine without power; then all are started again. */
  "kill all": { where: "all", forMs: [100, 2_000], losesSessions: true },
  /** SIGKILL of the master while hundreds of slaves more are joined: all of them come back at once. */
  "storm": { where: "all", forMs: [6_000, 8_000], losesSessions: true },
} as const satisfies Record<string, FaultKind>;

export type FaultName = keyof typeof faultKinds;

export function kindOf(name: FaultName): FaultKind {
  return faultKinds[name];
}

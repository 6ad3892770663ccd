/** Bytes from a peer that are not what the protocol allows. Costs its session, nothing else. */
export class FrameError extends Error {
  override get name(): string {
    return "FrameError";
  }
}

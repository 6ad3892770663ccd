import { types } from "node:util";

type Peek = Readonly<{ status(promise: Promise<unknown>): "pending" | "fulfilled" | "rejected" }>;

/**
 * Whether this is a promise already known to be fulfilled, as that of an `async` function is that awaited nothing. False
 * under Deno and Node, which do not tell before the next microtask. @see https://bun.com/docs/api/utils#bun-peek
 */
export function isFulfilled(value: object): boolean {
  // Of what is no promise `peek` says that it is fulfilled. Of a subclass `await` calls `then`, in which work may begin.
  return peek !== undefined && types.isPromise(value) && value.constructor === Promise &&
    peek.status(value) === "fulfilled";
}

const { peek } = (globalThis as { Bun?: { peek: Peek } }).Bun ?? {};

import { describeError, hasPluginFrames, isOwnFrame } from "./describe_error.ts";

/** A fault of `getJobs` that ends the reading. Never leaves this folder. */
export class SourceFault extends Error {
  /** Calling `getJobs` again cannot help. */
  readonly fatal: boolean;

  constructor(message: string, fatal: boolean) {
    super(message);
    this.fatal = fatal;
  }
}

/**
 * Thrown by `ctx.fatal`, so that the code that called it ends there. The run ends whether or not anybody catches it.
 */
export class FatalCall extends Error {}

/** What the plugin threw, with the plugin's own frames of the stack, as a fault that another call may not have. */
export function thrown(what: string, error: unknown): SourceFault {
  const { message, stack } = describeError(error);
  const isHeaded = stack.includes(message.split("\n", 1)[0]!.replace(/…$/, ""));
  // A stack with frames of this program only says nothing about the plugin.
  const isOurs = !hasPluginFrames(stack) && stack.split("\n").some(isOwnFrame);
  const lines = stack === "" || isOurs ? "" : isHeaded ? `\n${stack}` : `\n${message}\n${stack}`;
  return new SourceFault(`${what} threw: ${message}${lines}`, false);
}

const comparedObject =
  "getJobs compares `last`, or adds to it, and `last` is an object: the cursor of a job, which is " +
  "the whole job if the plugin exports no `cursor`. No job would be found behind it. Read its fields, as in `last.id`; or " +
  "export `cursor`, as in `(job) => job.id`, and start over with --reset";

/**
 * `last` as the plugin is given it. An object that is compared or added to throws: `job.id > last` would be false for
 * every job, and the run would end as if all were handled.
 */
export function guardedLast(last: unknown): unknown {
  if (typeof last !== "object" || last === null || Array.isArray(last) || last instanceof Date) return last;
  const value = (hint: string) => {
    if (hint === "string") return "[object Object]";
    const { message, stack } = describeError(new Error(comparedObject));
    throw new SourceFault(hasPluginFrames(stack) ? `${message}\n${stack}` : message, true);
  };
  return ArrayBuffer.isView(last) ? last : Object.defineProperty(last, Symbol.toPrimitive, { value });
}

/**
 * What `getJobs` returned, opened as `for await` opens it: `next` is read once. An async iterator's `next()` gives
 * promises of results; a sync one's gives results, whose values may be promises.
 */
export type JobsIterator = Readonly<{
  isAsync: boolean;
  iterator: object;
  next: (this: object) => unknown;
  /** The same iterator if it is a native generator, which always keeps the protocol; else null. */
  generator: Iterator<unknown> | null;
}>;

const { next: generatorNext } = (function* () {})();

const wanted = "it must return an array, an iterable, an async iterable, or a promise of one";
const broken = "The iterator of getJobs breaks the iteration protocol";
const resultWanted = "It must answer `{ value: job, done: false }`, and `{ done: true }` at the end";

/**
 * Whether `for await` takes it without awaiting it first. A query may be that, and a promise of all its rows besides.
 */
export function isAsyncIterable(jobs: unknown): boolean {
  return isObject(jobs) && typeof (jobs as Members)[Symbol.asyncIterator] === "function";
}

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  try {
    return isObject(value) && typeof (value as { then?: unknown }).then === "function";
  } catch {
    return false; // A getter that throws, a proxy: whoever needs the value finds it so.
  }
}

/**
 * Opens what `getJobs` returned.
 *
 * @throws {SourceFault} (fatal) if it is none of what it may be; and whatever the plugin's own code throws.
 */
export function openJobs(jobs: unknown): JobsIterator {
  // A string would be iterated letter by letter.
  if (!isObject(jobs) || jobs instanceof String) throw refused(jobs);
  const openAsync = (jobs as Members)[Symbol.asyncIterator] ?? null;
  const open = openAsync ?? (jobs as Members)[Symbol.iterator] ?? null;
  if (open === null) throw refused(jobs);
  const isAsync = openAsync !== null;
  const name = isAsync ? "[Symbol.asyncIterator]" : "[Symbol.iterator]";
  if (typeof open !== "function") {
    throw new SourceFault(
      `getJobs returned an object whose ${name} is ${
        kindOf(open)
      }: it must be a method that returns an iterator.`,
      true,
    );
  }
  const iterator: unknown = open.call(jobs);
  const next: unknown = isObject(iterator) ? (iterator as { next?: unknown }).next : undefined;
  if (typeof next !== "function") throw noIterator(name, iterator, next);
  const generator = next === generatorNext ? iterator as Iterator<unknown> : null;
  return { isAsync, iterator: iterator as object, next: next as JobsIterator["next"], generator };
}

/**
 * Whether an answer of `next()` says that there are no more jobs.
 *
 * @throws {SourceFault} (fatal) if it is no result, or if its `done` is truthy by mistake, such as a promise.
 */
export function isLast(step: unknown): boolean {
  if (!isObject(step)) {
    throw new SourceFault(`${broken}: next() answered ${kindOf(step)}. ${resultWanted}.`, true);
  }
  const { done } = step as { done?: unknown };
  if (!done) return false;
  if (typeof done === "boolean" || typeof done === "number") return true;
  throw new SourceFault(
    `${broken}: next() answered an object whose \`done\` is ${kindOf(done)}, which counts as true. ` +
      `${resultWanted}.`,
    true,
  );
}

/**
 * The job in an answer of `next()` that is not the last one.
 *
 * @throws {SourceFault} (fatal) if it has no `value`: `for await` would take `undefined`, and the job that was meant would
 * be lost.
 */
export function jobIn(step: unknown): unknown {
  const { value } = step as { value?: unknown };
  if (value === undefined && !("value" in (step as object))) checkEmpty(step as object);
  return value;
}

/** `{ done: false }` alone is the job `undefined`, as in the language; anything else without `value` is a mistake. */
function checkEmpty(step: object): void {
  if (isThenable(step)) {
    throw new SourceFault(
      `${broken}: next() answered a promise, where a result belongs. If next() is asynchronous, open the iterator ` +
        "by `[Symbol.asyncIterator]` instead of `[Symbol.iterator]`.",
      true,
    );
  }
  const names = Object.keys(step);
  if ("done" in step && names.every((name) => name === "done")) return;
  const has = names.length === 0
    ? ""
    : ` (it has ${names.slice(0, 5).map((name) => `\`${name}\``).join(", ")})`;
  throw new SourceFault(
    `${broken}: next() answered an object without \`value\`${has}: the job itself? ${resultWanted}.`,
    true,
  );
}

/**
 * Checks the value that comes with the end of an iterator, which is no job, as in any loop. Returns a warning, or null.
 *
 * @param yielded Whether it yielded any job.
 * @throws {SourceFault} (fatal) if it yielded nothing, and the value holds the jobs.
 */
export function leftOver(value: unknown, yielded: boolean): string | null {
  if (value === undefined) return null;
  if (!yielded && holdsJobs(value)) {
    throw new SourceFault(
      `getJobs yielded nothing, and its iterator ended with ${
        kindOf(value)
      }: what a generator returns is no job. ` +
        "Write `yield*` in place of `return`.",
      true,
    );
  }
  return `The iterator of getJobs ended with ${
    kindOf(value)
  }, which is not taken as a job: what a generator ` +
    "returns is none. If it is one, `yield` it before the end.";
}

function holdsJobs(value: unknown): boolean {
  if (Array.isArray(value)) return value.some((job) => job !== undefined);
  return typeof value === "object" && value !== null &&
    (isAsyncIterable(value) || typeof (value as Members)[Symbol.iterator] === "function");
}

/**
 * Calls `return()` of the iterator, if there is one, and waits for it. Returns a warning if that went wrong, or null. An
 * error that `isExpected` is no fault: that of the aborted signal.
 */
export async function returnOf(
  { iterator }: JobsIterator,
  isExpected: (error: unknown) => boolean,
): Promise<string | null> {
  try {
    const close: unknown = (iterator as { return?: unknown }).return ?? null;
    if (close === null) return null;
    if (typeof close !== "function") return `${broken}: its \`return\` is ${kindOf(close)}, and no method.`;
    const result: unknown = await close.call(iterator);
    return isObject(result)
      ? null
      : `${broken}: return() answered ${kindOf(result)}, and must answer an object.`;
  } catch (error) {
    if (isExpected(error)) return null;
    const { message, stack } = describeError(error);
    return `The iterator of getJobs could not clean up: return() threw: ${stack || message}`;
  }
}

type Members = Readonly<Record<symbol, unknown>>;

/** Whether it is an object as the language defines it, functions included. */
function isObject(value: unknown): value is object {
  return typeof value === "object" ? value !== null : typeof value === "function";
}

function noIterator(name: string, iterator: unknown, next: unknown): SourceFault {
  const what = `${broken}: ${name}() returned `;
  const must = "It must return an object with a method `next`";
  if (!isObject(iterator)) return new SourceFault(`${what}${kindOf(iterator)}. ${must}.`, true);
  if (next !== undefined) {
    return new SourceFault(`${what}an object whose \`next\` is ${kindOf(next)}. ${must}.`, true);
  }
  const isIterable = [Symbol.iterator, Symbol.asyncIterator].some((key) =>
    typeof (iterator as Members)[key] === "function"
  );
  const hint = isThenable(iterator)
    ? `, and it must not be \`async\``
    : isIterable
    ? ": an array, for instance, has one by `rows[Symbol.iterator]()`"
    : "";
  return new SourceFault(`${what}${kindOf(iterator)}, which has no \`next\`. ${must}${hint}.`, true);
}

function refused(jobs: unknown): SourceFault {
  const isNotIterable = typeof jobs === "object" && jobs !== null && !(jobs instanceof String);
  const not = isNotIterable ? " that is not iterable" : "";
  return new SourceFault(`getJobs returned ${kindOf(jobs)}${not}: ${wanted}.${advice(jobs)}`, true);
}

/** A value of the plugin as words. */
function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value !== "object") return `a ${typeof value}`;
  try {
    return kindOfObject(value);
  } catch {
    return "an object that cannot be read"; // A proxy, most likely.
  }
}

function kindOfObject(value: object): string {
  if (Array.isArray(value)) return "an array";
  if (isThenable(value)) return "a promise";
  const name = (value as { constructor?: { name?: unknown } }).constructor?.name;
  return typeof name === "string" && name !== "" && name !== "Object"
    ? `an instance of ${name}`
    : "an object";
}

function advice(jobs: unknown): string {
  if (jobs === undefined) {
    return " Write `function*` or `async function*` if it yields, or `return` the jobs.";
  }
  if (typeof jobs === "function") return " If that is a generator function, call it.";
  if (typeof jobs === "string" || jobs instanceof String) {
    return " Return `[job]` if the string is the one job.";
  }
  const { next, rows, length, on } = (jobs ?? {}) as Readonly<Record<string, unknown>>;
  if (typeof next === "function") {
    return " It has `next()`: give it `[Symbol.asyncIterator]() { return this; }`.";
  }
  if (Array.isArray(rows)) return " Its `rows` are an array: return these.";
  if (typeof length === "number") return " Return `Array.from` of it.";
  if (typeof on === "function") {
    return ' What emits its jobs is iterated by `on(emitter, "name")` of node:events.';
  }
  return "";
}

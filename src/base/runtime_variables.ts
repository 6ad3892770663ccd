/** What a process is told of itself by its environment; `process` is enough of it. */
export type Surroundings = Readonly<{
  env: Readonly<Record<string, string | undefined>>;
  versions: Readonly<Record<string, string | undefined>>;
  getBuiltinModule?: (name: string) => unknown;
}>;

/**
 * Variables by which Node and Bun make another program of this one, or hand a process things of its parent's. None is
 * for a child of ours, which would be another program, or wait for a debugger, or for a channel that is not there.
 */
const notForChildren: readonly string[] = [
  "NODE_UNIQUE_ID",
  "NODE_CHANNEL_FD",
  "NODE_CHANNEL_SERIALIZATION_MODE",
  "BUN_INTERNAL_IPC_FD",
  "BUN_BE_BUN",
  "BUN_OPTIONS",
  "BUN_INSPECT",
  "BUN_INSPECT_CONNECT_TO",
  "BUN_INSPECT_NOTIFY",
  "BUN_INSPECT_PRELOAD",
];

/** The environment for a child of ours: without what would make another program of it. */
export function forChild(environment: Readonly<NodeJS.ProcessEnv>): NodeJS.ProcessEnv {
  const kept = { ...environment };
  for (const name of notForChildren) delete kept[name];
  const { NODE_OPTIONS: options } = kept;
  // With --inspect-brk a child would wait for a debugger, for ever.
  if (options !== undefined) kept["NODE_OPTIONS"] = options.replace(/(^|\s)--inspect\S*/g, "$1").trim();
  return kept;
}

/**
 * Why this process cannot be the program that it is meant to be: a sentence, or null.
 *
 * @param isCompiled Whether it is a compiled binary, whose words Bun is not to read.
 */
export function changedBy(
  { env, versions, getBuiltinModule }: Surroundings,
  isCompiled: boolean,
): string | null {
  if (env["NODE_UNIQUE_ID"] !== undefined || isClusterWorker(versions, getBuiltinModule)) {
    return "NODE_UNIQUE_ID is set, which makes this process a worker of a Node cluster: it cannot listen by itself. " +
      unset("NODE_UNIQUE_ID");
  }
  if (isCompiled && (env["BUN_OPTIONS"] ?? "") !== "") {
    return `BUN_OPTIONS is set, which changes what this program is. ${unset("BUN_OPTIONS")}`;
  }
  return null;
}

/** Node takes the variable away before any program could see it. */
function isClusterWorker(
  { bun, deno }: Surroundings["versions"],
  load: Surroundings["getBuiltinModule"],
): boolean {
  if (bun !== undefined || deno !== undefined || load === undefined) return false;
  return (load("node:cluster") as { isWorker?: boolean } | undefined)?.isWorker === true;
}

function unset(name: string): string {
  return `Unset it, as by \`env -u ${name} taskmaster ...\`.`;
}

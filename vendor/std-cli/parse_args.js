// A stand-in for `parseArgs` of @std/cli, over minimist, from which the original descends.
import minimist from "minimist";

export function parseArgs(args, options = {}) {
  const { negatable, collect, ...shared } = options;
  void negatable, collect;
  return minimist([...args], shared);
}

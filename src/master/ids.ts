import hyperid from "hyperid";

/** A random id that nobody else makes: of a run, of a master process. Letters, digits, `-` and `_`. */
export function newId(): string {
  return hyperid({ urlSafe: true })();
}

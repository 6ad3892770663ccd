/** A version of the source that is broken on purpose, and the checks that must fail for it. */
export type Mutant = Readonly<{
  name: string;
  patches: readonly Patch[];
  /** Each of them must fail. */
  checks: readonly Check[];
}>;

/** `find` stands in `file` exactly once. */
export type Patch = Readonly<{ file: string; find: string; replace: string }>;

export type Check =
  /** The simulation violates an invariant within so many seeds. */
  | Readonly<{ kind: "simulation"; seeds: number }>
  /** This test of this file fails; those under `test/e2e` run a binary compiled from the patched copy. */
  | Readonly<{ kind: "test"; file: string; name: string; isQuick: boolean }>;

/** The simulation, with enough seeds for the rarest mutant, which fails within some 150. */
export const simulation: Check = { kind: "simulation", seeds: 400 };

/** A test by its name, in `test/FILE.test.ts`. Not in the gate, which could not wait for all of them. */
export function test(file: string, name: string): Check {
  return { kind: "test", file: `test/${file}.test.ts`, name, isQuick: false };
}

/** The same, in the gate: for what matters most, where it fails within a second or two. */
export function quickTest(file: string, name: string): Check {
  return { kind: "test", file: `test/${file}.test.ts`, name, isQuick: true };
}

/** An end-to-end test, against a binary compiled from the patched copy. */
export function endToEnd(name: string): Check {
  return test("e2e/faults", name);
}

/** Whether the gate runs it. */
export function isQuick(check: Check): boolean {
  return check.kind === "simulation" || check.isQuick;
}

export function needsBinary(file: string): boolean {
  return file.startsWith("test/e2e/");
}

export function checkName(check: Check): string {
  return check.kind === "simulation" ? "simulation" : `${check.file}: ${check.name}`;
}

/** A version of the source that is broken on purpose, and the checks that must fail for it. */
export type Mutant = Readonly<{
  name: string;
  patches: readonly Patch[];
  /** Each of them must fail. */
  checks: readonly Check[];
}>;

/** `find` stands in `file` exactly once. */
export type Patch = Readonly<{ file: string; find: string; replace: string }>;

export type Check = SimulationCheck | TestCheck | ChaosCheck;

/** The simulation violates an invariant within so many seeds. */
export type SimulationCheck = Readonly<{ kind: "simulation"; seeds: number }>;

/** This test of this file fails; those under `test/e2e` run a binary compiled from the patched copy. */
export type TestCheck = Readonly<{
  kind: "test";
  file: string;
  name: string;
  isQuick: boolean;
  /** How it may fail, if not by an assertion: it waits in vain, or an error with such a message is thrown in it. */
  otherwise?: "hangs" | RegExp;
}>;

/** Chaos finds such a problem in this scenario, played with a binary compiled from the patched copy. */
export type ChaosCheck = Readonly<{
  kind: "chaos";
  scenario: string;
  seed: number;
  seconds: number;
  problem: ChaosProblem;
}>;

/** How `test/chaos` words what it finds. */
export const chaosProblems = {
  "lost": /^job \d+ was never handled$/,
  "repeated": /^job \d+ ran \d+ times more than it should/,
  "given up": /^slave \d+ was given up at \S+, though it was well: /,
} as const;

export type ChaosProblem = keyof typeof chaosProblems;

/** The simulation, with enough seeds for the rarest mutant, which fails within some 150. */
export const simulation: Check = { kind: "simulation", seeds: 400 };

/** A test by its name, in `test/FILE.test.ts`. Not in the gate, which could not wait for all of them. */
export function test(file: string, name: string): TestCheck {
  return { kind: "test", file: `test/${file}.test.ts`, name, isQuick: false };
}

/** The same, in the gate: for what matters most, where it fails within a second or two. */
export function quickTest(file: string, name: string): TestCheck {
  return { ...test(file, name), isQuick: true };
}

/** An end-to-end test, against a binary compiled from the patched copy. */
export function endToEnd(name: string): TestCheck {
  return test("e2e/faults", name);
}

/** This test waits for what the mutant never does: that it does not end in time is a failure as well. */
export function hanging(check: TestCheck): TestCheck {
  return { ...check, otherwise: "hangs" };
}

/** In this test the mutant throws where nothing should, with such a message: that is a failure as well. */
export function throwing(check: TestCheck, message: RegExp): TestCheck {
  return { ...check, otherwise: message };
}

/** A chaos scenario, with a seed and for so many seconds that it finds the problem each time. */
export function chaos(
  scenario: string,
  problem: ChaosProblem,
  { seed, seconds }: Readonly<{ seed: number; seconds: number }>,
): ChaosCheck {
  return { kind: "chaos", scenario, seed, seconds, problem };
}

/** Whether the gate runs it. */
export function isQuick(check: Check): boolean {
  return check.kind === "simulation" || check.kind === "test" && check.isQuick;
}

export function needsBinary(file: string): boolean {
  return file.startsWith("test/e2e/");
}

export function checkName(check: Check): string {
  switch (check.kind) {
    case "simulation":
      return "simulation";
    case "test":
      return `${check.file}: ${check.name}`;
    case "chaos":
      return `chaos: ${check.scenario} --seed ${check.seed} --seconds ${check.seconds}`;
  }
}

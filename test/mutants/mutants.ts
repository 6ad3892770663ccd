import { controlMutants } from "./control_mutants.ts";
import { coreMutants } from "./core_mutants.ts";
import { failureMutants } from "./failure_mutants.ts";
import { fileMutants } from "./file_mutants.ts";
import { jobMutants } from "./job_mutants.ts";
import type { Mutant } from "./mutant.ts";
import { processMutants } from "./process_mutants.ts";
import { sourceMutants } from "./source_mutants.ts";
import { strangerMutants } from "./stranger_mutants.ts";
import { tlsMutants } from "./tls_mutants.ts";
import { wireMutants } from "./wire_mutants.ts";

export const mutants: readonly Mutant[] = [
  ...coreMutants,
  ...failureMutants,
  ...fileMutants,
  ...jobMutants,
  ...sourceMutants,
  ...wireMutants,
  ...tlsMutants,
  ...strangerMutants,
  ...processMutants,
  ...controlMutants,
];

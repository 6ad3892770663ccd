/** The program that test slaves start their workers with. */
import { takeGeneration } from "../../src/slave/spawn_self.ts";
import { runWorker } from "../../src/worker/main.ts";

runWorker({ parentPid: takeGeneration().parentPid });

import t from "tap";
import { forgetTuning, isTuned, settingsOf, tuned } from "../../src/lib/runtime.ts";

const delay = "MIMALLOC_PURGE_DELAY", compiler = "BUN_JSC_thresholdForFTLOptimizeAfterWarmUp";

t.test("tuned() adds the settings of a role, but for those that the user has set", async (t) => {
  const plain = tuned({ PATH: "/bin" }, "master");
  t.match(plain, { PATH: "/bin", ...settingsOf("master") });
  t.not(plain[delay], settingsOf("slave")[delay], "a master gives memory back");
  t.equal(tuned({ [delay]: "7" }, "worker")[delay], "7");
  t.ok(isTuned(plain, "master"));
  t.notOk(isTuned(plain, "slave"));
  t.notOk(isTuned({ PATH: "/bin" }, "master"));
});

t.test("tuned() puts its settings for one role in place of those for another, and leaves the user's", async (t) => {
  const slave = tuned(tuned({ [compiler]: "5" }, "master"), "slave");
  t.match(slave, { ...settingsOf("slave"), [compiler]: "5" });
  t.ok(isTuned(slave, "slave"));
  t.notOk(isTuned(slave, "master"));
});

t.test("forgetTuning() takes out what tuned() put there, and nothing else", async (t) => {
  const before = { ...process.env };
  const add = (environment: NodeJS.ProcessEnv) => Object.assign(process.env, environment);
  add(tuned({}, "worker"));
  forgetTuning();
  t.same(process.env, before);
  add(tuned({ [delay]: "7", [compiler]: "5" }, "slave"));
  forgetTuning();
  t.same(process.env, { ...before, [delay]: "7", [compiler]: "5" }, "all of it was the user's");
  add({ TASKMASTER_TUNED: `worker:PATH,${delay},` });
  forgetTuning();
  t.same(process.env, { ...before, [compiler]: "5" }, "a foreign mark takes nothing but settings");
  delete process.env[compiler];
});

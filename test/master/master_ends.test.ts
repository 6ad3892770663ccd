import t from "tap";
import { copyFileSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { Run } from "../../src/core/run.ts";
import type { MasterTls } from "../../src/link/tls.ts";
import { isMasterAlive } from "../../src/master/setup.ts";
import { pair, pem } from "../certificates/certificates.ts";
import { openState } from "../../src/state/store.ts";
import { ids, start, statePath, token } from "./harness.ts";

t.test("a final save that fails makes the end an error, and dismisses nobody", async (t) => {
  const stateDir = t.testdir({ states: {} }) + "/states";
  const { master, join, logged } = await start(t, { getJobs: () => ids(2) }, {
    stateDir,
    checkpointMs: 60_000,
  });
  const slave = await join();
  const lease = await slave.lease();
  renameSync(stateDir, `${stateDir}.away`);
  writeFileSync(stateDir, "not a folder");
  slave.answer(lease);
  const { outcome, savedFinally, error } = await master.finished;
  t.match({ outcome, savedFinally }, { outcome: { kind: "complete" }, savedFinally: false });
  t.match(error, { exitCode: 6 });
  t.ok(logged.some((line) => /^warn: Cannot save the state/.test(line)), "it was tried again");
  await slave.closed;
  t.notOk(slave.messages.some(({ kind }) => kind === "dismiss"), "slaves wait for the next master");
});

t.test("an exception in the core ends the run with the state on disk as it was", async (t) => {
  const { master, options, join, event } = await start(t, { getJobs: () => ids(9) }, {
    checkpointMs: 60_000,
  });
  await event("saved");
  const before = readFileSync(statePath(options.stateDir));
  const { apply } = Run.prototype;
  t.teardown(() => Run.prototype.apply = apply);
  Run.prototype.apply = function (event, nowMs) {
    if (event.kind === "answered") throw new Error("a fault of ours");
    return apply.call(this, event, nowMs);
  };
  const slave = await join();
  slave.answer(await slave.lease());
  const { savedFinally, error } = await master.finished;
  t.match(error, { message: "a fault of ours" });
  t.notOk(savedFinally);
  t.same(readFileSync(statePath(options.stateDir)), before);
  await slave.closed;
});

t.test("a master whose state was taken over ends, and writes no more", async (t) => {
  const stateDir = t.testdir();
  const other = t.testdir({ other: {} }) + "/other";
  const { master, options, join } = await start(t, { getJobs: () => ids(9) }, { stateDir });
  copyFileSync(statePath(stateDir), statePath(other));
  const { plugin: { name, exportName, hash } } = options;
  const store = await openState({
    dir: other,
    key: "test",
    identity: { plugin: name, exportName, args: {}, pluginHash: hash },
    newRunId: () => "unused",
    reset: false,
    force: false,
    log: () => {},
  });
  await store.save(store.loaded!);
  await store.close();
  copyFileSync(statePath(other), statePath(stateDir));
  const slave = await join({ credit: 2 });
  slave.answer(await slave.lease());
  t.match((await master.finished).error, { name: "StateError", exitCode: 6 });
});

t.test("a source that never yields and never returns does not hold up a second stop", async (t) => {
  const { master } = await start(t, {
    async *getJobs() {
      yield await new Promise(() => {});
    },
  });
  await new Promise(setImmediate);
  master.stop();
  master.stop();
  t.match(await master.finished, { outcome: { kind: "stopped" }, savedFinally: true });
});

t.test("an onFinish that never ends does not hold up a second stop", async (t) => {
  let called: () => void = () => {};
  const isCalled = new Promise<void>((resolve) => called = resolve);
  const { master } = await start(t, {
    getJobs: () => ids(9),
    onFinish: () => (called(), new Promise(() => {})),
  });
  master.stop();
  await isCalled;
  master.stop();
  t.match(await master.finished, { outcome: { kind: "stopped" }, savedFinally: true });
});

t.test("whether a master of this run is alive is asked at its address", async (t) => {
  const { master } = await start(t, { getJobs: () => ids(9) });
  const { host, port } = master.address;
  const ask = (runId: string | null, key = "test") =>
    isMasterAlive(`${host}:${port}`, { token, version: "0", runId: async () => runId, key });
  t.equal(await ask(master.runId), true);
  t.equal(await ask(null), true, "a state that cannot be read: the key decides");
  t.equal(await ask("another"), false);
  t.equal(await ask(master.runId, "another"), false);
  t.equal(
    await isMasterAlive("nonsense", {
      token,
      version: "0",
      runId: async () => null,
      key: "test",
    }),
    false,
  );
});

t.test("a master with TLS is asked by its own certificate, which another one may not have", async (t) => {
  const { master } = await start(t, { getJobs: () => ids(9) }, { tls: { ...pair("master"), ca: pem("ca") } });
  const { host, port } = master.address;
  t.match(master.fingerprint, /^(?:[0-9A-F]{2}:){31}[0-9A-F]{2}$/);
  const ask = (tls?: MasterTls) =>
    isMasterAlive(`${host}:${port}`, { token, tls, version: "0", runId: async () => null, key: "test" });
  t.equal(await ask(pair("master")), true);
  await t.rejects(ask(pair("relay")), { message: /not the one that is pinned/ });
});

import { connect } from "node:net";
import t from "tap";
import { runtimes } from "../kit/runtimes.ts";
import { noStranger } from "../e2e/stranger.ts";
import { Field } from "./field.ts";
import { faultsOf, floods, runFlood } from "./floods.ts";
import { outOfFiles } from "./out_of_files.ts";
import { reconnectStorm } from "./storm.ts";
import { floodLock, floodWorkers, localFaults } from "./strangers.ts";

// The small part of `npm run flood`. A twentieth of its connections; the rate is not asserted too tightly, for other
// tests run beside it.

/** Of the rate before. */
const keptMin = 0.5;

for (const [name, share] of [["silent", 0.05], ["announce", 0.05], ["stopped-reader", 1]] as const) {
  t.test(`a flood, ${name}: a real slave works on, memory is bounded`, async (t) => {
    const flood = floods.find((flood) => flood.name === name)!;
    const report = await runFlood(flood, 1.5, share);
    const { before, during } = report;
    const kept = during.ratePerSecond / before.ratePerSecond;
    t.ok(
      kept >= keptMin,
      `${Math.round(before.ratePerSecond)}/s, then ${Math.round(during.ratePerSecond)}/s`,
    );
    t.same(faultsOf(flood, report), []);
  });
}

/** Codes of ERROR, the last byte of it. */
const malformed = 3, late = 5;

/** Sends these bytes, and waits until the other side ends the connection; what it said comes back. */
function speak(port: number, words: Uint8Array): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port });
    let heard = "";
    socket.on("connect", () => socket.write(words)).on("error", () => {});
    socket.on("data", (chunk: Uint8Array) => heard += Buffer.from(chunk).toString("latin1"));
    socket.on("close", () => resolve(heard));
  });
}

t.test("strangers at the port are closed; a mistake that is known is named, once", async (t) => {
  const field = await Field.open();
  t.teardown(() => field.end());
  const linesBefore = field.master.stderr.split("\n").length;
  const http = new TextEncoder().encode("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
  for (
    const words of [http, http, Uint8Array.of(0, 1, 2, 3), Uint8Array.of(0x16, 3, 1, 0, 5, 1, 0, 0, 1, 3, 3)]
  ) {
    const heard = await speak(field.port, words);
    t.ok(heard.startsWith("taskmaster"), "greeted");
    t.equal(heard.charCodeAt(heard.length - 1), malformed);
  }
  const startMs = Date.now();
  const heard = await speak(field.port, new Uint8Array(0));
  t.equal(heard.charCodeAt(heard.length - 1), late, "held");
  t.ok(Date.now() - startMs > 4_500, "after five seconds");
  const said = field.master.stderr.split("\n").slice(linesBefore - 1).join("\n");
  t.equal(said.match(/An HTTP request came/g)?.length, 1);
  t.equal(said.match(/A TLS connection came/g)?.length, 1);
  t.notMatch(said, /malformed|late/, "no noise");
  t.equal(await field.stop(), 130);
});

t.test("a hundred slaves come back after their master was killed, and none is called silent", async (t) => {
  const { backMs, silent } = await reconnectStorm(100);
  t.ok(backMs < 20_000, `${backMs} ms`);
  t.equal(silent, 0);
});

t.test("a master that is out of file descriptors works on, and takes slaves again later", async (t) => {
  const { before, during, joinedMs, lines, exitCode } = await outOfFiles(runtimes.binary, 64, 1.5);
  const kept = during.ratePerSecond / before.ratePerSecond;
  t.ok(kept >= keptMin, `${Math.round(before.ratePerSecond)}/s, then ${Math.round(during.ratePerSecond)}/s`);
  t.ok(joinedMs < 15_000, `${joinedMs} ms`);
  t.ok(lines.length <= 2, lines.join("\n"));
  t.equal(exitCode, 130);
});

const strangers = { skip: noStranger() };

t.test("another user floods the lock: a real slave works on, and another one joins", strangers, async (t) => {
  const report = await floodLock(t, 400, 1.5);
  t.same(localFaults(report, 8 + 8), []);
  t.ok(report.during.ratePerSecond >= report.before.ratePerSecond * keptMin);
  t.ok(report.joinedMs < 15_000, `${report.joinedMs} ms`);
});

t.test("another user floods the socket of workers: they work on, and are replaced", strangers, async (t) => {
  const report = await floodWorkers(t, 400, 1.5);
  t.same(localFaults(report, 256 + 8), []);
  t.ok(report.during.ratePerSecond >= report.before.ratePerSecond * keptMin);
  t.ok(report.joinedMs < 15_000, `${report.joinedMs} ms`);
});

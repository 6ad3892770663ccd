import { writeFileSync } from "node:fs";
import { connect as connectTls, createServer as createTlsServer } from "node:tls";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import t from "tap";
import { formatFingerprint } from "../../src/lib/bytes.ts";
import { hashOf, type Name, optionsOf, pair, pathOf } from "../certificates/certificates.ts";
import type { Program } from "../kit/program.ts";
import { runtimes } from "../kit/runtimes.ts";
import { portOf, Scenario } from "../kit/scenario.ts";
import { until } from "../kit/until.ts";

// Most of their time they wait for each other.
t.jobs = 3;

const ca = ["--tls-ca", pathOf("ca")];
const pin = (name: Name) => ["--tls-pin", formatFingerprint(hashOf(name))];

for (const masterRuntime of ["binary", "bun", "deno"] as const) {
  t.test(`a master of ${masterRuntime} with TLS and slaves of all runtimes, each with a certificate`, {
    buffered: true,
  }, async (t) => {
    const scenario = new Scenario();
    t.teardown(() => scenario.end());
    const hold = join(scenario.folder, "hold");
    writeFileSync(hold, "500");
    const words = ["jobs=1000", "pause=1", `hold=${hold}`, ...optionsOf("master", scenario.folder), ...ca];
    const master = scenario.master(words, runtimes[masterRuntime]);
    const port = await portOf(master);
    const own = [...optionsOf("slave", scenario.folder), "--procs", "1"];
    const [, pinned] = await master.printed(
      /^Join with: .* --tls-pin ((?:[0-9A-F]{2}:){31}[0-9A-F]{2}) --tls-cert /m,
    );
    const system = { SSL_CERT_FILE: pathOf("ca") };
    // The slowest to start comes first.
    const slaves = [
      scenario.slave(port, [...own, "--tls"], runtimes.deno, system),
      scenario.slave(port, [...own, ...ca], runtimes.bun),
      scenario.slave(port, [...own, "--tls-pin", pinned!]),
    ];
    await until(() => scenario.workerRuntimes().length === 3, "a slave of each runtime");
    writeFileSync(hold, "1000");
    t.equal(await master.ended, 0, master.stderr);
    for (const slave of slaves) t.equal(await slave.ended, 0, slave.stderr);
    t.match(
      master.stderr,
      /^Encrypted: TLS 1\.3; the certificate is for DNS:localhost, .* good until 2125-/m,
    );
    t.notMatch(master.stderr + slaves.map(({ stderr }) => stderr).join(), /not encrypted/);
    t.same(scenario.records().lost(1000), []);
    t.equal(scenario.records().repeated, 0);
    t.same(scenario.workerRuntimes(), ["binary", "bun", "deno"]);
  });
}

t.test(
  "a slave that cannot trust its master, or is not trusted, exits 5 with a sentence",
  { buffered: true },
  async (t) => {
    const scenario = new Scenario();
    t.teardown(() => scenario.end());
    const serve = async (name: Name, more: string[] = []) => {
      const master = scenario.master([
        "jobs=10",
        "--key",
        name,
        ...optionsOf(name, scenario.folder),
        ...more,
      ]);
      return { master, port: await portOf(master) };
    };
    const [good, elsewhere, expired, stranger, asking] = await Promise.all([
      serve("master"),
      serve("elsewhere"),
      serve("expired"),
      serve("stranger"),
      serve("relay", ca),
    ]);
    const cases: readonly (readonly [number, string[], RegExp])[] = [
      [good.port, pin("relay"), /not the one that is pinned: --tls-pin says .*, it showed /],
      [elsewhere.port, ca, /is for DNS:elsewhere\.example, and not for 127\.0\.0\.1/],
      [expired.port, ca, /its certificate expired at 2021-01-01/],
      [stranger.port, ca, /issued by CN=other_ca\) is signed by none of --tls-ca/],
      [good.port, ["--tls"], /is signed by none of this system's CAs/],
      [good.port, [], /it speaks TLS; start this slave with the line that the master printed/],
      [asking.port, ca, /asks for a certificate that one of its CAs signed/],
      [asking.port, [...ca, ...optionsOf("foreign_slave", scenario.folder)], /asks for a certificate/],
    ];
    await Promise.all(cases.map(async ([port, words, sentence]) => {
      const slave = scenario.slave(port, [...words, "--procs", "1"]);
      t.equal(await slave.ended, 5, slave.stderr);
      t.match(slave.stderr, sentence);
      t.notMatch(slave.stderr, /trying again/);
    }));
    await good.master.printed(/A slave without TLS came to this master's TLS port/);
    // Whichever of the two came first: one line of a kind in ten seconds.
    await asking.master.printed(
      /Refused a slave: (?:it showed no certificate|its certificate \(CN=foreign_slave\))/,
    );
    await expired.master.printed(/This master's certificate expired at 2021/);

    const plain = scenario.master(["jobs=10", "--key", "plain"]);
    const slave = scenario.slave(await portOf(plain), ca);
    t.equal(await slave.ended, 5);
    t.match(slave.stderr, /does not speak TLS; start this slave without TLS options/);
    await plain.printed(/A TLS connection came to the plain port for slaves/);
  },
);

t.test(
  "a man in the middle with another certificate of the same CA is refused",
  { buffered: true },
  async (t) => {
    const scenario = new Scenario();
    t.teardown(() => scenario.end());
    const master = scenario.master(["jobs=10", ...optionsOf("master", scenario.folder)]);
    const port = await portOf(master);
    const relay = createTlsServer(pair("relay"), (victim) => {
      const onward = connectTls({ host: "127.0.0.1", port, rejectUnauthorized: false });
      for (const socket of [victim, onward]) {
        socket.on("error", () => {}).on("close", () => void [victim, onward].map((end) => end.destroy()));
      }
      victim.pipe(onward).pipe(victim);
    });
    await new Promise<void>((resolve) => relay.listen(0, "127.0.0.1", resolve));
    t.teardown(() => relay.close());
    const slave = scenario.slave((relay.address() as AddressInfo).port, ca);
    t.equal(await slave.ended, 5);
    t.match(
      slave.stderr,
      new RegExp(
        `something on the way shows a certificate that is not the master's: this slave saw ${
          formatFingerprint(hashOf("relay"))
        }`,
      ),
    );
    await master.printed(/Refused a slave: .* something on the way showed it another certificate/);
    t.equal(scenario.records().begun.size, 0);
  },
);

t.test(
  "a slave with TLS waits for its master, and comes back to the next one",
  { buffered: true },
  async (t) => {
    const scenario = new Scenario();
    t.teardown(() => scenario.end());
    const words = ["jobs=800", "pause=2", "--heartbeat", "1s", ...optionsOf("master", scenario.folder)];
    const first = scenario.master(words);
    const port = await portOf(first);
    const slave = scenario.slave(port, [...pin("master"), "--procs", "2"]);
    await first.printed(/Current Job: [1-9]\d\d|joined/);
    first.signal("SIGKILL");
    await first.ended;
    await slave.printed(/trying again|connecting again/);
    const second = scenario.master(words, runtimes.deno, port);
    t.equal(await second.ended, 0, second.stderr);
    t.equal(await slave.ended, 0, slave.stderr);
    t.same(scenario.records().lost(800), []);
  },
);

t.test("taskmaster cert makes what master and slave need", { buffered: true }, async (t) => {
  const scenario = new Scenario();
  t.teardown(() => scenario.end());
  const run = async (...args: string[]): Promise<Program & { code: unknown }> => {
    const program = scenario.start(runtimes.binary, args);
    return Object.assign(program, { code: await program.ended });
  };
  const made = await run("cert", "--name", "localhost", "--name", "127.0.0.1");
  if (/There is no openssl/.test(made.stderr)) {
    return void t.pass("not tried", { skip: "no openssl to make a certificate with" });
  }
  t.equal(made.code, 0, made.stderr);
  const fingerprint = /^Fingerprint: (\S{95})$/m.exec(made.stdout)?.[1];
  t.match(made.stdout, /for DNS:localhost, IP Address:127\.0\.0\.1, good until/);
  const again = await run("cert");
  t.equal(again.code, 2);
  t.match(again.stderr, /taskmaster-key\.pem is there already, and is not overwritten/);

  const files = ["--tls-cert", "taskmaster-cert.pem", "--tls-key", "taskmaster-key.pem"];
  const master = scenario.master(["jobs=100", ...files]);
  const port = await portOf(master);
  t.match((await master.printed(/^Join with: .*$/m))[0], fingerprint!);
  const slaves = [
    scenario.slave(port, ["--tls-pin", fingerprint!.replaceAll(":", "").toLowerCase()]),
    scenario.slave(port, ["--tls-ca", "taskmaster-cert.pem"], runtimes.deno),
  ];
  t.equal(await master.ended, 0, master.stderr);
  t.equal(await slaves[0]!.ended, 0, slaves[0]!.stderr);
});

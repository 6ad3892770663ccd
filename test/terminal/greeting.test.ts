import t from "tap";
import { noCounts } from "../../src/core/types.ts";
import { greetingLines, resumeLine, slaveGreetingLines } from "../../src/terminal/greeting.ts";

const greeting = {
  bound: { host: "0.0.0.0", port: 5050 },
  reachable: { host: "10.0.0.5", port: 5050 },
  plugin: "plugins/posts.ts",
  isInsecure: false,
  tls: null,
  mayJoin: true,
};

t.test("greetingLines() of a master are the first line, the line to copy, the warning", async (t) => {
  t.same(greetingLines(greeting), [
    "Taskmaster server running on '0.0.0.0:5050'",
    "Join with: taskmaster slave plugins/posts.ts --host 10.0.0.5:5050",
    "Connections are authenticated at connect; not encrypted, not protected against tampering",
  ]);
});

t.test("greetingLines() quote for a shell", async (t) => {
  t.equal(
    greetingLines({ ...greeting, plugin: "my plugins/it's.ts" })[1],
    "Join with: taskmaster slave 'my plugins/it'\\''s.ts' --host 10.0.0.5:5050",
  );
});

t.test("greetingLines() on loopback warn of nothing, and of a run name no slave", async (t) => {
  const loopback = { host: "127.0.0.1", port: 5050 };
  t.same(greetingLines({ ...greeting, bound: loopback, reachable: loopback, mayJoin: false }), [
    "Taskmaster server running on '127.0.0.1:5050'",
  ]);
});

t.test("greetingLines() put IPv6 in brackets, and --insecure into the line to copy", async (t) => {
  const v6 = {
    ...greeting,
    bound: { host: "::", port: 1 },
    reachable: { host: "2001:db8::5", port: 1 },
    isInsecure: true,
  };
  const lines = greetingLines(v6);
  t.equal(lines[0], "Taskmaster server running on '[::]:1'");
  t.equal(lines[1], "Join with: taskmaster slave plugins/posts.ts --host '[2001:db8::5]:1' --insecure");
  t.match(lines[2], /^Insecure: no token/);
});

t.test("resumeLine() says what an earlier start left", async (t) => {
  t.equal(resumeLine(null, "/d/posts.state"), undefined);
  const resumed = { ...noCounts, handedOut: 10, done: 5, skipped: 1, dead: 1, stranded: 3, complete: false };
  t.equal(
    resumeLine(resumed, "/d/p.state"),
    "Resuming: 7 jobs settled (5 done, 1 skipped, 1 dead), 3 handed out and unfinished run first. State: /d/p.state",
  );
  const nothing = { ...noCounts, handedOut: 0, done: 0, skipped: 0, dead: 0, stranded: 0, complete: false };
  t.equal(resumeLine(nothing, "/d/p.state"), undefined, "it was stopped before its first job");
  t.match(resumeLine({ ...nothing, complete: true }, "/d/p.state"), /^This run was finished: 0 jobs/);
  t.match(resumeLine({ ...resumed, complete: true }, "/d/p.state"), /^This run was finished: 7 .*--reset/);
});

t.test("slaveGreetingLines() says what a connection is worth", async (t) => {
  t.same(slaveGreetingLines("127.0.0.1", false), []);
  t.match(slaveGreetingLines("10.0.0.5", false), [/not encrypted, not protected against tampering/]);
  t.match(slaveGreetingLines("127.0.0.1", true), [/^Insecure/]);
});

t.test("greetingLines() with TLS name the pin, and warn of nothing", async (t) => {
  const tls = { fingerprint: "AB:CD", about: "the certificate is for DNS:web1", asksSlaves: false };
  t.same(greetingLines({ ...greeting, tls }), [
    "Taskmaster server running on '0.0.0.0:5050'",
    "Join with: taskmaster slave plugins/posts.ts --host 10.0.0.5:5050 --tls-pin AB:CD",
    "Encrypted: TLS 1.3; the certificate is for DNS:web1",
  ]);
  const asking = greetingLines({ ...greeting, isInsecure: true, tls: { ...tls, asksSlaves: true } });
  t.match(asking[1], /--insecure --tls-pin AB:CD --tls-cert slave-cert\.pem --tls-key slave-key\.pem$/);
  t.match(asking.slice(2), [
    /^Encrypted/,
    /slave-cert\.pem stands for their own/,
    /whoever shows such a certificate/,
  ]);
});

t.test("slaveGreetingLines() with TLS say by what the master is known", async (t) => {
  t.same(slaveGreetingLines("10.0.0.5", false, "its pinned certificate"), [
    "Encrypted: TLS 1.3; the master is known by its pinned certificate",
  ]);
  t.match(slaveGreetingLines("10.0.0.5", true, "x"), [
    /^Encrypted/,
    /no token proves the master, its certificate/,
  ]);
});

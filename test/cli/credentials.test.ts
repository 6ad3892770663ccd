import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { readCommandLine } from "../../src/cli/command_line.ts";
import { settle } from "../../src/cli/settings.ts";
import { makeCertificate } from "../../src/cli/commands/cert.ts";
import { clientTls, masterTls, tlsGreeting, trustInWords } from "../../src/cli/credentials.ts";
import { formatFingerprint } from "../../src/lib/bytes.ts";
import { hashOf, pair, pathOf, pem } from "../certificates/certificates.ts";

const fingerprint = formatFingerprint(hashOf("master"));
const at = (command: "master" | "slave", flags: readonly string[], env: Record<string, string> = {}) =>
  settle(readCommandLine([command, "x.ts", ...flags]), env);
const master = (flags: readonly string[], env = {}) => masterTls(at("master", flags, env), {});
const slave = (flags: readonly string[], env = {}) => clientTls(at("slave", flags, env), {});

/** `--tls-cert` and `--tls-key` with a key of this mode. */
function files(folder: string, mode = 0o600): string[] {
  const key = join(folder, "key.pem");
  writeFileSync(key, pair("master").key, { mode });
  chmodSync(key, mode);
  return ["--tls-cert", pathOf("master"), "--tls-key", key];
}

t.test("without options there is no TLS", async (t) => {
  t.equal(await master([]), undefined);
  t.equal(await slave([]), undefined);
});

t.test("masterTls() reads certificate, key and CA", async (t) => {
  const own = files(t.testdir({}));
  t.same(await master(own), pair("master"));
  t.same(await master([...own, "--tls-ca", pathOf("ca")]), { ...pair("master"), ca: pem("ca") });
  t.same(await master([], { TASKMASTER_TLS_CERT: own[1]!, TASKMASTER_TLS_KEY: own[3]! }), pair("master"));
  t.match(tlsGreeting({ ...pair("master"), ca: pem("ca") }), {
    fingerprint,
    about:
      /^the certificate is for DNS:localhost, IP Address:127\.0\.0\.1, .*, good until 2125-01-01T00:00:00Z$/,
    asksSlaves: true,
  });
});

t.test("clientTls() reads how the master is known, and the slave's own certificate", async (t) => {
  const pin = { kind: "pin", hash: hashOf("master") };
  t.same(await slave(["--tls-pin", fingerprint]), { trust: pin });
  t.same(await slave(["--tls-pin", fingerprint.replaceAll(":", ""), "--tls"]), { trust: pin });
  t.same(await slave([], { TASKMASTER_TLS_PIN: fingerprint }), { trust: pin });
  t.same(await slave(["--tls"]), { trust: { kind: "system" } });
  const byCa = ["--tls-ca", pathOf("ca")];
  t.same(await slave(byCa), { trust: { kind: "ca", ca: pem("ca") } });
  const both = await slave([...byCa, ...files(t.testdir({}))]);
  t.same(both, { trust: { kind: "ca", ca: pem("ca") }, identity: pair("master") });
  t.match(trustInWords(both!, at("slave", byCa)), `a certificate of ${pathOf("ca")}`);
});

t.test("bad combinations are usage errors that say what to do", async (t) => {
  const own = files(t.testdir({}));
  const usage = (message: RegExp) => ({ name: "UsageError", exitCode: 2, message });
  await t.rejects(master(own.slice(0, 2)), usage(/--tls-cert needs --tls-key FILE as well/));
  await t.rejects(master(own.slice(2)), usage(/--tls-key needs --tls-cert FILE as well/));
  await t.rejects(master(["--tls"]), usage(/--tls at a master needs --tls-cert .*taskmaster cert/));
  await t.rejects(master(["--tls-ca", "ca.pem"]), usage(/--tls-ca at a master needs --tls-cert/));
  await t.rejects(slave(own), usage(/Say by which certificate it knows the master, too: --tls-pin/));
  await t.rejects(slave(["--tls", ...own.slice(0, 2)]), usage(/--tls-cert needs --tls-key/));
  await t.rejects(slave(["--tls-pin", fingerprint, "--tls-ca", "x"]), usage(/Give one of them/));
  t.throws(() => at("slave", ["--tls-pin", "AB:CD"]), usage(/--tls-pin cannot be "AB:CD": .*64 hex digits/));
  t.throws(() => at("master", ["--tls-pin", fingerprint]), usage(/not an option of `taskmaster master`/));
});

t.test("files that cannot be used are named with the reason", async (t) => {
  const folder = t.testdir({ "junk.pem": "junk" });
  const junk = join(folder, "junk.pem");
  const connect = (message: RegExp) => ({ name: "ConnectError", exitCode: 5, message });
  await t.rejects(
    master(files(folder, 0o640)),
    connect(/Others can use the private key .*key\.pem \(mode 0640\): .* `chmod 600 /),
  );
  const own = files(folder);
  await t.rejects(master([...own, "--tls-ca", junk]), connect(/junk\.pem: it holds no certificate in PEM/));
  await t.rejects(
    master(["--tls-cert", pathOf("relay"), ...own.slice(2)]),
    connect(/relay\.pem with .*key\.pem: the private key belongs to another certificate/),
  );
  await t.rejects(
    master(["--tls-cert", "none.pem", ...own.slice(2)]),
    connect(/no certificate none\.pem \(--tls-cert\): `taskmaster cert` makes/),
  );
  await t.rejects(
    master([...own.slice(0, 2), "--tls-key", "none.pem"]),
    connect(/no private key none\.pem \(--tls-key\)/),
  );
  await t.rejects(slave(["--tls-ca", folder]), connect(/Cannot read the CA file/));
});

t.test("makeCertificate() makes a key of this user alone, and overwrites nothing", async (t) => {
  const folder = t.testdir({});
  const certPath = join(folder, "cert.pem"), keyPath = join(folder, "key.pem");
  const made = await makeCertificate({ certPath, keyPath, hosts: ["web1.example", "10.0.0.5", "::1"] })
    .catch((error: Error) => error);
  if (made instanceof Error && /There is no openssl/.test(made.message)) {
    return void t.pass("not tried", { skip: "no openssl to make a certificate with" });
  }
  if (made instanceof Error) throw made;
  t.equal(statSync(keyPath).mode & 0o777, 0o600);
  t.match(made.names, /^DNS:web1\.example, IP Address:10\.0\.0\.5, IP Address:0*:/);
  const days = (made.untilMs - made.fromMs) / 86_400_000;
  t.ok(days > 820 && days <= 825, `${days} days`);
  t.same(await master(["--tls-cert", certPath, "--tls-key", keyPath]), {
    cert: readFileSync(certPath, "utf8"),
    key: readFileSync(keyPath, "utf8"),
  });
  const before = readFileSync(keyPath, "utf8");
  const other = join(folder, "other.pem");
  const again = (paths: { certPath: string; keyPath: string }) => makeCertificate({ ...paths, hosts: ["a"] });
  await t.rejects(again({ certPath: other, keyPath }), { message: /key\.pem is there already.*--tls-key/ });
  await t.rejects(again({ certPath, keyPath: other }), { message: /cert\.pem is there already.*--tls-cert/ });
  t.equal(readFileSync(keyPath, "utf8"), before);
  t.notOk(existsSync(other), "nothing is left behind");
  await t.rejects(again({ certPath: other, keyPath: join(folder, "none", "key.pem") }), {
    message: /Cannot make a certificate in .*none.* Name other files with --tls-cert and --tls-key\.$/,
  });
});

t.test("makeCertificate() without openssl says how to make it by hand", async (t) => {
  const path = process.env["PATH"];
  t.teardown(() => process.env["PATH"] = path);
  process.env["PATH"] = t.testdir({});
  await t.rejects(
    makeCertificate({ certPath: "my cert.pem", keyPath: "key.pem", hosts: ["web1", "10.0.0.5"] }),
    {
      exitCode: 2,
      message: /There is no openssl .* copy them here:$/,
      below: [
        "",
        /^ {2}openssl req -x509 .* -out 'my cert\.pem' -addext subjectAltName=DNS:web1,IP:10\.0\.0\.5 .*/,
        "  chmod 600 key.pem",
      ],
    },
  );
});

t.test("--name may be given again, or with commas, and takes hosts alone", async (t) => {
  const names = (...flags: string[]) => settle(readCommandLine(["cert", ...flags]), {}).name;
  t.equal(names(), undefined);
  t.same(names("--name", "web1.example", "--name=10.0.0.5"), ["web1.example", "10.0.0.5"]);
  t.same(names("--name", "*.example, ::1"), ["*.example", "::1"]);
  for (const bad of ["a b", "web1,", "x\nDNS:evil", "/etc", "a,DNS:b"]) {
    t.throws(() => names("--name", bad), { exitCode: 2, message: /names or addresses of hosts/ }, bad);
  }
  t.throws(() => names("--name", ""), { message: /--name needs a value/ });
});

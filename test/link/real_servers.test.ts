// What a slave says of servers that are no master: the real ones, where they are installed.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { type SlaveTls, TlsClient } from "../../src/link/tls.ts";
import { pair, pem } from "../certificates/certificates.ts";
import { openHouse } from "./harness.ts";

const client = new TlsClient({ trust: { kind: "ca", ca: pem("ca") } } satisfies SlaveTls);

type Place = Readonly<{ folder: string; port: number; cert: string; key: string }>;

type Real = Readonly<{
  program: string;
  /** Readies what it needs, and returns its arguments. */
  args: (place: Place) => readonly string[];
  /** It refuses to be root. */
  asNobody?: true;
  plain: RegExp;
  /** @default plain */
  tls?: RegExp;
}>;

const nobody = 65_534;
const isRoot = process.getuid?.() === 0;

function nginx({ folder }: Place, server: string): readonly string[] {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${folder}/${name};`).join(" ");
  const file = join(folder, "nginx.conf");
  writeFileSync(
    file,
    `daemon off; pid ${folder}/pid; error_log ${folder}/errors; events {} ` +
      `http { access_log off; ${temporary} server { ${server} return 200 "hello"; } }`,
  );
  return ["-c", file, "-e", `${folder}/errors`];
}

function postgres({ folder, port, cert, key }: Place, withTls: boolean): readonly string[] {
  const data = join(folder, "data");
  const initdb = join(postgresFolder, "initdb");
  const as = isRoot ? { uid: nobody, gid: nobody } : {};
  const made = spawnSync(initdb, ["-D", data, "-A", "trust", "--no-sync"], { ...as, timeout: 60_000 });
  if (made.status !== 0) throw new Error(`initdb failed: ${made.stderr}`);
  const tls = withTls ? ["-c", "ssl=on", "-c", `ssl_cert_file=${cert}`, "-c", `ssl_key_file=${key}`] : [];
  return ["-D", data, "-p", String(port), "-h", "127.0.0.1", "-k", folder, "-c", "fsync=off", ...tls];
}

/** Debian keeps each version's programs in a folder of its own. */
const postgresFolder =
  ["18", "17", "16", "15", "14", "13"].map((version) => `/usr/lib/postgresql/${version}/bin`)
    .find((folder) => existsSync(folder)) ?? "/usr/bin";

const servers: Readonly<Record<string, Real>> = {
  "nginx": {
    program: "/usr/sbin/nginx",
    args: (place) => nginx(place, `listen 127.0.0.1:${place.port};`),
    plain: /is an HTTP server/,
  },
  "nginx, HTTP/2": {
    program: "/usr/sbin/nginx",
    args: (place) => nginx(place, `listen 127.0.0.1:${place.port} http2;`),
    plain: /is an HTTP\/2 server/,
  },
  "nginx, HTTPS": {
    program: "/usr/sbin/nginx",
    args: (place) =>
      nginx(
        place,
        `listen 127.0.0.1:${place.port} ssl; ssl_protocols TLSv1.3; ssl_certificate ${place.cert}; ` +
          `ssl_certificate_key ${place.key};`,
      ),
    plain: /is an HTTP server/,
  },
  "Redis": {
    program: "/usr/bin/redis-server",
    args: ({ folder, port }) => ["--port", `${port}`, "--bind", "127.0.0.1", "--save", "", "--dir", folder],
    plain: /is a Redis server/,
  },
  "Redis, TLS": {
    program: "/usr/bin/redis-server",
    args: ({ folder, port, cert, key }) => [
      ...["--port", "0", "--tls-port", `${port}`, "--bind", "127.0.0.1", "--save", "", "--dir", folder],
      ...["--tls-cert-file", cert, "--tls-key-file", key, "--tls-auth-clients", "no"],
    ],
    plain: /speaks TLS/,
    tls: /is a Redis server/,
  },
  "memcached": {
    program: "/usr/bin/memcached",
    args: ({ port }) => ["-u", "nobody", "-l", "127.0.0.1", "-p", `${port}`],
    plain: /is a memcached server/,
  },
  "PostgreSQL": {
    program: join(postgresFolder, "postgres"),
    args: (place) => postgres(place, false),
    asNobody: true,
    plain: /is a PostgreSQL server/,
  },
  "PostgreSQL, TLS": {
    program: join(postgresFolder, "postgres"),
    args: (place) => postgres(place, true),
    asNobody: true,
    plain: /is a PostgreSQL server/,
  },
  "OpenSSH": {
    program: "/usr/sbin/sshd",
    args: ({ folder, port }) => {
      const key = join(folder, "host");
      spawnSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", key], { timeout: 10_000 });
      if (isRoot) mkdirSync("/run/sshd", { recursive: true });
      return [
        "-D",
        "-f",
        "/dev/null",
        "-h",
        key,
        "-p",
        `${port}`,
        "-o",
        "ListenAddress=127.0.0.1",
        "-o",
        "PidFile=none",
      ];
    },
    plain: /is an SSH server \(SSH-2.0-OpenSSH/,
  },
  "MariaDB": {
    program: "/usr/sbin/mariadbd",
    args: ({ folder, port }) => {
      const data = join(folder, "data");
      const args = ["--no-defaults", `--datadir=${data}`, "--skip-test-db"];
      const as = isRoot ? { uid: nobody, gid: nobody } : {};
      spawnSync("mariadb-install-db", args, { ...as, timeout: 60_000 });
      return [
        ...["--no-defaults", `--datadir=${data}`, `--port=${port}`, "--bind-address=127.0.0.1"],
        ...[`--socket=${folder}/s`, `--pid-file=${folder}/pid`],
      ];
    },
    asNobody: true,
    plain: /is a MySQL server/,
  },
};

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Until something takes connections there; throws if the server ends before. */
async function listens(port: number, child: ChildProcess, said: () => string): Promise<void> {
  for (;;) {
    if (child.exitCode !== null) throw new Error(`It ended with ${child.exitCode}: ${said()}`);
    const isOpen = await new Promise<boolean>((resolve) => {
      const socket = connect(port, "127.0.0.1");
      socket.on("connect", () => resolve(true)).on("error", () => resolve(false));
      socket.on("close", () => socket.destroy());
      socket.on("connect", () => socket.destroy());
    });
    if (isOpen) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

for (const [name, { program, args, asNobody, plain, tls = plain }] of Object.entries(servers)) {
  const skip = existsSync(program) ? false : `${program} is not installed`;
  t.test(`${name} is named within 5 s, by a slave with TLS too`, { skip, timeout: 120_000 }, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "real-"));
    const { cert, key } = pair("master");
    const place = {
      folder,
      port: await freePort(),
      cert: join(folder, "cert.pem"),
      key: join(folder, "key.pem"),
    };
    writeFileSync(place.cert, cert);
    writeFileSync(place.key, key, { mode: 0o600 });
    const as = isRoot && asNobody ? { uid: nobody, gid: nobody } : {};
    chmodSync(folder, 0o755);
    if ("uid" in as) { for (const path of [folder, place.key]) chownSync(path, nobody, nobody); }
    let said = "";
    const child = spawn(program, args(place), { ...as, cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
    const ended = new Promise((resolve) => child.once("close", resolve));
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => said += text);
    t.teardown(async () => {
      // PostgreSQL takes SIGTERM for "once all clients have left", and MariaDB nothing by SIGINT.
      child.kill(program.endsWith("postgres") ? "SIGINT" : "SIGTERM");
      const kill = setTimeout(() => child.kill("SIGKILL"), 5_000);
      await ended;
      clearTimeout(kill);
      rmSync(folder, { recursive: true, force: true });
    });
    await listens(place.port, child, () => said);
    const house = await openHouse();
    const dials = [[undefined, plain], [client, tls]] as const;
    await Promise.all(dials.map(async ([how, words]) => {
      const startMs = performance.now();
      await t.rejects(house.dial({ port: place.port, tls: how }), { name: "StrangerError", message: words });
      t.ok(performance.now() - startMs < 5_000, "in time");
    }));
    await house.close();
  });
}

import { spawn } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import t from "tap";
import {
  makeTokenText,
  ownTokenPath,
  resolveToken,
  tokenFault,
  type TokenSources,
} from "../../src/cli/token.ts";
import { ConnectError } from "../../src/lib/errors.ts";
import { bun, root } from "../kit/runtimes.ts";

const good = "A7kVw9TzQm2RbXc5LfYp8HsNd4Gj";
const other = "Z3LfYp8HsNd4GjUa6EeB5wQ7kVw9";

function file(folder: string, name: string, text: string, mode = 0o600): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

function sources(folder: string, more: Partial<TokenSources> = {}): TokenSources {
  return {
    file: undefined,
    text: undefined,
    env: { HOME: folder },
    binary: undefined,
    mayCreate: false,
    warn: () => {},
    ...more,
  };
}

t.test("makeTokenText() holds 256 bits, and no two are alike", async (t) => {
  t.match(makeTokenText(), /^[\w-]{43}$/);
  t.not(makeTokenText(), makeTokenText());
  t.equal(tokenFault(makeTokenText()), undefined);
});

const faults: readonly (readonly [string, RegExp | undefined])[] = [
  ["", /empty/],
  ["short", /128/],
  ["a".repeat(31), /128/],
  ["x".repeat(21), /128/],
  ["two words that are long enough to pass", /word/],
  ["line\nbreak".repeat(5), /word/],
  ["0".repeat(32), /over and over.*128/],
  ["x".repeat(22), /over and over/],
  ["01".repeat(64), /over and over/],
  ["password".repeat(5), /over and over/],
  ["change-me-".repeat(4).slice(0, -1), /over and over/],
  ["supercalifragilistic".repeat(3), /over and over/],
  ["0123456789abcdef0123456789abcdef", /over and over/],
  ["PassWordpassword".repeat(3), /over and over/],
  ["taskmaster-token-taskmaster-token", /over and over/],
  [`${"0".repeat(63)}1`, /in order.*128/],
  [`x${"0".repeat(63)}`, /in order/],
  ["abcdefghijklmnopqrstuvwxyz", /in order/],
  ["0123456789abcdefghijklmnopqrstuvwxyz", /in order/],
  ["zyxwvutsrqponmlkjihgfedcba9876543210", /in order/],
  ["word1word2word3word4word5", /in order/],
  [Array.from({ length: 40 }, (_, at) => `password${at}`).join(""), /in order/],
  ["000102030405060708090a0b0c0d0e0f", /in order/],
  ["00112233445566778899aabbccddeeff", /in order/],
  ["acegikmoqsuwybdfhjlnprtvxz", /in order/],
  ["a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6", /in order/],
  [`${"A".repeat(10)}bcdefghijklmnopqrst`, /in order/],
  ["a".repeat(100_000) + "b", /in order|over and over/],
  ["9f86d081884c7d659a2feaa0c55ad015", undefined],
  ["550e8400-e29b-41d4-a716-446655440000", undefined],
  ["correct-horse-battery-staple-orbit", undefined],
  [good, undefined],
];
for (const [text, fault] of faults) {
  t.test(`tokenFault() of ${JSON.stringify(text.slice(0, 60))}`, async (t) => {
    if (fault === undefined) t.equal(tokenFault(text), undefined);
    else t.match(tokenFault(text), fault);
  });
}

t.test("tokenFault() takes what any generator of random tokens makes", async (t) => {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  const random = (kinds: string, length: number) =>
    Array.from({ length }, () => kinds[Math.floor(Math.random() * kinds.length)]).join("");
  const makers: Record<string, () => string> = {
    "of this program": makeTokenText,
    "openssl rand -hex 16": () => randomBytes(16).toString("hex"),
    "openssl rand -hex 32": () => randomBytes(32).toString("hex"),
    "openssl rand -hex 500": () => randomBytes(500).toString("hex"),
    "openssl rand -base64 16": () => randomBytes(16).toString("base64"),
    "openssl rand -base64 48": () => randomBytes(48).toString("base64"),
    "22 of base64url": () => randomBytes(17).toString("base64url").slice(0, 22),
    "22 letters and digits": () => random(letters, 22),
    "28 small letters": () => random(letters.slice(26, 52), 28),
    "base32 of 128 bits": () => random("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 26),
    "40 digits": () => random("0123456789", 40),
    "44 octal digits": () => random("01234567", 44),
    "128 bits as bits": () => random("01", 128),
    "a UUID": () => randomUUID(),
    "a UUID without its hyphens": () => randomUUID().replaceAll("-", ""),
  };
  for (const [what, make] of Object.entries(makers)) {
    const refused = Array.from({ length: 2_000 }, make).filter((text) => tokenFault(text) !== undefined);
    t.same(refused, [], what);
  }
});

t.test("resolveToken() goes by its order, and never past the first that is there", async (t) => {
  const folder = t.testdir({ bin: {}, config: { taskmaster: {} } });
  const named = file(folder, "named", `${good}1\n`);
  const env = { HOME: folder, XDG_CONFIG_HOME: join(folder, "config") };
  const all = {
    file: named,
    text: `${good}2`,
    env,
    binary: join(folder, "bin", "taskmaster"),
    mayCreate: true,
    warn: () => {},
  };
  file(join(folder, "bin"), "taskmaster.token", `${good}3`);
  file(join(folder, "config", "taskmaster"), "token", `${good}4`);
  t.equal((await resolveToken(all)).text, `${good}1`);
  t.equal((await resolveToken({ ...all, file: undefined })).text, `${good}2`);
  t.equal((await resolveToken({ ...all, file: undefined, text: undefined })).text, `${good}3`);
  t.equal(
    (await resolveToken({ ...all, file: undefined, text: undefined, binary: undefined })).text,
    `${good}4`,
  );
  await t.rejects(resolveToken({ ...all, file: join(folder, "none") }), {
    name: "ConnectError",
    message: /no token file .*: make one with `taskmaster token --write \S+none`\.$/,
  });
  await t.rejects(resolveToken({ ...all, file: join(folder, "none"), mayCreate: false }), {
    message:
      /no token file .*: on the master's machine run `taskmaster token --write taskmaster\.token`, then copy/,
  });
  await t.rejects(resolveToken({ ...all, file: undefined, text: "short" }), {
    name: "ConnectError",
    message: /TASKMASTER_TOKEN.*128/,
  });
  chmodSync(join(folder, "bin", "taskmaster.token"), 0o644);
  await t.rejects(resolveToken({ ...all, file: undefined, text: undefined }), {
    name: "ConnectError",
    message: /mode 0644.*chmod 600/,
  });
});

t.test("resolveToken() waits for a master that makes one, and says what to do if none does", async (t) => {
  const folder = t.testdir({});
  const waiting = resolveToken(sources(folder, { waitMs: 20_000 }));
  const { text } = await resolveToken(sources(folder, { mayCreate: true }));
  t.equal((await waiting).text, text);
  await t.rejects(resolveToken(sources(join(folder, "other"), { waitMs: 1 })), {
    name: "ConnectError",
    message: /^This user has no token.*Start the master first/,
  });
});

t.test("resolveToken() makes the user's own only if it may", async (t) => {
  const folder = t.testdir({});
  await t.rejects(resolveToken(sources(folder)), {
    name: "ConnectError",
    exitCode: 5,
    message: /^This machine has no token.* by the commands below/,
    below: ["", "  taskmaster token --write taskmaster.token", "  scp taskmaster taskmaster.token web1:"],
  });
  t.same(readdirSync(folder), [], "asking leaves nothing behind");
  const made = await resolveToken(sources(folder, { mayCreate: true }));
  t.ok(made.isNew);
  const path = join(folder, ".config", "taskmaster", "token");
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.equal(statSync(join(folder, ".config", "taskmaster")).mode & 0o777, 0o700);
  t.equal(readFileSync(path, "utf8"), `${made.text}\n`);
  const again = await resolveToken(sources(folder));
  t.same([again.text, again.isNew, again.from], [made.text, false, path]);
});

t.test("resolveToken() heeds XDG_CONFIG_HOME if it is absolute", async (t) => {
  t.equal(ownTokenPath({ HOME: "/h", XDG_CONFIG_HOME: "/x" }), "/x/taskmaster/token");
  t.equal(ownTokenPath({ HOME: "/h", XDG_CONFIG_HOME: "x" }), "/h/.config/taskmaster/token");
  t.equal(ownTokenPath({ HOME: "/h" }), "/h/.config/taskmaster/token");
});

for (const mode of [0o640, 0o604, 0o644, 0o620, 0o666]) {
  t.test(`resolveToken() refuses a file of mode ${mode.toString(8)}`, async (t) => {
    const folder = t.testdir({});
    const path = file(folder, "token", good, mode);
    await t.rejects(resolveToken(sources(folder, { file: path })), ConnectError);
  });
}

t.test("resolveToken() takes any mode under $CREDENTIALS_DIRECTORY, and only there", async (t) => {
  const folder = t.testdir({ credentials: {}, credentials2: {} });
  const inside = file(join(folder, "credentials"), "token", good, 0o444);
  const beside = file(join(folder, "credentials2"), "token", other, 0o444);
  const env = { HOME: folder, CREDENTIALS_DIRECTORY: join(folder, "credentials") };
  t.equal((await resolveToken(sources(folder, { file: inside, env }))).text, good);
  await t.rejects(resolveToken(sources(folder, { file: beside, env })), ConnectError);
  const out = join(folder, "credentials", "out");
  symlinkSync(beside, out);
  await t.rejects(
    resolveToken(sources(folder, { file: out, env })),
    ConnectError,
    "a link does not take the exemption with it",
  );
});

t.test("resolveToken() says what a file is that is no token", async (t) => {
  const folder = t.testdir({ folder: {} });
  await t.rejects(resolveToken(sources(folder, { file: file(folder, "big", "x".repeat(5_000)) })), {
    message: /longer than 4096 bytes/,
  });
  chmodSync(join(folder, "folder"), 0o700);
  await t.rejects(resolveToken(sources(folder, { file: join(folder, "folder") })), {
    name: "ConnectError",
    message: /Cannot read the token file/,
  });
  await t.rejects(resolveToken(sources(folder, { file: file(folder, "empty", "\n") })), {
    message: /is empty/,
  });
});

t.test("of many processes at once, one makes the token and all have it", async (t) => {
  const folder = t.testdir({});
  mkdirSync(join(folder, "home"));
  const printed = await Promise.all(Array.from({ length: 6 }, () =>
    new Promise<string>((resolve) => {
      const child = spawn(bun, [join(root, "mod.ts"), "token"], {
        env: { HOME: join(folder, "home") },
        timeout: 30_000,
      });
      let text = "";
      child.stdout.on("data", (chunk) => text += chunk);
      child.on("close", () => resolve(text));
    })));
  t.match(printed[0], /^[\w-]{43}\n$/);
  t.equal(new Set(printed).size, 1);
  t.same(readdirSync(join(folder, "home", ".config", "taskmaster")), ["token"], "nothing else is left");
});

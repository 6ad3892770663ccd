import t from "tap";
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import {
  isKeptFromOthers,
  isOwnFile,
  isOwnFolder,
  makeOwnFile,
  makeOwnFolder,
  openOwnFile,
  ownFileAt,
  readWhole,
  removeOwnFolder,
} from "../../src/lib/own_file.ts";

const nobody = 65_534;
const isRoot = process.getuid?.() === 0;
const needsRoot = { skip: isRoot ? false : "only root can give a file to another user" };
const content = Uint8Array.of(1, 2, 3);

t.test("a file is made where nothing is, and nowhere else", (t) => {
  const folder = t.testdir({ victim: "mine" });
  const victim = join(folder, "victim");
  const { file, fd } = makeOwnFile(join(folder, "1.note"), content);
  t.same([...readWhole(fd)], [1, 2, 3]);
  t.equal(statSync(file.path).mode & 0o777, 0o600);
  closeSync(fd);
  symlinkSync(victim, join(folder, "2.note"));
  symlinkSync(join(folder, "nowhere"), join(folder, "3.note"));
  execFileSync("mkfifo", [join(folder, "4.note")], { timeout: 10_000 });
  for (const name of ["victim", "1.note", "2.note", "3.note", "4.note"]) {
    t.throws(() => makeOwnFile(join(folder, name), content), { code: "EEXIST" }, name);
  }
  t.equal(readFileSync(victim, "utf8"), "mine");
  t.notOk(existsSync(join(folder, "nowhere")));
  t.end();
});

t.test("what is at the path of a file and is not that file is not opened", (t) => {
  const folder = t.testdir({ victim: "mine" });
  const path = join(folder, "1.note");
  const { file, fd } = makeOwnFile(path, content);
  closeSync(openOwnFile(file));
  renameSync(path, join(folder, "kept"));
  const others: Record<string, () => void> = {
    "another file": () => writeFileSync(path, content),
    "a link to the victim": () => symlinkSync(join(folder, "victim"), path),
    "a link to the file itself": () => symlinkSync(join(folder, "kept"), path),
    "a pipe that nobody writes into": () => execFileSync("mkfifo", [path], { timeout: 10_000 }),
    "a folder": () => mkdirSync(path),
    "nothing": () => {},
  };
  for (const [what, make] of Object.entries(others)) {
    make();
    t.throws(() => openOwnFile(file), what);
    rmSync(path, { recursive: true, force: true });
  }
  closeSync(fd);
  const other = openSync(join(folder, "victim"), "r");
  t.notOk(isOwnFile(other, file), "a number that was given to another file");
  closeSync(other);
  t.notOk(isOwnFile(other, file), "a number of none");
  t.end();
});

t.test("a file that was given to another user is not opened", needsRoot, (t) => {
  const { file, fd } = makeOwnFile(join(t.testdir(), "1.note"), content);
  chownSync(file.path, nobody, nobody);
  t.throws(() => openOwnFile(file));
  t.notOk(isOwnFile(fd, file));
  closeSync(fd);
  t.end();
});

t.test("a folder is what was made, or it is no more ours, and nothing in it is touched", (t) => {
  const parent = t.testdir({ victim: { s: "mine" } });
  const folder = makeOwnFolder(join(parent, "own-"));
  const isOurs = (name: string) => name === "s";
  t.ok(isOwnFolder(folder));
  chmodSync(folder.path, 0o755);
  t.notOk(isOwnFolder(folder), "open to others");
  chmodSync(folder.path, 0o700);
  t.ok(isOwnFolder(folder));
  renameSync(folder.path, join(parent, "kept"));
  const others: Record<string, () => void> = {
    "nothing": () => {},
    "another one": () => mkdirSync(folder.path, { mode: 0o700 }),
    "a link to the victim's": () => symlinkSync(join(parent, "victim"), folder.path),
    "a link to itself": () => symlinkSync(join(parent, "kept"), folder.path),
    "a file": () => writeFileSync(folder.path, ""),
  };
  writeFileSync(join(parent, "kept", "s"), "");
  for (const [what, make] of Object.entries(others)) {
    make();
    t.notOk(isOwnFolder(folder), what);
    removeOwnFolder(folder, isOurs);
    t.equal(readFileSync(join(parent, "victim", "s"), "utf8"), "mine", what);
    t.ok(existsSync(join(parent, "kept", "s")), what);
    t.equal(existsSync(folder.path), what !== "nothing", what);
    rmSync(folder.path, { recursive: true, force: true });
  }
  renameSync(join(parent, "kept"), folder.path);
  writeFileSync(join(folder.path, "else"), "");
  removeOwnFolder(folder, isOurs);
  t.same(readdirSync(folder.path), ["else"], "what is not ours stays");
  rmSync(join(folder.path, "else"));
  removeOwnFolder(folder, isOurs);
  t.notOk(existsSync(folder.path));
  t.end();
});

t.test("a folder of another user is not ours, though all else is the same", needsRoot, (t) => {
  const folder = makeOwnFolder(join(t.testdir(), "own-"));
  chownSync(folder.path, nobody, nobody);
  t.notOk(isOwnFolder(folder));
  t.equal(ownFileAt(folder.path).ino, folder.ino);
  t.end();
});

t.test("a folder is kept from others if they may rename nothing on the way to it", (t) => {
  const folder = realpathSync(mkdtempSync("/tmp/tm-kept-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const [a, b] = [join(folder, "a"), join(folder, "a", "b")];
  mkdirSync(b, { recursive: true, mode: 0o755 });
  t.ok(isKeptFromOthers(b));
  for (const [path, mode, isKept] of [[b, 0o777, false], [b, 0o1777, true], [b, 0o770, false]] as const) {
    chmodSync(path, mode);
    t.equal(isKeptFromOthers(b), isKept, mode.toString(8));
  }
  chmodSync(b, 0o700);
  chmodSync(a, 0o777);
  t.notOk(isKeptFromOthers(b), "a folder above it");
  chmodSync(a, 0o755);
  if (isRoot) {
    chownSync(a, nobody, nobody);
    t.notOk(isKeptFromOthers(b), "the folder above is another user's");
  }
  t.end();
});

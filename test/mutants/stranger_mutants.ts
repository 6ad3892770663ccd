import { type Mutant, quickTest, test, throwing } from "./mutant.ts";

const another = "a stranger that connects is no worker, whatever it says";
const folder = "a folder is what was made, or it is no more ours, and nothing in it is touched";

/** Other users of the machine, between a slave and its workers. */
export const strangerMutants: readonly Mutant[] = [
  {
    name: "a worker takes whoever answers at its socket for its supervisor",
    patches: [{
      file: "src/link/local_link.ts",
      find: "if (!holds || !isInPlace()) {",
      replace: "if ((!holds && bytes.length === 0) || !isInPlace()) {",
    }],
    checks: [
      quickTest(
        "link/local_link",
        "a stranger that sits at the socket gets a number and a nonce, and is not believed",
      ),
    ],
  },
  {
    name: "who names the number of a worker is let in as it",
    patches: [{
      file: "src/link/local_link.ts",
      find: "if (!holds || secretOf(worker)",
      replace: "if ((!holds && bytes.length === 0) || secretOf(worker)",
    }],
    checks: [quickTest("link/local_link", another)],
  },
  {
    name: "the proof of a supervisor, sent back, is that of a worker",
    patches: [{
      file: "src/link/local_link.ts",
      find: "`taskmaster local/1 ${side}\\0`",
      replace: "`taskmaster local/1 ${side.slice(10)}\\0`",
    }],
    checks: [quickTest("link/local_link", another)],
  },
  {
    name: "a worker's number counts for the proof, its nonce does not: what was recorded is believed",
    patches: [{
      file: "src/link/local_link.ts",
      find: ".update(call).update(nonce)",
      replace: ".update(call.subarray(0, 4)).update(nonce.subarray(0, 0))",
    }],
    checks: [quickTest("link/local_link", another)],
  },
  {
    name: "a worker does not see that what it connected to is not where its supervisor listens",
    patches: [{
      file: "src/worker/main.ts",
      find: "(isThere(socket) && folder !== null && isOwnFolder(folder))",
      replace: "(folder !== null && isOwnFolder(folder))",
    }],
    checks: [
      test("e2e/workers_folder", "E12: who sits at the socket and relays is found out by his place"),
    ],
  },
  {
    name: "a worker may come in twice",
    patches: [{
      file: "src/link/local_link.ts",
      find: " || secretOf(worker) !== known.secret",
      replace: "",
    }],
    checks: [test("link/local_link", "a worker that came in meanwhile cannot come in twice")],
  },
  {
    name: "any folder at the path of the workers' folder is that",
    patches: [{
      file: "src/lib/own_file.ts",
      find: "return stats.isDirectory() && isSame(stats, folder) && (",
      replace: "return stats.isDirectory() && (",
    }],
    checks: [quickTest("lib/own_file", folder)],
  },
  {
    name: "a folder that was opened to others is still the workers' own",
    patches: [{
      file: "src/lib/own_file.ts",
      find: "(stats.mode & 0o777) === 0o700",
      replace: "(stats.mode & 0o700) === 0o700",
    }],
    checks: [test("lib/own_file", folder)],
  },
  {
    name: "what stands in the place of the workers' folder is cleared away",
    patches: [{
      file: "src/lib/own_file.ts",
      find: "  if (!isOwnFolder(folder)) return;\n",
      replace: "",
    }],
    checks: [test("lib/own_file", folder)],
  },
  {
    name: "a worker that outlives its slave clears away whatever is at the path of their folder",
    patches: [{
      file: "src/lib/watchdog.ts",
      find: "  if (!stats.isDirectory() || !isSame(stats, folder)) return;\n",
      replace: "  if (!stats.isDirectory()) return;\n",
    }],
    checks: [
      test(
        "e2e/workers_folder",
        "E12: workers that outlive their slave clear away what was theirs, and nothing else",
      ),
    ],
  },
  {
    name: "a note is written through a link, or over a file",
    patches: [{
      file: "src/lib/own_file.ts",
      find: "O_RDWR | O_CREAT | O_EXCL | noFollow",
      replace: "O_RDWR | O_CREAT | (O_EXCL & noFollow)",
    }],
    checks: [quickTest("lib/own_file", "a file is made where nothing is, and nowhere else")],
  },
  {
    name: "a worker opens whatever is at the path of its note",
    patches: [{
      file: "src/lib/own_file.ts",
      find: "if (!isSame(lstatSync(file.path), file)) throw",
      replace: "if (!isThere(file) && lstatSync(file.path).isFIFO()) throw",
    }, {
      file: "src/lib/own_file.ts",
      find: "  if (isOwnFile(fd, file)) return fd;\n",
      replace: "  if (fd > 0) return fd;\n",
    }],
    checks: [test("lib/own_file", "what is at the path of a file and is not that file is not opened")],
  },
  {
    name: "a folder that others may rename is as good as any",
    patches: [{
      file: "src/lib/own_file.ts",
      find: "if (isOpen || !trusted",
      replace: 'if ((isOpen && folder === "") || !trusted',
    }],
    checks: [
      test("lib/own_file", "a folder is kept from others if they may rename nothing on the way to it"),
    ],
  },
  {
    name: "the folder of workers is not looked at before one is started",
    patches: [{
      file: "src/slave/worker_socket.ts",
      find: '    if (!this.isThere) throw new Error("their folder is gone',
      replace: '    if (worker < 0) throw new Error("their folder is gone',
    }],
    checks: [
      throwing(
        test(
          "e2e/workers_folder",
          "E12: a folder that was opened to others, or whose socket was replaced, is used no more",
        ),
        /It never came to this: job 0 begun again/,
      ),
    ],
  },
  {
    name: "a worker has its secret in its environment",
    patches: [{
      file: "src/slave/worker_handle.ts",
      find: 'env: childEnvironment("worker", env),',
      replace: 'env: childEnvironment("worker", { ...env, TASKMASTER_WORKER_SECRET: String(this.secret) }),',
    }],
    checks: [
      test(
        "e2e/workers_folder",
        "E13: what a handler starts has nothing of its worker, however it is started: binary",
      ),
    ],
  },
  {
    name: "what a handler starts takes itself for a worker",
    patches: [{
      file: "src/slave/spawn_self.ts",
      find: 'return Number(parent) === process.ppid && argv.at(-1) === "worker" ? "worker" : "first";',
      replace: 'return Number(parent) > 0 && argv.length > 0 ? "worker" : "first";',
    }],
    checks: [test("slave/pure", "what a worker's handler starts with its environment is no worker")],
  },
  {
    name: "a stranger's token file is taken",
    patches: [{
      file: "src/cli/secret_file.ts",
      find: "return own === undefined || uid === own || uid === 0;",
      replace: "return own === undefined || uid >= 0;",
    }],
    checks: [test("e2e/secret_files", "a stranger's file is no secret, by whatever name it is reached")],
  },
  {
    name: "a token beside the binary is taken though others can write there",
    patches: [{
      file: "src/cli/secret_file.ts",
      find: "const isOpen = (mode & 0o022) !== 0;",
      replace: "const isOpen = (mode & 0o022) < 0;",
    }],
    checks: [
      test(
        "e2e/secret_files",
        "a stranger's token beside the binary, in a folder that others can write to, is not taken",
      ),
    ],
  },
  {
    name: "a token may be one word over and over",
    patches: [{
      file: "src/cli/token.ts",
      find: "for (let period = 1;",
      replace: "for (let period = text.length;",
    }],
    checks: [
      test("cli/token", 'tokenFault() of "supercalifragilisticsupercalifragilisticsupercalifragilistic"'),
    ],
  },
  {
    name: "the binary holds where it was built",
    patches: [{
      file: "compile/compile.ts",
      find: '"import.meta.url": ',
      replace: '"import.meta.uri": ',
    }],
    checks: [test("e2e/smoke", "the binary holds no path of the machine it was built on")],
  },
  {
    name: "errors are shown as they are",
    patches: [{
      file: "src/lib/text.ts",
      find: 'return [`taskmaster: ${withoutMiddle(first)}`, ...rest.map(setIn), ""].join("\\n");',
      replace: 'return rest.length > 0 || first === "" ? "" : `taskmaster: ${text}\\n`;',
    }],
    checks: [test("e2e/hostile_words", "hostile: a token file that is not there")],
  },
  {
    name: "JSON for machines carries controls as they are",
    patches: [{
      file: "src/lib/text.ts",
      find: "json.replace(unsafe, jsonEscaped)",
      replace: "json.replace(/[\\p{Zl}]/gu, jsonEscaped)",
    }],
    checks: [
      test("lib/text", "safeJson() escapes what is unsafe, and a machine reads the very same value"),
    ],
  },
];

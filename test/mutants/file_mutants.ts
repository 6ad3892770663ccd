import { endToEnd, hanging, type Mutant, quickTest, test, throwing } from "./mutant.ts";

/** State, dead letters, lock: what must outlive any death. */
export const fileMutants: readonly Mutant[] = [
  {
    name: "the state is written in place",
    patches: [{
      file: "src/state/state_writer.ts",
      find: "const newFlags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL |",
      replace: "const newFlags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC |",
    }, {
      file: "src/state/state_writer.ts",
      find: 'const temporary = `${files.state}.tmp.${randomBytes(4).toString("hex")}`;',
      replace: "const temporary = files.state;",
    }, {
      file: "src/state/state_writer.ts",
      find: "      await disk.rename(temporary, files.state);\n",
      replace: "",
    }],
    checks: [
      throwing(
        quickTest(
          "state/store_crash",
          "killed at any step of two saves: the old or the new state loads, never an older one",
        ),
        /its checksum does not hold/,
      ),
    ],
  },
  {
    name: "the state is moved away before the new one takes its place",
    patches: [{
      file: "src/state/state_writer.ts",
      find: "    await disk.link(from, to);",
      replace: "    await disk.rename(from, to);",
    }],
    checks: [test("state/store_crash", "the state is never absent between two saves")],
  },
  {
    name: "the state is renamed into place before it is synced",
    patches: [{
      file: "src/state/state_writer.ts",
      find: "      await writeAll(file, encodeHeader(header), 0);\n      await file.sync();",
      replace: "      await writeAll(file, encodeHeader(header), 0);",
    }],
    checks: [
      throwing(
        quickTest(
          "state/store_crash",
          "a power cut at any step: the same, whatever was written of what was not synced",
        ),
        /it has only \d+ bytes/,
      ),
    ],
  },
  {
    name: "a state is reported durable before its folder is synced",
    patches: [{
      file: "src/state/state_writer.ts",
      find: "      await syncFolder(disk, files.dir);\n",
      replace: "",
    }],
    checks: [
      test(
        "state/store_crash",
        "a power cut at any step: the same, whatever was written of what was not synced",
      ),
    ],
  },
  {
    name: "a dead letter that was taken back stands",
    patches: [{
      file: "src/state/dead_letter_scan.ts",
      find: 'this.#seen.add(line.seq) && !("handled" in line)',
      replace: '!("handled" in line) && this.#seen.add(line.seq)',
    }],
    checks: [
      quickTest(
        "state/dead_letter_scan",
        "the newest come first; of a seq the last line counts, and `handled` takes it back",
      ),
    ],
  },
  {
    name: "a dead letter that is being written is a damaged line",
    patches: [{
      file: "src/state/dead_letter_scan.ts",
      find: "if (!isTail || line !== null) this.#isDamaged(line === null);",
      replace: "if (!isTail || from < to) this.#isDamaged(line === null);",
    }],
    checks: [
      quickTest(
        "state/dead_letter_scan",
        "a last line that is half written is no fault, and a whole one that lacks its newline counts",
      ),
    ],
  },
  {
    name: "dead letters are reported durable before they are synced",
    patches: [{
      file: "src/state/dead_letters.ts",
      find: "        await file.sync();\n",
      replace: "",
    }],
    checks: [
      quickTest(
        "state/store_crash",
        "a power cut at any step of a bury: what was reported is there, and the next line is whole",
      ),
    ],
  },
  {
    name: "the next dead letter is run together with a torn line",
    patches: [{
      file: "src/state/dead_letters.ts",
      find: "    await file.truncate(size - tail.length);\n    return size - tail.length;",
      replace: "    return size;",
    }],
    checks: [
      throwing(
        test(
          "state/dead_letters",
          "a torn last line is taken away by the next append; a whole one gets its newline",
        ),
        /in JSON at position/,
      ),
    ],
  },
  {
    name: "a reset takes `.prev` away last",
    patches: [{
      file: "src/state/store.ts",
      find: "  await removeFile(disk, files.prev);\n  await syncFolder(disk, files.dir);\n",
      replace: "",
    }, {
      file: "src/state/store.ts",
      find: "await moveAside(disk, files.state, time);\n  await syncFolder(disk, files.dir);",
      replace:
        "await moveAside(disk, files.state, time);\n  await removeFile(disk, files.prev);\n  await syncFolder(disk, files.dir);",
    }],
    checks: [
      test(
        "state/store_crash",
        "a power cut at any step of a reset: the earlier run or a new one, never a mix",
      ),
    ],
  },
  {
    name: "`.prev` is ignored where the state is damaged",
    patches: [{
      file: "src/state/read_state.ts",
      find: "const prev = await attempt(disk, files.prev);",
      replace: "const prev = await attempt(disk, `${files.prev}.none`);",
    }],
    checks: [
      throwing(
        test("state/store", "D1: damaged in any way, the one before is used, with a warning"),
        /there is none before it/,
      ),
    ],
  },
  {
    name: "a damaged state is a fresh start",
    patches: [{
      file: "src/state/read_state.ts",
      find: "if (state === null && prev === null) return null;",
      replace: "if (prev === null) return null;",
    }],
    checks: [
      quickTest("state/store", "D1: damaged, and none before it that is good: refused, never from zero"),
    ],
  },
  {
    name: "`.prev` may be of another run",
    patches: [{
      file: "src/state/read_state.ts",
      find: "if (isSameBytes(header.runTag, prev.header.runTag))",
      replace: "if (isSameBytes(header.runTag, header.runTag))",
    }],
    checks: [test("state/store", "D1: the one before is never that of another run")],
  },
  {
    name: "that a master was killed is not noted by the next",
    patches: [{
      file: "src/state/read_state.ts",
      find: 'const isKnown = from === "state" && state.final;',
      replace: 'const isKnown = from === "state";',
    }],
    checks: [
      quickTest(
        "state/store",
        "what was done behind a state that was not its master's last is not known",
      ),
    ],
  },
  {
    name: "every save says that it is its master's last",
    patches: [{
      file: "src/core/run.ts",
      find: 'const final = this.#mode === "ended";',
      replace: 'const final = this.#mode !== "stopping";',
    }],
    checks: [
      test(
        "e2e/state_faults",
        "what an operator set outlives masters that stop and that are killed, until --reset",
      ),
    ],
  },
  {
    name: "what an operator set is forgotten at the next save",
    patches: [{
      file: "src/core/run.ts",
      find: "this.#operatorSettings = state?.settings ?? new Map();",
      replace: "this.#operatorSettings = new Map();",
    }],
    checks: [
      test(
        "e2e/state_faults",
        "what an operator set outlives masters that stop and that are killed, until --reset",
      ),
    ],
  },
  {
    name: "the checksum of a state is not looked at",
    patches: [{
      file: "src/state/read_state.ts",
      find: "if (!isSameBytes(sha256(body), header.bodyHash))",
      replace: "if (!isSameBytes(sha256(body), sha256(body)))",
    }],
    checks: [test("state/state_format", "any flipped bit is noticed")],
  },
  {
    name: "what a field of a later version means in an older state is not looked at",
    patches: [{
      file: "src/state/state_fields.ts",
      find: "const isLater = added !== undefined && version < added.version;",
      replace: "const isLater = added !== undefined && version < 0;",
    }],
    checks: [
      throwing(
        test("state/state_format", "D3: files of version 1 are loaded, each job and count of them"),
        /handedOutAgain is no count/,
      ),
    ],
  },
  {
    name: "late letters are taken back behind the state that says so",
    patches: [{
      file: "src/state/store.ts",
      find: "    if (seqs.length > 0) {\n",
      replace: "    await writer.save({ identity, state });\n    if (seqs.length > 0) {\n",
    }],
    checks: [
      quickTest(
        "state/late_letters",
        "a letter is taken back before the state is saved, and not saved without",
      ),
    ],
  },
  {
    name: "whose state is there is not looked at before it is replaced",
    patches: [{
      file: "src/state/state_writer.ts",
      find: "if (await this.#isOursThere()) await this.#keepPrevious();",
      replace: "if (this.#seen !== null) await this.#keepPrevious();",
    }],
    checks: [
      quickTest(
        "state/store",
        "C6: a higher epoch, the same by another master, or another run in the file ends this master",
      ),
    ],
  },
  {
    name: "the epoch of a start is that of the master before",
    patches: [{
      file: "src/state/store.ts",
      find: "const epoch = (loaded?.epochSeen ?? 0) + 1;",
      replace: "const epoch = loaded?.epochSeen ?? 1;",
    }],
    checks: [test("state/store", "what was saved is loaded, under the next epoch")],
  },
  {
    name: "the lock is not taken",
    patches: [{
      file: "src/state/lock.ts",
      find: "const isProven = owner !== null && isProof(",
      replace: 'const isProven = owner !== null && name === "" && isProof(',
    }, {
      file: "src/state/lock.ts",
      find: "await isRunning(owner)) throw lockedError",
      replace: "await isRunning(owner) && owner.pid < 0) throw lockedError",
    }],
    checks: [
      quickTest("state/lock", "C4: the first is stopped, not dead: refused by kernel"),
      test("state/lock", "I10: of many at once, one survives (kernel)"),
      hanging(endToEnd("two masters with one key: the second is refused, naming the first")),
    ],
  },
  {
    name: "whoever holds the socket of the lock is believed",
    patches: [{
      file: "src/state/lock.ts",
      find: '  if (line === null || nonce === "") return false;\n',
      replace: "  if (line === null) return false;\n  if (nonce.length > 0) return true;\n",
    }],
    checks: [quickTest("state/lock", "a proof is of one nonce, one lock and one question")],
  },
  {
    name: "no nonce proves a master",
    patches: [{
      file: "src/state/lock.ts",
      find: '  if (line === null || nonce === "") return false;\n',
      replace: "  if (line === null) return false;\n",
    }],
    checks: [quickTest("state/lock", "a proof is of one nonce, one lock and one question")],
  },
  {
    name: "who holds the kernel's lock without a proof leaves the next master without any",
    patches: [{
      file: "src/state/lock.ts",
      find: "    await takeFile(this.#disk, this.#files, this.#owner, {",
      replace:
        '    if (name !== null && this.#socket === null) {\n      log("warn", strangerWarning(this.#files));\n      return;\n    }\n' +
        "    await takeFile(this.#disk, this.#files, this.#owner, {",
    }],
    checks: [
      test("state/lock", "who holds the kernel's lock and says nothing is no master: the file is the lock"),
    ],
  },
  {
    name: "whoever connects to the lock stays as long as he likes",
    patches: [{
      file: "src/state/lock.ts",
      find: "    strangers.admit(socket);\n",
      replace: "    void strangers;\n",
    }],
    checks: [
      test("state/lock", "connections to the lock are few and short; one that asks is answered"),
    ],
  },
  {
    name: "a note that was removed leaves its master without a proof",
    patches: [{
      file: "src/state/lock.ts",
      find: "await this.#restoreFile().catch(() => {});",
      replace: "await Promise.resolve();\n      void this.#restoreFile;",
    }],
    checks: [
      test(
        "state/lock",
        "a note that was removed is made again when somebody asks, so that its master is known",
      ),
    ],
  },
  {
    name: "a save is skipped when one is under way, instead of following it",
    patches: [{
      file: "src/state/store.ts",
      find: "const saved = this.#saving.then(() => this.#save(state));",
      replace: "const saved = this.#save(state);",
    }],
    checks: [
      test("state/store", "one save at a time, in order"),
    ],
  },
  {
    name: "a start does not prove that it can save",
    patches: [{
      file: "src/state/store.ts",
      find: "    await proveWritable(disk, files);\n",
      replace: "    void proveWritable;\n",
    }],
    checks: [
      test(
        "state/lock",
        "C3: a folder that takes no file, no rename or no sync is refused before anything is loaded",
      ),
    ],
  },
  {
    name: "the state forgets a job before its dead letter is written",
    patches: [{
      file: "src/master/persistence.ts",
      find: "    try {\n      await this.#options.write(letters);",
      replace:
        "    try {\n      this.#options.onBuried(letters, rangesOf(letters.map(({ seq }) => seq)));\n      await this.#options.write(letters);",
    }],
    checks: [
      quickTest(
        "master/persistence_burials",
        "a full disk is tried again, later each time, and nothing counts as buried meanwhile",
      ),
    ],
  },
  {
    name: "a state is told saved before it is",
    patches: [{
      file: "src/master/persistence.ts",
      find: "    const heldMs = await save(state);",
      replace: "    onSaved(version, 0);\n    const heldMs = await save(state);",
    }],
    checks: [test("master/persistence_saves", "a failed save warns and is tried again")],
  },
  {
    name: "a slow disk is saved to all the time",
    patches: [{
      file: "src/master/persistence.ts",
      find: "threadMs / threadShareMax, tookMs / timeShareMax)",
      replace: "threadMs / threadShareMax)",
    }],
    checks: [
      quickTest(
        "master/persistence_saves",
        "auto: a slow disk rests nineteen times as long as it works, a second at most",
      ),
    ],
  },
  {
    name: "how long a save holds the thread is not looked at",
    patches: [{
      file: "src/master/persistence.ts",
      find: "const heldMs = await save(state);",
      replace: "const heldMs = 0 * await save(state);",
    }],
    checks: [
      quickTest(
        "master/persistence_saves",
        "auto: a fiftieth of this thread at most, but one a second at least",
      ),
    ],
  },
  {
    name: "the last save is that of the last checkpoint",
    patches: [{
      file: "src/master/persistence.ts",
      find: "    this.close();\n    for (let tries",
      replace:
        "    this.close();\n    if (!this.#options.isDirty() || this.#failures === 0) return null;\n    for (let tries",
    }],
    checks: [
      test("master/master", "a stop waits for what runs, saves, and does not dismiss"),
      endToEnd("Ctrl-C, then the same command again"),
    ],
  },
  {
    name: "letters of jobs that are done after all are never taken back",
    patches: [{
      file: "src/state/store.ts",
      find: "if (seqs.length > 0) {",
      replace: "if (seqs.length < 0) {",
    }],
    checks: [
      test(
        "master/master_late_letters",
        "letters that the state knows nothing of are taken back once their jobs are done",
      ),
    ],
  },
  {
    name: "a letter is taken back whose seq is another job now",
    patches: [{
      file: "src/state/late_letters.ts",
      find: "job !== null && !isSameBytes(job, span.job(seq))",
      replace: "job !== null && job.length < 0",
    }],
    checks: [
      test(
        "master/master_late_letters",
        "letters stay of a job that dies again, and of a seq that is another job now",
      ),
    ],
  },
];

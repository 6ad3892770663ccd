import { endToEnd, hanging, type Mutant, quickTest, test, throwing } from "./mutant.ts";

/** Master, slave and worker as processes, and what the program says at its end. */
export const processMutants: readonly Mutant[] = [
  {
    name: "a run in the background draws over the shell's prompt",
    patches: [{
      file: "src/terminal/screen.ts",
      find: "return !isControlling || foreground! <= 0 || foreground === group;",
      replace: "return !isControlling || foreground! <= 0 || foreground !== -1;",
    }],
    checks: [
      throwing(
        test(
          "e2e/terminal",
          "in the background nothing is drawn into the shell's line, and a run fetched back draws again",
        ),
        /It never came to this/,
      ),
    ],
  },
  {
    name: "stty tostop stops a run in the background",
    patches: [{ file: "src/slave/spawn_self.ts", find: "!isatty(2) || ", replace: "true || " }],
    checks: [
      throwing(
        test("e2e/terminal", "stty tostop does not stop a run in the background at its first line"),
        /It never came to this/,
      ),
    ],
  },
  {
    name: "a narrow terminal cuts failures and the reason",
    patches: [{
      file: "src/terminal/status_line.ts",
      find: "if (room >= needed) return",
      replace: "if (room >= needed || needed > 0) return",
    }],
    checks: [
      quickTest("terminal/status_line", "masterStatusLine() never wraps, and keeps what counts: slaves busy"),
    ],
  },
  {
    name: "nothing is said of dead letters with --quiet",
    patches: [{
      file: "src/terminal/summary.ts",
      find: 'return found.length > 0 ? [`Finished, with ${found.join(", and ")}`] : [];',
      replace: "return [];",
    }],
    checks: [quickTest("terminal/summary", "quietLines() says in one line that there are dead letters")],
  },
  {
    name: "dead letters that the log does not show are not counted",
    patches: [{ file: "src/observe/log_lines.ts", find: "    group.hidden++;\n", replace: "" }],
    checks: [
      quickTest(
        "observe/log_lines",
        "LogLines shows five a second of a message, whatever its numbers, then how many more",
      ),
    ],
  },
  {
    name: "each number is a group of messages of its own",
    patches: [{
      file: "src/lib/text.ts",
      find: '  if (word === undefined) return "#";\n',
      replace: "  if (word === undefined) return part;\n",
    }],
    checks: [
      quickTest(
        "terminal/dead_letters",
        "messages that differ in numbers are one group, with its times, its slaves and a sample",
      ),
      quickTest(
        "observe/log_lines",
        "LogLines shows five a second of a message, whatever its numbers, then how many more",
      ),
    ],
  },
  {
    name: "there are as many groups of dead letters as messages",
    patches: [{
      file: "src/terminal/dead_letters.ts",
      find: "this.#groups.size < messageGroupsMax ? key : null",
      replace: "key",
    }],
    checks: [
      quickTest("terminal/dead_letters", "of more messages than are counted apart the rest is one group"),
    ],
  },
  {
    name: "a line of a stack can pass for a line of the log",
    patches: [{
      file: "src/terminal/logger.ts",
      find: 'const indent = "    ";',
      replace: 'const indent = "";',
    }],
    checks: [
      quickTest(
        "terminal/logger",
        "makeLog() shows a stack as lines, none of which can pass for a line of the log",
      ),
    ],
  },
  {
    name: "a slave runs other code than its master's",
    patches: [{
      file: "src/protocol/handshake.ts",
      find: 'return isSameBytes(slave.hash, master.hash) ? null : "code";',
      replace: "return null;",
    }],
    checks: [
      quickTest(
        "protocol/handshake_plugin_match",
        "a file of the master's name must be its code; another one must name its export",
      ),
      test("e2e/other_code", "C22: a slave whose plugin imports another file than the master's is refused"),
    ],
  },
  {
    name: "what ended in a dead worker runs again uncounted",
    patches: [{
      file: "src/slave/worker_pool.ts",
      find: "    if (again > 0) this.#answers.again(again);\n",
      replace: "    void again;\n",
    }],
    checks: [
      test(
        "e2e/slave_faults",
        "A killed worker: Repeated says what ran again, also what had ended there unheard",
      ),
    ],
  },
  {
    name: "imported files do not count",
    patches: [{
      file: "src/plugin/plugin_code.ts",
      find: "      this.#waiting.push(...files);\n",
      replace: "",
    }],
    checks: [quickTest("plugin/plugin_code", "each of them changes the hash, and nothing else does")],
  },
  {
    name: "packages do not count",
    patches: [{
      file: "src/plugin/plugin_code.ts",
      find: "      this.lines.add(packageLine(found));\n",
      replace: "",
    }],
    checks: [quickTest("plugin/plugin_code", "each of them changes the hash, and nothing else does")],
  },
  {
    name: "what a package depends on does not count",
    patches: [{
      file: "src/plugin/plugin_code.ts",
      find: "      waiting.push(...dependenciesOf(found));\n",
      replace: "",
    }],
    checks: [
      quickTest(
        "plugin/plugin_code",
        "where there is no file of just that name, all that a runtime may take count",
      ),
    ],
  },
  {
    name: "what Deno's import map leads to does not count",
    patches: [{
      file: "mod.ts",
      find: "useImportMap((specifier) => import.meta.resolve(specifier))",
      replace: "useImportMap((specifier) => specifier)",
    }],
    checks: [test("e2e/other_code", "C22: what Deno's import map leads to counts")],
  },
  {
    name: "a worker runs a plugin that was edited",
    patches: [{
      file: "src/slave/worker_pool.ts",
      find: "hash: this.#hash });",
      replace: "hash: new Uint8Array(0) });",
    }],
    checks: [hanging(test(
      "e2e/other_code",
      "C22: a plugin edited meanwhile ends its slave with 5, once what runs has ended",
    ))],
  },
  {
    name: "paths of tsconfig.json do not count",
    patches: [{
      file: "src/plugin/plugin_code.ts",
      find: "  if (tsconfig === null) return [];\n",
      replace: "  if (tsconfig !== undefined) return [];\n",
    }],
    checks: [
      quickTest(
        "plugin/plugin_code",
        "where there is no file of just that name, all that a runtime may take count",
      ),
    ],
  },
  {
    name: "legacy decorators run as standard ones",
    patches: [{
      file: "src/plugin/load_plugin.ts",
      find: "return process.versions.bun !== undefined && !isBinary();",
      replace: "return isBinary() !== undefined;",
    }],
    checks: [
      test("e2e/unusual_plugins", "legacy decorators are refused where they would mean something else"),
    ],
  },
  {
    name: "workers under Deno are allowed everything",
    patches: [{
      file: "src/lib/runtime.ts",
      find: "return flags.filter((flag) => !flagsNotForChildren.test(flag));",
      replace: 'return ["-A"];',
    }],
    checks: [
      quickTest(
        "lib/runtime_start_words",
        "a child of Deno has the flags of its parent, but those that make something else of it",
      ),
      test("e2e/runtimes", "workers under Deno are allowed what their master is, and no more"),
    ],
  },
  {
    name: "a plugin may be edited while it is loaded",
    patches: [{
      file: "src/plugin/load_plugin.ts",
      find: "if (!code.isUnchanged()) {",
      replace: "if (code.lines.length === 0) {",
    }],
    checks: [
      quickTest(
        "plugin/plugin_code",
        "code that is edited while it is loaded, or is not what it must be, is no plugin",
      ),
    ],
  },
  {
    name: "a slave joins another run",
    patches: [{
      file: "src/slave/supervisor.ts",
      find: "if (this.#runId !== null && this.#runId !== welcome.runId) {",
      replace: 'if (this.#runId !== null && welcome.runId === "") {',
    }],
    checks: [hanging(test("slave/uplink", "a master of another run is left with 5"))],
  },
  {
    name: "a slave works on with arguments of its first master",
    patches: [{
      file: "src/slave/supervisor.ts",
      find: "if (this.#runId !== null && !isDeepStrictEqual(welcome.args, this.#args)) {",
      replace: 'if (this.#runId === "" && !isDeepStrictEqual(welcome.args, this.#args)) {',
    }],
    checks: [
      hanging(
        test(
          "slave/uplink",
          "a master of the same run with other arguments is left with 5: workers have the first ones",
        ),
      ),
    ],
  },
  {
    name: "a slave goes back to an earlier master of its run",
    patches: [{
      file: "src/slave/supervisor.ts",
      find: "if (welcome.epoch < this.#epoch) {",
      replace: "if (welcome.epoch < 0) {",
    }],
    checks: [
      hanging(
        test("slave/uplink", "an earlier master of the same run is left alone until a later one answers"),
      ),
    ],
  },
  {
    name: "a silent master is waited for for ever",
    patches: [{
      file: "src/slave/uplink.ts",
      find:
        "      this.#dialAtMs = nowMs + this.#backoff.nextBeside(nowMs - this.#welcomedAtMs, this.#heartbeatMs);\n",
      replace: "",
    }],
    checks: [
      hanging(
        test(
          "slave/uplink",
          "a silent master is dialed anew; jobs and answers are kept until it welcomes",
        ),
      ),
    ],
  },
  {
    name: "timeouts are ignored",
    patches: [{
      file: "src/slave/timeout_monitor.ts",
      find: "if (timeoutMs === 0 || handle.held === 0",
      replace: "if (timeoutMs >= 0 || handle.held === 0",
    }],
    checks: [
      hanging(
        test("slave/slave", "an endless loop is killed at the timeout and charged; its neighbours are not"),
      ),
      hanging(endToEnd("a job that does this each time: loop")),
    ],
  },
  {
    name: "a handler's signal does not fire at the timeout",
    patches: [{
      file: "src/worker/running_calls.ts",
      find: "if (nowMs < call.startedMs + this.timeoutMs) break;",
      replace: "if (nowMs >= 0) break;",
    }],
    checks: [
      hanging(
        test("worker/runner", "past the timeout the signal fires and nothing begins until the handler ended"),
      ),
    ],
  },
  {
    name: "no watchdog: workers outlive a supervisor that was killed",
    patches: [{
      file: "src/lib/watchdog.ts",
      find: "  if (process.ppid === parentPid) return;",
      replace: "  if (parentPid !== 0) return;",
    }],
    checks: [
      hanging(test("slave/uplink", "a supervisor that is killed leaves nothing running, loops or not")),
      throwing(
        endToEnd("run, killed again and again in mid-run: its slave ends too, and the next start goes on"),
        /^It never came to this: slave and workers ended/,
      ),
    ],
  },
  {
    name: "what runs is not noted: all jobs of a dead worker are suspects",
    patches: [{
      file: "src/slave/worker_pool.ts",
      find: "const noted = notedOf(death.note, death.hasNotes, handle.concurrency);",
      replace: "const noted = notedOf(death.note, false, handle.concurrency);",
    }],
    checks: [hanging(test("slave/slave", "process.exit in a handler costs its job, not its neighbours"))],
  },
  {
    name: "a death that nobody is suspected of is nobody's, however often",
    patches: [{ file: "src/slave/worker_handle.ts", find: "    return again;", replace: "    return [];" }],
    checks: [
      quickTest("slave/pure", "deaths that nobody is suspected of are explained by who was there twice"),
      hanging(test("slave/slave", "a job whose worker dies twice with nothing noted is suspect")),
    ],
  },
  {
    name: "a worker that quits does not wait for what handlers left running",
    patches: [{
      file: "src/worker/session.ts",
      find: "    this.#waitForRest(waitMs);",
      replace: "    if (waitMs >= 0) this.#leave(0);\n    else this.#waitForRest(waitMs);",
    }],
    checks: [
      hanging(
        test(
          "slave/slave",
          "who is dismissed waits for what handlers left running, and says what goes wrong in it",
        ),
      ),
    ],
  },
  {
    name: "a worker that is ended early as it leaves is a success",
    patches: [{
      file: "src/slave/worker_spawner.ts",
      find: "if (handle.mayRest && !death.isKilled)",
      replace: "if (handle.mayRest && death.isKilled)",
    }],
    checks: [
      test("e2e/left_running", "A26: a worker that is killed while others' work goes on is no success"),
    ],
  },
  {
    name: "a teardown that throws is a success",
    patches: [{
      file: "src/worker/session.ts",
      find: "if (!isSick) this.#late.add(",
      replace: "if (isSick) this.#late.add(",
    }],
    checks: [
      test("e2e/left_running", "A26: a teardown that throws is no success, for it may have had to write"),
    ],
  },
  {
    name: "a master leaves before its slaves have said goodbye",
    patches: [{
      file: "src/master/sessions.ts",
      find: 'session.intro.features.includes("goodbye")',
      replace: 'session.intro.features.includes("none")',
    }],
    checks: [
      hanging(
        test("master/master", "errors after the end of jobs are counted until the slaves have said goodbye"),
      ),
    ],
  },
  {
    name: "errors after the end of jobs are a success",
    patches: [{
      file: "src/cli/signals.ts",
      find: "result.status.dead > 0 || result.late.count > 0",
      replace: "result.status.dead > 0",
    }],
    checks: [quickTest("cli/exit_code", "exitCodeOf() a run that is complete with late errors")],
  },
  {
    name: "an error of a job that has ended ends its worker",
    patches: [{
      file: "src/worker/session.ts",
      find:
        "if (call !== undefined && !this.#isLeaving) return this.#broken(what, error, [call.from, call.to]);",
      replace:
        "if (owner !== null && !this.#isLeaving) return this.#broken(what, error, [owner, call?.to ?? owner + 1]);",
    }],
    checks: [
      hanging(
        test(
          "slave/slave",
          "an error after the end of its job is told, with the job where it is known; the worker goes on",
        ),
      ),
    ],
  },
  {
    name: "a timeout counts the time in which the process stood still",
    patches: [{
      file: "src/lib/watchdog.ts",
      find: "  return Math.min(nowMs - watch[watchSlots.sleptMs]!, mostMs);",
      replace: "  return Math.max(nowMs, mostMs - Infinity);",
    }],
    checks: [
      quickTest("worker/runner", "a timeout does not count the time in which the process stood still"),
    ],
  },
  {
    name: "a supervisor that was stopped judges its workers by it",
    patches: [{
      file: "src/lib/lag_guard.ts",
      find: "    return Math.min(nowMs - this.#lagMs, this.#timeMax);",
      replace: "    return Math.max(nowMs - 0 * this.#lagMs, this.#timeMax - Infinity);",
    }],
    checks: [
      quickTest(
        "lib/lag_guard",
        "a lag-adjusted clock goes on while it is looked at, and stands still while nobody can",
      ),
    ],
  },
  {
    name: "a plugin can change the clock",
    patches: [{
      file: "src/lib/clock.ts",
      find: "export const monotonicMs: () => number = performance.now.bind(performance);",
      replace: "export const monotonicMs: () => number = () => performance.now();",
    }],
    checks: [
      quickTest("lib/clock", "clocks, timers and chance go on, whatever a plugin puts in their place"),
    ],
  },
  {
    name: "a job begins before it is noted",
    patches: [{
      file: "src/worker/runner.ts",
      find:
        "      if (notes.coveredTo(slice.next) < callEnd) notes.cover(slice.next, callEnd, end, startMs);\n",
      replace: "      void callEnd;\n",
    }],
    checks: [hanging(test("worker/runner", "no job begins that is not noted, whether it waits or not"))],
  },
  {
    name: "of the jobs of one call only those are noted that a note announces",
    patches: [{
      file: "src/worker/runner.ts",
      find: "if (notes.coveredTo(slice.next) < callEnd) notes.cover",
      replace:
        "if (notes.coveredTo(slice.next) < callEnd && notes.coveredTo(slice.next) === slice.next) notes.cover",
    }],
    checks: [
      hanging(test(
        "worker/several_jobs",
        "calls have as many jobs as they may, however few a note announces, and no job begins unnoted",
      )),
    ],
  },
  {
    name: "a call that goes on is named only as long as the note does that it began under",
    patches: [{
      file: "src/worker/notes.ts",
      find: "Atomics.store(this.#counts, place * 4 + 2, to - from);",
      replace: "Atomics.store(this.#counts, place * 4 + 2, 0 * (to - from));",
    }],
    checks: [
      quickTest(
        "worker/notes",
        "where nothing can be mapped a note is written, and whoever runs is named all the same",
      ),
      test(
        "worker/notes",
        "in mapped memory exactly those are named that run, whenever the worker is killed",
      ),
    ],
  },
  {
    name: "a call that ended stays a suspect of the deaths to come",
    patches: [{
      file: "src/worker/notes.ts",
      find: "if (place >= 0) return this.#places.free(place);",
      replace: "if (place >= 0) return;",
    }],
    checks: [
      test(
        "worker/notes",
        "in mapped memory exactly those are named that run, whenever the worker is killed",
      ),
    ],
  },
  {
    name: "a runner does not say that a call has ended",
    patches: [{
      file: "src/worker/runner.ts",
      find: "      this.#options.notes.free(call.place);\n",
      replace: "",
    }],
    checks: [
      quickTest("worker/several_jobs", "as many calls go on at once as jobs would, one by one"),
    ],
  },
  {
    name: "of more calls than there are places those without one are nobody",
    patches: [{
      file: "src/worker/notes.ts",
      find: "head[headSlots.crowdTo] = this.#crowdTo;",
      replace: "head[headSlots.crowdTo] = Math.min(this.#crowdFrom, this.#crowdTo);",
    }],
    checks: [
      quickTest("worker/notes", "of more calls than there are places each is named, and others may be"),
    ],
  },
  {
    name: "who is to blame for the end of a worker is named among all that ran",
    patches: [{
      file: "src/worker/notes.ts",
      find: "const placesFrom = this.#places.used;",
      replace: "const placesFrom = 0 * this.#places.used;",
    }],
    checks: [quickTest("worker/notes", "as a worker ends, who is to blame is named and nobody else")],
  },
  {
    name: "of a call of several jobs only the first is suspect",
    patches: [{
      file: "src/worker/runner.ts",
      find: "const onStack = [from, from + watch[watchSlots.onStackJobs]!];",
      replace: "const onStack = [from, from + 1];",
    }],
    checks: [
      quickTest(
        "worker/several_jobs",
        "all jobs of a call that stands on the stack as its process ends are suspects",
      ),
    ],
  },
  {
    name: "an abort of a job reaches its call only if that begins with it",
    patches: [{
      file: "src/worker/running_calls.ts",
      find: "if (intersect(jobs, [from, to]).length > 0) signal.abort(why);",
      replace: "if (intersect(jobs, [from, Math.min(from + 1, to)]).length > 0) signal.abort(why);",
    }],
    checks: [
      test(
        "worker/several_jobs",
        "a call that is past the timeout is overdue with all its jobs; an abort of one of them fires its signal",
      ),
    ],
  },
  {
    name: "a promise is taken at its word, whatever its class",
    patches: [{ file: "src/plugin/handle_job.ts", find: " && value.constructor === Promise", replace: "" }],
    checks: [
      test(
        "plugin/handle_job_is_fulfilled",
        "in Bun an async handler that awaits nothing is answered as one that is not async",
      ),
    ],
  },
  {
    name: "who blocks past the timeout and then waits is not charged",
    patches: [{
      file: "src/worker/running_calls.ts",
      find: 'if (isLate) result.signal.abort("timed out");',
      replace: "",
    }],
    checks: [
      test("worker/running_calls", "who blocks past the timeout is charged, however it goes on"),
    ],
  },
  {
    name: "the time of a job begins with that of the one before it",
    patches: [{
      file: "src/worker/runner.ts",
      find: "startedMs ?? this.#awake(nowMs);",
      replace: "this.#awake(nowMs + 0 * (startedMs ?? 0));",
    }],
    checks: [
      test("worker/runner", "the time of a job begins when it does, whatever those before it blocked"),
    ],
  },
  {
    name: "a job that was aborted by a stop is charged",
    patches: [{
      file: "src/plugin/handle_job.ts",
      find: 'if (signal?.why === "stop" || signal?.why === "lost") return released;',
      replace: 'if (signal?.why === "lost") return released;',
    }],
    checks: [
      quickTest("plugin/handle_job", "what is thrown after an abort by stop or lost lease costs nothing"),
      test("slave/slave", "past the grace what runs is aborted, then ended, and handed back uncharged"),
    ],
  },
  {
    name: "a drained slave keeps what it has not begun",
    patches: [{
      file: "src/slave/worker_pool.ts",
      find: "    this.#ledger.releaseUntried();\n",
      replace: "",
    }],
    checks: [hanging(test("slave/slave", "a drained slave finishes what runs and hands back the rest"))],
  },
  {
    name: "a slave leaves with answers untold",
    patches: [{
      file: "src/slave/stopping.ts",
      find: "if (isIdle && (!isPatient || isSaid)) {",
      replace: "if (isIdle && (!isPatient || isSaid || isIdle)) {",
    }],
    checks: [
      test(
        "slave/slave_endings",
        "a drained slave whose master is gone ends after the grace, whatever it has to say",
      ),
    ],
  },
  {
    name: "an exit that is not the program's own is its success",
    patches: [{
      file: "src/lib/exit_guard.ts",
      find: "  if (endCode === null && leaveCode === null && reportEarlyEnd !== null) {",
      replace:
        "  if (typeof code === 'number') endCode = code;\n  else if (endCode === null && leaveCode === null && reportEarlyEnd !== null) {",
    }],
    checks: [
      test(
        "e2e/early_end",
        "A29: process.exit(0) in getJobs: exit code 1, where the run stands, and how it goes on",
      ),
    ],
  },
  {
    name: "an event loop that ran empty ends the program in silence",
    patches: [{
      file: "src/lib/exit_guard.ts",
      find: '  keepListener("beforeExit", onEmpty);\n  keepListener("exit", onExit);\n',
      replace: "  process.exitCode = 0;\n",
    }],
    checks: [
      test(
        "e2e/early_end",
        "A29: at load, a top-level await that nothing ends: exit code 1, and what did it",
      ),
    ],
  },
  {
    name: "an onFinish that hangs outlives the grace of a stop",
    patches: [{
      file: "src/master/master.ts",
      find: "    else this.#hurryIn(this.#options.graceMs);\n",
      replace: "",
    }],
    checks: [
      hanging(
        test(
          "e2e/hang",
          "A28: an onFinish that never ends is named, and one SIGTERM ends it within the grace",
        ),
      ),
    ],
  },
  {
    name: "a worker that hangs in setup keeps a stop for as long as a teardown may take",
    patches: [{
      file: "src/slave/worker_spawner.ts",
      find: "Math.min(unreadyMs, limitMs)",
      replace: "limitMs + 60_000",
    }, {
      file: "src/slave/supervisor.ts",
      find: "    return Math.max(teardownMsMin, Math.min(teardownMs, leftMs));\n",
      replace: "    return leftMs > 0 ? 60_000 : 60_000;\n",
    }],
    checks: [
      hanging(
        test("e2e/hang", "A28: a plugin whose loading in a worker loops is named, and keeps no stop"),
      ),
    ],
  },
  {
    name: "a signal to a master whose loop stands still waits for that",
    patches: [{
      file: "src/lib/watchdog.ts",
      find: "if (still >= stillMs && !isForgetful) isForgetful = setForgetful(true);",
      replace: "",
    }],
    checks: [
      hanging(
        test("e2e/hang", "A28: an onFinish that loops is named, and one SIGTERM ends it within the grace"),
      ),
    ],
  },
  {
    name: "the files of a state take the numbers of a stdout that is closed",
    patches: [{
      file: "src/lib/exit_guard.ts",
      find: "[0, 1, 2].every(isOpen)) return;",
      replace: "isOpen(0)) return;",
    }],
    checks: [
      test(
        "e2e/early_end",
        "A29: where a plugin closes stdout and stderr, no file or socket of ours takes their numbers",
      ),
    ],
  },
  {
    name: "workers inherit the token",
    patches: [{
      file: "src/slave/spawn_self.ts",
      find: 'if (generation === "worker") delete environment[tokenVariable];',
      replace: 'if (generation !== "worker") delete environment[tokenVariable];',
    }, {
      file: "src/worker/main.ts",
      find: "  delete process.env.TASKMASTER_TOKEN;\n",
      replace: "",
    }],
    checks: [test("slave/slave", "plugin code never sees the token")],
  },
  {
    name: "a source yields as fast as it can, whatever the demand",
    patches: [{
      file: "src/plugin/iterable_source.ts",
      find: "return this.#jobsLeft > 0 && this.#bytesLeft > 0;",
      replace: "return this.#jobsLeft > -1_000 && this.#bytesLeft > 0;",
    }],
    checks: [
      test("plugin/source", "a sync source yields no more than the demand in jobs, and goes on at pull"),
    ],
  },
  {
    name: "token files that others can read are taken",
    patches: [{
      file: "src/cli/secret_file.ts",
      find: "|| (mode & 0o077) === 0) return null;",
      replace: "|| (mode & 0o007) === 0) return null;",
    }],
    checks: [test("cli/token", "resolveToken() refuses a file of mode 640")],
  },
  {
    name: "a run with dead letters exits 0",
    patches: [{
      file: "src/cli/signals.ts",
      find: "return result.status.dead > 0 || ",
      replace: "return result.status.dead < 0 || ",
    }],
    checks: [
      quickTest("cli/exit_code", "exitCodeOf() a run that is complete with dead letters"),
      endToEnd("a job that does this each time: throw"),
    ],
  },
  {
    name: "a failed last save exits as if it had succeeded",
    patches: [{
      file: "src/cli/signals.ts",
      find: "if (!result.savedFinally) return 6;",
      replace: "if (!result.savedFinally && result.error) return 6;",
    }],
    checks: [test("cli/exit_code", "exitCodeOf() a run that is not saved")],
  },
  {
    name: "a master lets the buffers of its jobs gather",
    patches: [{
      file: "src/master/master.ts",
      find: "deadBuffers.made(sizeOfBlock(event.block));",
      replace: "deadBuffers.made(event.block.cursors === null ? 0 : sizeOfBlock(event.block));",
    }],
    checks: [
      test("master/master_dead_buffers", "a master has the buffers of its jobs collected once they are many"),
    ],
  },
  {
    name: "a master lets the buffers of its cursors gather",
    patches: [{
      file: "src/master/master.ts",
      find: "deadBuffers.made(sizeOfBlock(event.block));",
      replace: "deadBuffers.made(event.block.bytes.length + 0 * sizeOfBlock(event.block));",
    }],
    checks: [test("master/master_dead_buffers", "cursors are buffers too")],
  },
  {
    name: "a slave lets the buffers of its leases gather",
    patches: [{
      file: "src/slave/supervisor.ts",
      find: "    this.#deadBuffers.made(bytes.length);\n",
      replace: "    void this.#deadBuffers;\n",
    }],
    checks: [
      test("slave/slave_dead_buffers", "a slave has the buffers of its leases collected once they are many"),
    ],
  },
  {
    name: "whoever connects to the socket of workers stays",
    patches: [{
      file: "src/slave/worker_spawner.ts",
      find: "    this.#strangers.admit(socket);\n",
      replace: '    socket.on("error", () => {});\n',
    }],
    checks: [
      test(
        "e2e/strangers",
        "who connects to the socket of workers holds few files; workers are replaced all the same",
      ),
    ],
  },
  {
    name: "strangers that came first keep new ones out",
    patches: [{
      file: "src/lib/unproven.ts",
      find: "      this.#end(oldest);\n",
      replace: "      return void (oldest !== socket && socket.destroy());\n",
    }],
    checks: [
      quickTest(
        "lib/unproven",
        "beyond the limit a new connection takes the place of the one that has waited longest",
      ),
    ],
  },
];

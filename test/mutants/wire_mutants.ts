import { hanging, type Mutant, quickTest, test, throwing } from "./mutant.ts";

/** Handshake, frames, sessions: the network is hostile. */
export const wireMutants: readonly Mutant[] = [
  {
    name: "the token is not checked",
    patches: [{
      file: "src/link/master_handshake.ts",
      find: "if (!holds || insecure !== secret.isInsecure) {",
      replace: "if (insecure !== secret.isInsecure) {\n      void holds;",
    }],
    checks: [
      quickTest("link/dial", "another token is refused for good, and the sentence says what to do"),
    ],
  },
  {
    name: "a slave does not check its master's proof",
    patches: [{
      file: "src/link/slave_handshake.ts",
      find: 'if (!secret.holds(mac, "master", proof, body) || insecure',
      replace: "if (mac.length < proof.slaveNonce.length || insecure",
    }],
    checks: [test("link/dial", "a master that does not prove the token gets no slave")],
  },
  {
    name: "the MAC is compared on a prefix",
    patches: [{
      file: "src/protocol/handshake.ts",
      find: "return timingSafeEqual(mac, this.mac(side, proof, payload));",
      replace: "return timingSafeEqual(mac.subarray(0, 16), this.mac(side, proof, payload).subarray(0, 16));",
    }],
    checks: [quickTest("protocol/handshake", "any flipped bit of AUTH or WELCOME is refused")],
  },
  {
    name: "both sides have one label: a proof can be reflected",
    patches: [{
      file: "src/protocol/handshake.ts",
      find: "    new TextEncoder().encode(side),",
      replace: '    new TextEncoder().encode(side && "side"),',
    }],
    checks: [
      quickTest(
        "protocol/handshake",
        "a proof is of one side, one role, one pair of nonces, one certificate and one token",
      ),
    ],
  },
  {
    name: "the role is not proved: a slave may be turned into a control connection",
    patches: [{
      file: "src/protocol/handshake.ts",
      find: "    Uint8Array.of(roles.indexOf(proof.role)),\n    payload,",
      replace: "    payload,",
    }],
    checks: [
      test(
        "protocol/handshake",
        "a proof is of one side, one role, one pair of nonces, one certificate and one token",
      ),
    ],
  },
  {
    name: "the nonce of HELLO is always the same: AUTH can be replayed",
    patches: [{
      file: "src/link/listen.ts",
      find: "nonce: randomBytes(nonceBytes), sinceMs",
      replace: "nonce: randomBytes(nonceBytes).fill(0), sinceMs",
    }],
    checks: [
      quickTest("link/listen", "no two greetings have the same nonce, so that no AUTH is of use twice"),
    ],
  },
  {
    name: "the nonce of AUTH is always the same: WELCOME can be replayed",
    patches: [{
      file: "src/link/dial.ts",
      find: "nonce: randomBytes(nonceBytes),",
      replace: "nonce: randomBytes(nonceBytes).fill(0),",
    }],
    checks: [
      test("link/dial", "no two attempts have the same nonce, so that no WELCOME is of use twice"),
    ],
  },
  {
    name: "an introduction is decoded before its MAC held",
    patches: [{
      file: "src/link/master_handshake.ts",
      find: "    const holds = secret.holds",
      replace: "    const intro = parseIntroduction(info);\n    const holds = secret.holds",
    }, {
      file: "src/link/master_handshake.ts",
      find: "this.#introduce(info, role);",
      replace: 'this.#settle({ kind: "proved", intro, role });',
    }],
    checks: [test("link/listen", "whatever is wrong with the proof, the reply is the same")],
  },
  {
    name: "who never proves anything is never closed",
    patches: [{
      file: "src/link/listen.ts",
      find: "if (nowMs >= handshake.lateAtMs) handshake",
      replace: "if (nowMs >= Infinity) handshake",
    }],
    checks: [
      hanging(
        test("link/listen", "connect and close, connect and hold: no noise, and the held one ends after 5 s"),
      ),
    ],
  },
  {
    name: "any number of strangers is greeted at once",
    patches: [{
      file: "src/link/listen.ts",
      find: "this.#greeted.size < this.#greetedMax) {",
      replace: "this.#greeted.size < 100 * this.#greetedMax) {",
    }],
    checks: [
      hanging(
        test(
          "link/listen",
          "at most 64 are greeted at once; a crowd holds a real slave up for half a second",
        ),
      ),
    ],
  },
  {
    name: "no pre-scan",
    patches: [{
      file: "src/protocol/parse.ts",
      find: "  prescan(body, { itemsMax",
      replace: "  Object.is(prescan, { itemsMax",
    }],
    checks: [quickTest("protocol/parse", "no message is decoded before it was scanned")],
  },
  {
    name: "what was written of a message that cannot be sent stands in the next",
    patches: [{ file: "src/protocol/parse.ts", find: "  writer.length = 0;", replace: "" }],
    checks: [
      throwing(
        test("protocol/parse", "what a message cannot hold is refused, and the next message is whole"),
        /bytes behind the item/,
      ),
    ],
  },
  {
    name: "a frame may announce any length",
    patches: [{
      file: "src/protocol/frames.ts",
      find: "if (length <= frameBytesMax) return length;",
      replace: "if (length <= 256 * frameBytesMax) return length;",
    }],
    checks: [quickTest("protocol/frames", "a frame over 16 MiB is refused from its four bytes")],
  },
  {
    name: "memory is allocated for what a frame announces",
    patches: [{
      file: "src/protocol/frames.ts",
      find: "Math.max(filled, Math.min(filled * 4, announced))",
      replace: "Math.max(filled, Math.min(announced, frameBytesMax))",
    }],
    checks: [test("protocol/frames", "memory grows with what came, not with what is announced")],
  },
  {
    name: "a frame that stands still is waited for for ever",
    patches: [{
      file: "src/link/link.ts",
      find: "if (time >= frameEndsTime) void this.close",
      replace: "if (time >= frameEndsTime + 1e9) void this.close",
    }],
    checks: [
      test("link/link", "a frame that began and stands still ends after 30 s; bytes that trickle keep it"),
    ],
  },
  {
    name: "a reader that takes nothing is waited for for ever",
    patches: [{
      file: "src/link/link.ts",
      find: "if (time >= writeEndsTime) this.#fail",
      replace: "if (time >= writeEndsTime + 1e9) this.#fail",
    }],
    checks: [
      test(
        "link/link",
        "a reader that stopped: congestion, then a write deadline of 10 s; its neighbour does not notice",
      ),
    ],
  },
  {
    name: "a queue grows without bound",
    patches: [{
      file: "src/link/link.ts",
      find: "(this.#options.queueBytesMax ?? sendQueueBytesMax)",
      replace: "1e3 * (this.#options.queueBytesMax ?? sendQueueBytesMax)",
    }],
    checks: [test("link/link", "a queue over 8 MiB ends the session at once")],
  },
  {
    name: "a process that was stopped blames its peers",
    patches: [{
      file: "src/link/link.ts",
      find: "    this.#lagGuard.expect(wakeMs);",
      replace: "    this.#lagGuard.expect(Infinity);",
    }],
    checks: [test("link/link", "a master that was stopped for a minute blames nobody for it")],
  },
  {
    name: "no beats",
    patches: [{
      file: "src/link/link.ts",
      find: 'if (this.#outbox.queuedBytes === 0) this.send({ kind: "beat" } as Out);',
      replace: 'if (this.#outbox.queuedBytes < 0) this.send({ kind: "beat" } as Out);',
    }],
    checks: [hanging(test("link/link", "a beat is sent after one heartbeat without sending"))],
  },
  {
    name: "a bad message is skipped instead of costing its session",
    patches: [{
      file: "src/link/link.ts",
      find: "      if (this.#options.saysBye) void this.close(reason);\n      else this.#fail(reason);",
      replace: "      void reason;",
    }],
    checks: [
      hanging(
        test("link/link", "bad bytes cost the session, nothing else, and what came before them counts"),
      ),
    ],
  },
  {
    name: "messages may come in any order",
    patches: [{
      file: "src/master/sessions.ts",
      find: 'if ((message.kind === "ready") === this.hasJoined && !isAnytime) {',
      replace: 'if ((message.kind === "ready") === this.hasJoined && !isAnytime && this.#at === "leaving") {',
    }],
    checks: [test("master/sessions_messages", "a message out of place costs the session")],
  },
  {
    name: "a congested slave is leased more",
    patches: [{
      file: "src/master/sessions.ts",
      find: "    if (!this.#wire.isCongested) {",
      replace: "    if (this.#credit >= 0) {",
    }],
    checks: [
      test(
        "master/sessions_messages",
        "a congested link gets no lease, and its slave no credit, until it drains",
      ),
    ],
  },
  {
    name: "a slow link that is heard is cut as a dead one",
    patches: [{
      file: "src/link/link.ts",
      find: "    return heardWriteStallMs;",
      replace: "    return nowMs < 0 ? heardWriteStallMs : writeStallMs;",
    }],
    checks: [
      hanging(
        test(
          "link/link",
          "a link of 10 KB/s keeps its session, though it takes minutes until the system takes more",
        ),
      ),
    ],
  },
  {
    name: "a slave asks for what its workers could do, whatever its link brings",
    patches: [{
      file: "src/slave/speed.ts",
      find: "    if (tookMs > slowWindowMs) this.#bytesMax =",
      replace: "    if (tookMs > slowWindowMs * 1_000) this.#bytesMax =",
    }],
    checks: [
      test("slave/pure", "what is on its way to a slave is what its link brings in a second or a few"),
    ],
  },
  {
    name: "who is closed is not told why",
    patches: [{
      file: "src/link/link.ts",
      find: "    if (this.#options.saysBye) {",
      replace: "    if (this.#options.saysBye && told.length < 0) {",
    }],
    checks: [
      throwing(
        test(
          "link/link",
          "who is closed is told why: by close(), by bad bytes, by a frame that stands still",
        ),
        /Ended with 0 bytes/,
      ),
    ],
  },
  {
    name: "a slave takes leases over its credit",
    patches: [{
      file: "src/slave/supervisor.ts",
      find: "    if (held + count > mostCredit) {",
      replace: "    if (held + count > mostCredit + 10) {",
    }],
    checks: [
      hanging(
        test("slave/slave_rules", "a master that breaks a rule loses the session, and both logs say which"),
      ),
    ],
  },
  {
    name: "an answer may skip numbers",
    patches: [{
      file: "src/master/sessions.ts",
      find: "if (message.number < 1 || message.number > this.#answers + 1) {",
      replace: "if (message.number <= this.#answers) {",
    }],
    checks: [quickTest("master/sessions_messages", "answers are numbered 1, 2, 3")],
  },
  {
    name: "a key that is twice in a map of a message is not noticed",
    patches: [{
      file: "src/protocol/cbor_scan.ts",
      find: "if (keyOf > 0 && !addKey(",
      replace: "if (keyOf > 0 && value > 1e6 && !addKey(",
    }],
    checks: [
      test("protocol/cbor_scan", "no key is twice in a map, wherever it stands and however many there are"),
    ],
  },
  {
    name: "a refusal that proves nothing ends a slave that was welcomed before",
    patches: [{
      file: "src/slave/uplink.ts",
      find: "return this.#welcome !== null && error instanceof RefusedError && !error.isProved;",
      replace: "return this.#welcome !== null && error instanceof RefusedError && error.isProved;",
    }],
    checks: [
      test(
        "e2e/peers",
        "F1: whatever answers in a dead master's place, a slave goes on, and hands in what it did",
      ),
    ],
  },
  {
    name: "unfinished frames have no bound together",
    patches: [{
      file: "src/link/link.ts",
      find: "while (this.#bytes > this.#bytesMax)",
      replace: "while (this.#bytes > 1_000 * this.#bytesMax)",
    }],
    checks: [
      quickTest(
        "link/link",
        "unfinished frames of all connections have one bound: the slowest ones go, until there is room",
      ),
    ],
  },
  {
    name: "who sends his frame quickest makes room for the others",
    patches: [{
      file: "src/link/link.ts",
      find: "one.pace(nowMs) < slowest.pace(nowMs)",
      replace: "one.pace(nowMs) > slowest.pace(nowMs)",
    }],
    checks: [
      quickTest(
        "link/link",
        "unfinished frames of all connections have one bound: the slowest ones go, until there is room",
      ),
    ],
  },
  {
    name: "dead letters take as much of the disk as they like",
    patches: [{
      file: "src/state/dead_letters.ts",
      find: "if (size + lines.length > bytesMax) {",
      replace: "if (size > bytesMax + 2 ** 50) {",
    }],
    checks: [
      test(
        "e2e/peers",
        "F3: dead letters stop the run before they take more than --max-dead, and it goes on from there",
      ),
    ],
  },
  {
    name: "error text is bounded before it is escaped",
    patches: [{
      file: "src/core/piece.ts",
      find: "return Math.max(2 * text.length, writtenBytes(text));",
      replace: "return Math.max(2 * text.length, 0 * writtenBytes(text));",
    }],
    checks: [
      quickTest(
        "core/run_failures",
        "error text of a job stays within 8 KiB as it is written, whatever has to be escaped",
      ),
    ],
  },
  {
    name: "a slave takes any bytes of jobs within its credit",
    patches: [{
      file: "src/slave/supervisor.ts",
      find: "if (this.#ledger.bytes + bytes <= this.#heldBytesMax) return null;",
      replace: "if (this.#ledger.bytes + bytes <= 1_000 * this.#heldBytesMax) return null;",
    }],
    checks: [
      hanging(
        test(
          "slave/slave_rules",
          "more bytes than a slave can hold lose the session, whatever its credit is",
        ),
      ),
    ],
  },
  {
    name: "what ended and was not answered is not held",
    patches: [{
      file: "src/slave/supervisor.ts",
      find: "held = this.#ledger.jobs + this.#ledger.unsaid;",
      replace: "held = this.#ledger.jobs;",
    }],
    checks: [
      hanging(
        test(
          "slave/slave_rules",
          "a master that leases on and reads no answers loses the session: they must not pile up here",
        ),
      ),
    ],
  },
  {
    name: "a slave may answer without end for what it does not have",
    patches: [{
      file: "src/core/slaves.ts",
      find:
        "if (lease === undefined || lease.session !== session.id) return this.#stale(session, answer, nowMs);",
      replace: "if (lease === undefined || lease.session !== session.id) return;",
    }, {
      file: "src/core/slaves.ts",
      find: "    if (lease.count === before) return this.#stale(session, answer, nowMs);\n",
      replace: "",
    }],
    checks: [
      test(
        "core/run_sessions",
        "answers that change nothing, without end, lose the session, and charge nobody",
      ),
    ],
  },
  {
    name: "a master may say words without end",
    patches: [{
      file: "src/lib/token_bucket.ts",
      find: "return this.#tokens >= 0;",
      replace: "return true;",
    }],
    checks: [
      hanging(
        test(
          "slave/slave_rules",
          "words without end lose the session; a heartbeat that nobody can mean is not kept",
        ),
      ),
    ],
  },
  {
    name: "what a master never saves is kept for ever",
    patches: [{
      file: "src/slave/ledger.ts",
      find: "if (this.#unsavedBytes <= unsavedBytesMax) return;",
      replace: "if (this.#unsavedBytes <= 1_000 * unsavedBytesMax) return;",
    }],
    checks: [
      test(
        "slave/ledger",
        "what is never saved is forgotten, the oldest first, and bytes of jobs are counted while one can run",
      ),
    ],
  },
  {
    name: "a slave hurries to a master whose sessions never last",
    patches: [{
      file: "src/slave/uplink.ts",
      find: "this.#brief = connectedMs < briefMs ? this.#brief + 1 : 0;",
      replace: "this.#brief = connectedMs < briefMs ? this.#brief : 0;",
    }],
    checks: [
      quickTest(
        "slave/pure",
        "sessions that do not last slow a slave down, whatever the heartbeat; one that lasts ends that",
      ),
    ],
  },
];

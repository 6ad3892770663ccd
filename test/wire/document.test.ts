import { readFileSync } from "node:fs";
import t from "tap";
import * as limits from "../../src/lib/limits.ts";
import { itemEnds } from "../../src/protocol/cbor.ts";
import {
  controlReplies,
  controlRequests,
  introduction,
  masterMessages,
  repeatedWords,
  slaveMessages,
  welcome,
} from "../../src/protocol/messages.ts";
import type { Messages } from "../../src/protocol/schema.ts";
import { parseMasterMessage, parseSlaveMessage } from "../../src/protocol/parse.ts";
import { exampleBytes, messages } from "./example.ts";

const document = readFileSync(new URL("../../docs/protocol.md", import.meta.url), "utf8");
const shown = new Map(
  [...document.matchAll(/```hex (\w+)\n([^`]*)```/g)].map((
    [, name, hex],
  ) => [name!, Buffer.from(hex!.replace(/\s/g, ""), "hex")]),
);

t.test("the document's example is what the code sends", async (t) => {
  const sent = exampleBytes();
  t.same([...shown.keys()], Object.keys(sent), "each step is shown, in order");
  for (const [name, bytes] of Object.entries(sent)) t.same(shown.get(name), Buffer.from(bytes), name);
});

t.test("the MAC that the words name is the one shown", async (t) => {
  const [, named] = /MAC begins at offset 51 with\s`(\w{8})`/.exec(document)!;
  t.equal(shown.get("auth")!.subarray(51, 55).toString("hex"), named);
});

t.test("and what the code reads", async (t) => {
  for (const name of ["keep", "lease", "saved", "dismiss", "bye"]) {
    t.same(parseMasterMessage(shown.get(name)!.subarray(4)), messages[name]);
  }
  for (const name of ["ready", "answer"]) {
    t.same(parseSlaveMessage(shown.get(name)!.subarray(4)), messages[name]);
  }
  const lease = parseMasterMessage(shown.get("lease")!.subarray(4));
  if (lease.kind === "lease") t.same([...itemEnds(lease.jobs, 2)], [5, 10]);
});

/** Of section 4 or 5: the kinds of messages that it describes. */
const described: readonly (readonly [from: string, to: string, tables: readonly Messages[]])[] = [
  ["## 4. Messages of a slave", "## 5. Messages of a master", [slaveMessages]],
  ["## 5. Messages of a master", "### Control", [masterMessages]],
  ["### Control", "## 6. Liveness", [controlRequests, controlReplies]],
];

t.test("every message, field and limit stands in the document", async (t) => {
  for (const [from, to, tables] of described) {
    const section = document.slice(document.indexOf(from), document.indexOf(to));
    t.ok(section.length > 500, from);
    for (const [kind, fields] of tables.flatMap((table) => Object.entries(table))) {
      const at = section.indexOf(`**\`${kind}\`**`);
      const end = section.indexOf("**`", at + 3);
      const words = at < 0 && tables.length > 1 ? section : section.slice(at, end < 0 ? undefined : end);
      for (const name of [kind, ...Object.keys(fields)]) {
        t.ok(words.includes(`\`${name}\``), `${kind}: ${name}`);
      }
    }
  }
  for (const word of [...repeatedWords, ...welcome.words ?? [], ...introduction.words ?? []]) {
    t.match(document, new RegExp(`\`${word.replace(" ", "\\s")}\``), word);
  }
  t.equal(limits.frameBytesMax, 16_777_216);
  t.equal(limits.handshakeBytesMax, 1_024);
  t.match(document, /16,777,216\sbytes/);
});

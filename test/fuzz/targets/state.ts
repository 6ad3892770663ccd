import { Buffer } from "node:buffer";
import { isSameBytes, sha256 } from "../../../src/lib/bytes.ts";
import { StateError } from "../../../src/lib/errors.ts";
import { stateFiles } from "../../../src/state/disk.ts";
import { loadState, parseStateFile } from "../../../src/state/read_state.ts";
import { DamageError, stateVersion } from "../../../src/state/state_fields.ts";
import {
  bodyParts,
  decodeBody,
  decodeHeader,
  encodeHeader,
  headerBytes,
  runTag,
  type StateContents,
} from "../../../src/state/state_format.ts";
import { FakeDisk } from "../../state/fake_disk.ts";
import { purpose, someStranded, spanOf, stateOf, untouched } from "../../state/fixtures.ts";
import { amplifyCbor, join, mutateBytes, mutateCbor } from "../mutate.ts";
import { must, outcomeOf, quietly, type Target } from "../target.ts";

// A byte of flags, then a state file. Flag 1: its two hashes, length and run tag are put right, for no mutation would
// ever hit them.

const writer = new Uint8Array(8).fill(9);

function fileOf(contents: StateContents, epoch = 3): Uint8Array {
  return withHeader(join(...bodyParts(contents)), contents.identity.runId, epoch);
}

function withHeader(body: Uint8Array, runId: string, epoch: number, version = stateVersion): Uint8Array {
  const header = {
    version,
    epoch,
    bodyBytes: body.length,
    runTag: runTag(runId),
    writer,
    bodyHash: sha256(body),
  };
  return join(encodeHeader(header), body);
}

function fileIn(input: Uint8Array): Uint8Array {
  const bytes = input.subarray(1);
  if ((input[0] ?? 0) % 2 === 0 || bytes.length < headerBytes) return bytes;
  const body = bytes.subarray(headerBytes);
  // A version of 0 to 3 stays what it is.
  return withHeader(body, runIdIn(body), bytes[19]!, bytes[11]! % 4);
}

function runIdIn(body: Uint8Array): string {
  try {
    // Not by `decode`: what is too dear to decode would be the test's own cost.
    return String((decodeBody(body) as { runId: unknown }[])[0]?.runId);
  } catch {
    return "";
  }
}

const good = fileOf({ identity: { ...purpose, runId: "r0" }, state: stateOf(7) });

export const state: Target = {
  name: "state",
  subject(input) {
    const file = fileIn(input);
    quietly(() => parseStateFile(file, "/d/posts.state"));
  },
  async check(input) {
    const file = fileIn(input);
    const read = outcomeOf(() => parseStateFile(file, "/d/posts.state"), DamageError, StateError);
    await checkLoad(file, "value" in read, "error" in read && read.error instanceof StateError);
    if ("error" in read) return `${read.error.name}: ${read.error.message}`;
    const { header, ...contents } = read.value;
    const again = fileOf(contents, header.epoch);
    const reread = parseStateFile(again, "/d/posts.state");
    must(isSameBytes(fileOf(reread, header.epoch), again), "written and read once more it is another state");
    return `accepted\n${Buffer.from(sha256(again)).toString("hex")}`;
  },
  seeds: () => {
    const someSettings = new Map<string, string | number | boolean | null>([
      ...[["paused", true], ["rate", 12.5], ["log-level", "debug"], ["x.y:z", null]] as const,
    ]);
    const identity = { ...purpose, runId: "run-1" };
    const spans = [someStranded, { span: spanOf(9, ["a", [1n]]), history: untouched, lease: null }];
    const files = [
      fileOf({ identity, state: stateOf(4) }),
      fileOf({ identity, state: stateOf(4, spans) }),
      fileOf({ identity, state: { ...stateOf(0), last: null, firstJobHash: null } }),
      fileOf({ identity, state: { ...stateOf(5), complete: true } }),
      withHeader(Uint8Array.of(0x80), "r", 1),
      withHeader(Uint8Array.of(0x80), "r", 1, stateVersion + 1),
      withHeader(join(...bodyParts({ identity, state: stateOf(4, spans) })), "run-1", 1, 1),
      fileOf({
        identity,
        state: { ...stateOf(4), final: false, repeatedAtLeast: true, settings: someSettings },
      }),
    ];
    return files.flatMap((file) => [join(Uint8Array.of(0), file), join(Uint8Array.of(1), file)]);
  },
  mutate(input, random, other) {
    const at = 1 + headerBytes;
    if (input.length < at || random.perMille(200)) return mutateBytes(input, random, other);
    const body = mutateCbor(input.subarray(at), random, other.subarray(at));
    return join(Uint8Array.of(1), input.subarray(1, at), body);
  },
  amplify(input, random, size) {
    const at = 1 + headerBytes;
    return join(Uint8Array.of(1), input.subarray(1, at), amplifyCbor(input.subarray(at), random, size - at));
  },
};

/** With this file as the state and a good one before it: loaded, or replaced, or refused; never a fresh start. */
async function checkLoad(file: Uint8Array, isGood: boolean, isNewer: boolean): Promise<void> {
  const fake = new FakeDisk();
  const files = stateFiles("/d", "posts");
  fake.put(files.state, file);
  fake.put(files.prev, good);
  const warnings: string[] = [];
  const loaded = await loadState(fake.disk, files, (_level, message) => warnings.push(message)).then(
    (value) => ({ value }),
    (error: unknown) => {
      must(error instanceof StateError, `loading throws ${error}`);
      return { value: error };
    },
  );
  const { value } = loaded;
  must(value !== null, "what cannot be read is no fresh start");
  if (isNewer) return must(value instanceof StateError, "a newer state is refused, whatever is before it");
  if (isGood) return must(!(value instanceof Error) && value.from === "state", "a good state is loaded");
  const isOfRun = decodeHeader(file) === null || isSameBytes(decodeHeader(file)!.runTag, runTag("r0"));
  must(
    value instanceof Error !== isOfRun,
    `the one before it is ${isOfRun ? "of this run" : "of another run"}`,
  );
  must(value instanceof Error || (value.from === "prev" && warnings.length === 1), "that is said");
}

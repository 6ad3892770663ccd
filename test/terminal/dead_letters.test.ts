import t from "tap";
import { encode } from "../../src/protocol/cbor.ts";
import type { DeadLetterRecord } from "../../src/state/store.ts";
import { DeadLetterGroups, groupId, letterJson, letterLines } from "../../src/terminal/dead_letters.ts";

const attempt = {
  how: "threw",
  error: "user 17 not found",
  stack: "Error: user 17 not found\n    at handleJob (/p/posts.ts:2:3)",
  slave: "web1",
  durationMs: 12,
  at: "2025-01-02T03:04:05.000Z",
};
const letter = (
  seq: number,
  job: unknown = { id: seq },
  more: Partial<DeadLetterRecord> = {},
): DeadLetterRecord => ({
  seq,
  time: `2025-01-02T03:04:${String(10 + seq % 50)}.000Z`,
  failures: 3,
  crashes: 0,
  attempts: [{ ...attempt, error: `user ${seq} not found`, stack: "", slave: `web${seq % 3}` }],
  job: { id: seq },
  cbor: encode(job),
  ...more,
});
const withError = (seq: number, error: string) =>
  letter(seq, seq, { attempts: [{ ...attempt, error, stack: "" }] });

function groups(letters: readonly DeadLetterRecord[]): DeadLetterGroups {
  const groups = new DeadLetterGroups("briefly");
  for (const one of letters) groups.add(one);
  return groups;
}

t.test("messages that differ in numbers are one group, with its times, its slaves and a sample", async (t) => {
  const found = groups([
    letter(18),
    letter(17, 0, { attempts: [{ ...attempt, slave: "web9" }] }),
    withError(3, "no disk"),
  ]);
  t.equal(found.count, 3);
  t.same(found.lines(), [
    "26788eb3  2 x user # not found",
    "  2025-01-02T03:04:27.000Z to 2025-01-02T03:04:28.000Z; at web0, web9",
    '  such as job 18: {"id":18}',
    "      user 18 not found",
    "",
    `${found.lines()[5]!.slice(0, 8)}  1 x no disk`,
    "  2025-01-02T03:04:13.000Z; at web1",
    '  job 3: {"id":3}',
    "      no disk",
  ]);
});

t.test("a row that could not be sent is shown with its cursor and its fault", async (t) => {
  const row = { path: "$.name", reason: "a string with half a surrogate pair", cursor: 7 };
  const odd = letter(7, 0, { attempts: [], job: null, cbor: null, row });
  t.same(groups([odd]).lines().slice(1), [
    "  2025-01-02T03:04:17.000Z",
    "  job 7: cursor 7",
    "      cannot be sent: at $.name there is a string with half a surrogate pair",
  ]);
  t.match(
    groups([odd]).lines()[0],
    /^[\da-f]{8} {2}1 x cannot be sent: a string with half a surrogate pair$/,
  );
  t.match(JSON.parse(letterJson(odd)), { seq: 7, path: "$.name", reason: row.reason, cursor: 7, job: null });
});

t.test("of more messages than are counted apart the rest is one group", async (t) => {
  const word = (n: number) => [...String(n)].map((digit) => "abcdefghij"[Number(digit)]).join("");
  const many = Array.from({ length: 1_500 }, (_, n) => withError(n, word(n)));
  const found = groups([...many, ...many.slice(0, 5)]);
  t.equal(found.count, 1_505, "none is lost");
  const titles = found.lines().filter((line) => / x /.test(line));
  t.equal(titles.length, 1_001);
  t.match(titles[0], /^other {5}500 x other messages/);
  t.equal(titles.filter((line) => / 2 x /.test(line)).length, 5);
});

t.test("letterJson(): a job of plain JSON as it is, any other for people and as bytes; both in full", async (t) => {
  const text = "x".repeat(100_000);
  const plain = JSON.parse(letterJson(letter(1, { id: 1, list: [null, true, 1.5], text })));
  t.same(plain.job, { id: 1, list: [null, true, 1.5], text });
  t.notOk("cbor" in plain);
  const job = { id: 7n, at: new Date(0), bytes: new Uint8Array(5_000) };
  const exact = JSON.parse(letterJson(letter(1, job)));
  t.match(exact.job, { id: { $bigint: "7" }, bytes: { $bytes: "00".repeat(5_000) } });
  t.same(Buffer.from(exact.cbor, "base64"), Buffer.from(encode(job)));
  for (const odd of [NaN, [1, [undefined]], new Map(), { a: new Set() }]) {
    t.ok("cbor" in JSON.parse(letterJson(letter(1, odd))), String(odd));
  }
  const broken = JSON.parse(letterJson(letter(1, 0, { cbor: Uint8Array.of(0xff) })));
  t.match(broken, { job: { id: 1 }, cbor: "/w==" }, "bytes that are no job are kept");
  t.equal(JSON.parse(letterJson(letter(17))).group, "26788eb3");
});

t.test("nothing foreign moves a cursor or passes for a line of ours", async (t) => {
  const bad = "\u001b[2J\nforged\u202e";
  const attempts = [{
    ...attempt,
    how: bad,
    error: bad,
    stack: `${bad}\n    at ${bad}`,
    slave: bad,
    at: bad,
  }];
  const hostile = letter(1, { [bad]: bad }, { time: bad, attempts, job: { [bad]: bad } });
  for (const lines of [groups([hostile]).lines(), letterLines(hostile), [letterJson(hostile)]]) {
    t.ok(lines.length > 0);
    for (const line of lines) t.notMatch(line, /[^ -~]|^forged/);
  }
});

t.test("groupId() is the same at any time, and another for another group", async (t) => {
  t.equal(groupId("user # not found"), "26788eb3");
  t.not(groupId("user # not found"), groupId("user # found"));
});

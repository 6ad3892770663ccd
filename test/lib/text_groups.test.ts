import t from "tap";
import { messageGroup } from "../../src/lib/text.ts";

/** Messages, and what they have in common. */
const table: readonly (readonly [string, ...string[]])[] = [
  [
    "user # not found",
    "user 17 not found",
    "user 18 not found.",
    "user -3.5 not found",
    "user 1,024 not found",
  ],
  ["no name", "no name", "no name:", " no name "],
  ["", ""],
  // ids
  [
    "no row #",
    "no row 9f86d081-884c-7d65-9a2f-eaa0c55ad015",
    "no row 0x7ffe",
    "no row 507f1f77bcf86cd799439011",
    "no row cus_9s6XKzkNRiz8i3",
    "no row 01ARZ3NDEKTSV4RRFFQ69G5FAV",
  ],
  ["job-# at web#: user#", "job-17 at web3: user17", "job-8 at web12: user204"],
  ["order-# is # deep", "order-1234567 is 12 deep"],
  // times, places, addresses
  [
    "late: #",
    "late: 2025-01-02T03:04:05.678Z",
    "late: 2025-01-02",
    "late: 2025-01-02 03:04",
    "late: 12:30:05",
  ],
  ["connect ECONNREFUSED #", "connect ECONNREFUSED 10.0.0.5:5432", "connect ECONNREFUSED 127.0.0.1:80"],
  ["posts.ts:#", "posts.ts:12:7"],
  ["# has no account", "ann@example.com has no account", "b.c+d@x.example.de has no account"],
  // short codes say which fault it is
  ["HTTP 404 of #", "HTTP 404 of 17"],
  ["status code: 503 of #", "status code: 503 of 17"],
  ["exit code 137, SQLSTATE[23505] of #", "exit code 137, SQLSTATE[23505] of 17"],
  ["barcode #", "barcode 17", "barcode 404"],
  ["code #", "code 12345", "code 54321"],
  // quoted values, and quoted names
  ["duplicate entry '#' for key 'users.email'", "duplicate entry 'a@b.c' for key 'users.email'"],
  ['no "#" here', 'no "a b" here', 'no "17" here', 'no "col-1" here'],
  ["cannot read (reading 'name')", "cannot read (reading 'name')"],
  ["can't open '#', won't try #", "can't open 'a b', won't try 5"],
  ["größe# of Ωmega#", "größe5 of Ωmega12"],
];
for (const [group, ...messages] of table) {
  t.test(`messageGroup(): ${group}`, async (t) => {
    for (const message of messages) t.equal(messageGroup(message), group, message);
    t.equal(messageGroup(group), group, "a group is its own");
  });
}

t.test("messageGroup() keeps apart what differs in more than values", async (t) => {
  const messages = [
    "HTTP 404",
    "HTTP 503",
    "reading 'name'",
    "reading 'id'",
    "user 1 not found",
    "users 1 not found",
  ];
  t.equal(new Set(messages.map(messageGroup)).size, messages.length);
});

t.test("messageGroup() is quick whatever a message holds", async (t) => {
  for (const part of ["a.", "1.", "'a", "-", "a@", "a-1", "1:", "....", '"', "é'"]) {
    const beganMs = performance.now();
    for (let i = 0; i < 5; i++) messageGroup(part.repeat(100_000));
    t.ok(performance.now() - beganMs < 1_000, part);
  }
});

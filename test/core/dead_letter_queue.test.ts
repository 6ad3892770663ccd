import t from "tap";
import { DeadLetterQueue } from "../../src/core/dead_letter_queue.ts";
import type { Jobs } from "../../src/core/jobs.ts";

/** Jobs of which each failed with its message, but for one: a row that could not be sent. */
function queueOf(messages: readonly string[]): DeadLetterQueue {
  const jobs = {
    buried: (seq: number) => seq < messages.length ? { attempts: [{ message: messages[seq] }] } : null,
    rowBuried: () => ({ path: "$.name", reason: "a string of 2000000 characters", dataFault: "too long" }),
  };
  return new DeadLetterQueue(jobs as unknown as Jobs, () => {});
}

t.test("dead letters are counted by groups of messages, the first message of each, those with most first", async (t) => {
  const queue = queueOf([
    "once",
    "user 1 not found",
    "no disk",
    "user 2 not found",
    "no disk",
    "user 1 not found",
  ]);
  queue.buried([0, 7]);
  t.same(queue.groups, [
    { message: "user 1 not found", count: 3, differ: true },
    { message: "no disk", count: 2, differ: false },
    { message: "once", count: 1, differ: false },
    { message: "cannot be sent: a string of 2000000 characters", count: 1, differ: false },
  ]);
});

t.test("a thousand groups are counted apart, and the rest together", async (t) => {
  const word = (n: number) => [...String(n)].map((digit) => "abcdefghij"[Number(digit)]).join("");
  const queue = queueOf(Array.from({ length: 1_500 }, (_, n) => `it is ${word(n % 1_200)}`));
  queue.buried([0, 1_500]);
  t.equal(queue.groups.length, 1_001);
  t.same(queue.groups[0], { message: "other messages", count: 200, differ: false });
  t.equal(queue.groups.reduce((sum, { count }) => sum + count, 0), 1_500);
});

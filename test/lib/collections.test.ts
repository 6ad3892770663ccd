import t from "tap";
import { Heap, Queue } from "../../src/lib/collections.ts";
import { Random } from "../sim/random.ts";

t.test("a queue behaves as an array does", async (t) => {
  const random = new Random(2);
  const queue = new Queue<number>();
  let items: number[] = [];
  for (let i = 0; i < 20_000; i++) {
    const act = random.int(0, i % 5_000 < 2_500 ? 9 : 20);
    if (act < 5) items.push(i), queue.push(i);
    else if (act === 5) items.unshift(i), queue.unshift(i);
    else if (act === 6 && i % 50 === 0) {
      items = items.filter((item) => item % 3 > 0);
      queue.rewrite((item) => item % 3 > 0 ? item : null);
    } else if (items.shift() !== queue.shift()) t.fail(`shift ${i}`);
    const isAlike = queue.length === items.length && queue.first === items[0] && queue.last === items.at(-1);
    if (!isAlike) t.fail(`at ${i}`);
  }
  t.same([...queue], items);
});

t.test("a heap gives the least first", async (t) => {
  const random = new Random(3);
  const heap = new Heap<number>((a, b) => a < b);
  const items: number[] = [];
  for (let i = 0; i < 5_000; i++) {
    if (random.perMille(600)) {
      const item = random.int(0, 1_000);
      items.push(item);
      heap.push(item);
    } else {
      items.sort((a, b) => a - b);
      if (heap.first !== items[0] || heap.pop() !== items.shift()) t.fail(`pop ${i}`);
    }
  }
  t.equal(heap.length, items.length);
  t.same([...heap].sort((a, b) => a - b), items.sort((a, b) => a - b));
});

import t from "tap";
import { TokenBucket } from "../../src/lib/token_bucket.ts";

t.test("a bucket that is full allows so much at once, then so much a second", async (t) => {
  const bucket = new TokenBucket(10, 2, 0);
  for (let i = 0; i < 10; i++) t.ok(bucket.take(0));
  t.notOk(bucket.take(0), "one more is too much");
  t.equal(bucket.level(0), -1, "what is too much is owed");
  t.notOk(bucket.take(900));
  t.ok(bucket.take(1_500), "what was owed is paid");
  t.notOk(bucket.take(1_500, 1));
});

t.test("a message may cost several tokens, or a part of one", async (t) => {
  const bucket = new TokenBucket(3, 1, 0);
  t.ok(bucket.take(0, 2.5));
  t.ok(bucket.take(0, 0.5));
  t.notOk(bucket.take(0, 0.1));
});

t.test("it holds no more than its capacity, however long it waits, and whatever is put back", async (t) => {
  const bucket = new TokenBucket(5, 1_000, 0, 0);
  t.equal(bucket.level(0), 0);
  t.equal(bucket.level(3), 3);
  t.equal(bucket.level(60_000), 5);
  bucket.take(60_000, 4);
  bucket.putBack(2);
  t.equal(bucket.level(60_000), 3);
  bucket.putBack(20);
  t.equal(bucket.level(60_000), 5);
});

t.test("it says when it holds one token; a clock that goes back gains nothing", async (t) => {
  const bucket = new TokenBucket(5, 10, 1_000, 0);
  t.equal(bucket.oneAtMs(1_000), 1_100);
  t.equal(bucket.oneAtMs(1_040), 1_100);
  t.equal(bucket.level(900), 0.4);
  bucket.take(1_100, 3);
  t.ok(bucket.oneAtMs(1_100) > 1_290);
});

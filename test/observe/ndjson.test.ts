import { PassThrough } from "node:stream";
import t from "tap";
import { EventWriter } from "../../src/observe/ndjson.ts";

t.test("EventWriter writes one object a line, its name and time first", async (t) => {
  const output = new PassThrough();
  new EventWriter(output).write({
    event: "dead",
    seq: 5,
    message: "two\nlines",
    big: 12n,
    bytes: new Uint8Array([1, 2]),
  });
  const line = String(output.read());
  t.match(line, /^\{"event":"dead","at":"\d{4}-\d\d-\d\dT[\d:.]+Z","seq":5,/);
  t.equal(line.indexOf("\n"), line.length - 1);
  t.match(JSON.parse(line), { message: "two\nlines", big: "12", bytes: "AQI=" });
});

t.test("EventWriter stops when its reader went away", async (t) => {
  const output = new PassThrough();
  const writer = new EventWriter(output);
  output.emit("error", new Error("EPIPE"));
  writer.write({ event: "status" });
  t.equal(output.read(), null);
});

// What our own CBOR costs beside cbor-x's, for docs/cbor.md: jobs in blocks of 256, two messages, and hostile input.
//   npm run bench:cbor
import { Decoder, Encoder } from "cbor-x/index-no-eval";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { decodeJobs, decodeMessage, JobEncoder, prescan } from "../src/protocol/cbor.ts";
import type { Message } from "../src/protocol/messages.ts";
import { encodeMessage, parseSlaveMessage } from "../src/protocol/parse.ts";
import { bombs } from "../test/fuzz/bombs.ts";
import { bun } from "../test/kit/runtimes.ts";
import { makerOf, shapes } from "./rows.ts";
import { median, threeDigits } from "./statistics.ts";

const jobsPerBlock = 256;
const rounds = 5;
/** CPU time of one side in one round: not the clock's, for other processes may run. */
const turnMs = 30;
/** How long cbor-x may take for one hostile input, in a process of its own. */
const hostileMsMax = 3_000;

const plain = { useRecords: false, copyBuffers: true, tagUint8Array: false, variableMapSize: true };
const cborX = new Encoder(plain as never), cborXIn = new Decoder(plain as never);
/** cbor-x's own tags for keys that repeat: no other decoder reads them. */
const records = new Encoder({ ...plain, useRecords: true, sequential: true } as never);

/** What one side does with a block of jobs or a message, so many at a time. */
type Side = Readonly<{ name: string; work: () => unknown }>;

function jobEncoders(jobs: readonly unknown[]): Side[] {
  const own = new JobEncoder();
  return [
    {
      name: "own",
      work: () => {
        for (const job of jobs) own.append(job);
        return own.take();
      },
    },
    { name: "cbor-x, each job", work: () => encodeEach(jobs) },
    { name: "cbor-x, one array", work: () => cborX.encode(jobs) },
    { name: "cbor-x, one array of records", work: () => records.encode(jobs) },
  ];
}

const block = new Uint8Array(1 << 20);
/** cbor-x: leave what was encoded where it is, with its `start` and `end`; and begin there again next time. */
const inPlace = 512 | 1024;

/** The best that can be done with cbor-x: one copy into a block, and one of the block. */
function encodeEach(jobs: readonly unknown[]): Uint8Array {
  let at = 0;
  for (const job of jobs) {
    const shared = (cborX.encode as (value: unknown, mode: number) => Uint8Array)(job, inPlace);
    const { start, end } = shared as Uint8Array & { start: number; end: number };
    block.set(shared.subarray(start, end), at);
    at += end - start;
  }
  return block.slice(0, at);
}

function jobDecoders(jobs: readonly unknown[]): Side[] {
  const each = new Uint8Array(Buffer.concat(jobs.map((job) => cborX.encode(job))));
  const array = new Uint8Array(cborX.encode(jobs)), asRecords = new Uint8Array(records.encode(jobs));
  return [
    { name: "own", work: () => decodeJobs(each, jobs.length) },
    { name: "cbor-x, each job", work: () => cborXIn.decodeMultiple(each) },
    { name: "cbor-x, one array", work: () => cborXIn.decode(array) },
    { name: "cbor-x, one array of records", work: () => records.decode(asRecords) },
  ];
}

const lease = { masterId: "4Dc3p9vRTYOgEqzb0W7mVQ", number: 12_345 };
const answer: Message = {
  kind: "answer",
  number: 7,
  lease,
  credit: 500,
  done: [100_000, 100_250],
  skipped: [],
  failed: [],
  crash: null,
  released: [],
};

/** Microseconds for each of `count`, by side: medians of interleaved rounds. */
function measure(sides: readonly Side[], count: number): Map<string, number> {
  const times = new Map(sides.map(({ name }) => [name, [] as number[]]));
  for (let round = -1; round < rounds; round++) {
    for (const { name, work } of sides) {
      const startMs = cpuMs();
      let done = 0, endMs = startMs;
      for (; endMs - startMs < turnMs; endMs = cpuMs()) {
        for (let index = 0; index < 64; index += count, done++) work();
      }
      // The first round only warms up.
      if (round >= 0) times.get(name)!.push((endMs - startMs) * 1_000 / done / count);
    }
  }
  return new Map([...times].map(([name, all]) => [name, median(all)]));
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

function row(what: string, sides: readonly Side[], count: number): string {
  const times = measure(sides, count);
  const own = times.get("own")!;
  const others = [...times].slice(1).map(([, us]) => `${threeDigits(us)} (${(us / own).toFixed(1)} x)`);
  return `| ${what} | ${threeDigits(own)} | ${others.join(" | ")} |`;
}

const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replaceAll(" ", ""), "hex"));

/** Bytes that cost cbor-x dearly, or make it build what the sender chooses. */
const hostile: readonly (readonly [what: string, bytes: () => Uint8Array])[] = [
  [
    "a bignum of 100 KB",
    () => Buffer.concat([hex("c2 5a 000186a0"), new Uint8Array(100_000).fill(255)]),
  ],
  [
    "packed tables in each other, 20 KB",
    () =>
      Buffer.concat([
        hex("d833 84 99 2710"),
        new Uint8Array(10_000),
        hex("80 80"),
        ...Array.from({ length: 1_400 }, () => hex("d833 84 81 00 80 80")),
        hex("00"),
      ]),
  ],
  [
    "tag 27: a RegExp of the sender's, 17 bytes",
    () => hex(`d81b 82 66 ${ascii("RegExp")} 66 ${ascii("(a+)+$")}`),
  ],
  ...["empty arrays", "empty texts", "bignums of a kilobyte", "maps of one key each, all different"].map((
    what,
  ) => [`${what}, 1 MB`, () => bombs.find((bomb) => bomb.what === what)!.input().subarray(1)] as const),
  [
    "arrays in each other, 1 MB",
    () => bombs.find(({ what }) => what === "a depth bomb")!.input().subarray(1),
  ],
];

function ascii(text: string): string {
  return Buffer.from(text).toString("hex");
}

const readers: Readonly<Record<string, (bytes: Uint8Array) => unknown>> = {
  "cbor-x": (bytes) => cborX.decode(bytes),
  own: parseSlaveMessage,
};

/** Time, memory at the peak and outcome of one input, in words; measured in a process of its own. */
function costOf(reader: string, at: number): string {
  const child = spawnSync(bun, [fileURLToPath(import.meta.url), reader, String(at)], {
    encoding: "utf8",
    timeout: hostileMsMax,
    killSignal: "SIGKILL",
  });
  return child.status === 0 ? child.stdout.trim() : `not done after ${hostileMsMax / 1_000} s`;
}

function readHostile(reader: string, at: number): void {
  const bytes = new Uint8Array(hostile[at]![1]());
  const read = readers[reader]!;
  const before = peakKiB(), startMs = cpuMs();
  let outcome: string;
  try {
    const value = read(bytes);
    outcome = value instanceof RegExp ? `makes ${value}` : "decoded";
  } catch (error) {
    outcome = error instanceof RangeError ? "stack overflow" : "refused";
  }
  const ms = cpuMs() - startMs;
  console.log(`${outcome}, ${threeDigits(ms)} ms, ${Math.round((peakKiB() - before) / 1024)} MiB`);
}

function peakKiB(): number {
  return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))![1]);
}

function main(): void {
  console.log(
    "| us each | own | cbor-x, each by itself | cbor-x, 256 as one array | the same as its records |",
  );
  console.log("| --- | --- | --- | --- | --- |");
  for (const shape of shapes) {
    const jobs = Array.from({ length: jobsPerBlock }, (_, id) => makerOf(shape)(1_000_000 + id));
    const bytes = cborX.encode(jobs[0]).length;
    console.log(row(`encode a job of ${bytes} bytes`, jobEncoders(jobs), jobsPerBlock));
    console.log(row(`decode it`, jobDecoders(jobs), jobsPerBlock));
  }
  const body = new Uint8Array(encodeMessage(answer)).subarray(4);
  const encoders = [
    { name: "own", work: () => encodeMessage(answer) },
    { name: "cbor-x", work: () => Buffer.from(cborX.encode(answer)) },
  ];
  const decoders = [{ name: "own", work: () => decodeMessage(body) }, {
    name: "cbor-x",
    work: () => cborXIn.decode(body),
  }];
  console.log(row("encode an `answer`", encoders, 1));
  console.log(row("decode it", decoders, 1));
  // Of a frame with such a message, the scan, and all that its receiver does.
  const scanned = measure([{ name: "prescan", work: () => prescan(body) }, {
    name: "all",
    work: () => parseSlaveMessage(body),
  }], 1);
  for (const [name, us] of scanned) console.log(`answer, ${name}: ${threeDigits(us)} us`);
  console.log("\n| input | cbor-x alone | what this program makes of it |\n| --- | --- | --- |");
  for (const [at, [what]] of hostile.entries()) {
    console.log(`| ${what} | ${costOf("cbor-x", at)} | ${costOf("own", at)} |`);
  }
}

const [reader, at] = process.argv.slice(2);
if (reader === undefined) main();
else readHostile(reader, Number(at));

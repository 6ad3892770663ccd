import t from "tap";
import {
  formatAddress,
  formatDuration,
  formatElapsed,
  formatRate,
  formatSize,
  isLoopback,
  parseAddress,
  parseDuration,
  parseRate,
  parseSize,
} from "../../src/lib/units.ts";

t.test("parseDuration() takes a number and its unit, or several", async (t) => {
  const good = {
    "500ms": 500,
    "30s": 30_000,
    "5m": 300_000,
    "1.5s": 1_500,
    "2h": 7_200_000,
    "1d": 86_400_000,
    "1h30m": 5_400_000,
    "0s": 0,
  };
  for (const [text, ms] of Object.entries(good)) t.equal(parseDuration(text), ms, text);
  for (const text of ["", "30", "s", "-1s", "30 s", "1.s", "30sec", "1e3s", "30S", "١s", "0s".repeat(33)]) {
    t.equal(parseDuration(text), undefined, text);
  }
});

t.test("formatDuration() shows two units at most", async (t) => {
  const table = {
    0: "0ms",
    850: "850ms",
    1_500: "1.5s",
    9_949: "9.9s",
    9_960: "10s",
    45_000: "45s",
    125_000: "2m05s",
    11_220_000: "3h07m",
    183_600_000: "2d03h",
  };
  for (const [ms, text] of Object.entries(table)) t.equal(formatDuration(Number(ms)), text);
});

t.test("formatElapsed() counts hours past a day", async (t) => {
  const table = {
    0: "0:00:00",
    999: "0:00:00",
    40_000: "0:00:40",
    3_723_000: "1:02:03",
    93_784_000: "26:03:04",
    360_000_000: "100:00:00",
  };
  for (const [ms, text] of Object.entries(table)) t.equal(formatElapsed(Number(ms)), text);
  t.equal(formatElapsed(-5), "0:00:00");
});

t.test("parseSize() takes bytes with or without a unit", async (t) => {
  const good = {
    "64MiB": 2 ** 26,
    "500kB": 500_000,
    "1.5GiB": 1.5 * 2 ** 30,
    "4096": 4096,
    "4096B": 4096,
    "0": 0,
    "1mib": 2 ** 20,
  };
  for (const [text, bytes] of Object.entries(good)) t.equal(parseSize(text), bytes, text);
  for (const text of ["", "MiB", "-1", "1 MiB", "64M", "64MiBs", "1e6", "0x10"]) {
    t.equal(parseSize(text), undefined, text);
  }
});

t.test("formatSize() shows one decimal at most", async (t) => {
  for (
    const [bytes, text] of [[0, "0B"], [512, "512B"], [1536, "1.5KiB"], [2 ** 26, "64MiB"], [
      2 ** 40,
      "1TiB",
    ]] as const
  ) {
    t.equal(formatSize(bytes), text);
  }
});

const missing = { host: "0.0.0.0", port: 5050 };

t.test("parseAddress() fills in what is left out", async (t) => {
  const good = {
    "10.0.0.5": ["10.0.0.5", 5050],
    "web1": ["web1", 5050],
    ":6000": ["0.0.0.0", 6000],
    "web1:6000": ["web1", 6000],
    ":0": ["0.0.0.0", 0],
    "[::1]": ["::1", 5050],
    "[::1]:6000": ["::1", 6000],
    "::1": ["::1", 5050],
    "fe80::1%eth0": ["fe80::1%eth0", 5050],
    "[fe80::1%eth0]:1": ["fe80::1%eth0", 1],
  };
  for (const [text, [host, port]] of Object.entries(good)) {
    t.same(parseAddress(text, missing), { host, port }, text);
  }
  for (
    const text of [
      "",
      ":",
      "web1:",
      "web1:x",
      "web1:70000",
      "[web1]:1",
      "[::1",
      "::1]:5",
      "a b:1",
      "http://web1:1",
      "web1:-1",
      "1:2:3",
      "[:::]:1",
      // A pattern with a choice at each colon would still be at it tomorrow.
      ":".repeat(100_000),
    ]
  ) {
    t.equal(parseAddress(text, missing), undefined, text);
  }
});

t.test("formatAddress() writes what parseAddress() reads", async (t) => {
  for (const text of ["10.0.0.5:5050", "[::1]:6000", "web1:1"]) {
    t.equal(formatAddress(parseAddress(text, missing)!), text);
  }
});

t.test("isLoopback() knows this machine from others", async (t) => {
  for (const host of ["127.0.0.1", "127.9.9.9", "::1", "localhost"]) t.ok(isLoopback(host), host);
  for (const host of ["0.0.0.0", "::", "10.0.0.5", "127.0.0.1.example.com", "web1"]) {
    t.notOk(isLoopback(host), host);
  }
});

const rateTexts: readonly (readonly [string, number | undefined, string])[] = [
  ["500/s", 500, "500/s"],
  ["100/m", 100 / 60, "100/m"],
  ["10/h", 10 / 3_600, "10/h"],
  ["0.5/s", 0.5, "30/m"],
  ["2.5/s", 2.5, "150/m"],
  ["1000000/s", 1_000_000, "1000000/s"],
  ["500", undefined, ""],
  ["1e3/s", undefined, ""],
  ["-1/s", undefined, ""],
  ["5/d", undefined, ""],
  ["", undefined, ""],
];
for (const [text, perSecond, shown] of rateTexts) {
  t.test(`parseRate("${text}"), and formatRate() of it`, async (t) => {
    t.equal(parseRate(text), perSecond);
    if (perSecond !== undefined) t.equal(formatRate(perSecond), shown);
  });
}

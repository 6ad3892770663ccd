import { tokenFault } from "../../../src/cli/token.ts";
import { UsageError } from "../../../src/lib/errors.ts";
import { printable, reported, safeJson, shownCharsMax } from "../../../src/lib/text.ts";
import {
  formatAddress,
  formatDuration,
  formatElapsed,
  formatSize,
  isLoopback,
  parseAddress,
  parseDuration,
  parseSize,
} from "../../../src/lib/units.ts";
import { checkKey } from "../../../src/state/disk.ts";
import { amplifyBytes, join, mutateBytes } from "../mutate.ts";
import { must, outcomeOf, quietly, type Target } from "../target.ts";
import { faultOfShown, movesCursor } from "./text.ts";

// A byte that says which value, then its text.

const missing = { host: "127.0.0.1", port: 5050 };

/** For each: reads the text, judges what came of it, and says it. */
const readers: readonly ((text: string) => string)[] = [
  (text) => {
    const address = parseAddress(text, missing);
    if (address === undefined) return "no address";
    const { host, port } = address;
    must(
      port >= 0 && port <= 65_535 && host !== "" && !/[\s[\]]/.test(host),
      `the address ${JSON.stringify(address)}`,
    );
    const again = parseAddress(formatAddress(address), missing);
    must(again?.host === host && again.port === port, `${formatAddress(address)} is read as another address`);
    return `address${isLoopback(host) ? " of this machine" : ""}\n${formatAddress(address)}`;
  },
  (text) => {
    const ms = parseDuration(text);
    if (ms === undefined) return "no duration";
    must(ms >= 0, `${ms} ms`);
    must(
      Number.isFinite(ms) ? formatDuration(ms).length + formatElapsed(ms).length < 80 : true,
      "it is shown in a few characters",
    );
    return `duration\n${ms}`;
  },
  (text) => {
    const bytes = parseSize(text);
    if (bytes === undefined) return "no size";
    must(bytes >= 0, `${bytes} bytes`);
    const again = parseSize(formatSize(bytes));
    must(
      bytes > 2 ** 50 || (again !== undefined && Math.abs(again - bytes) <= bytes * 0.05),
      `${formatSize(bytes)} is another size`,
    );
    return `size\n${bytes}`;
  },
  (text) => {
    const checked = outcomeOf(() => checkKey(text), UsageError);
    must(
      "value" in checked === /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(text) &&
        !("value" in checked && text.endsWith("\n")),
      "the rule of keys",
    );
    if ("value" in checked) return "key";
    must(faultOfShown(checked.error.message) === null, `${faultOfShown(checked.error.message)}`);
    return "no key";
  },
  (text) => `token ${tokenFault(text) ?? "is one"}`,
  (text) => {
    const shown = printable(text);
    must(shown.length <= shownCharsMax, `${shown.length} characters`);
    must(faultOfShown(shown) === null, "what is shown cannot move the cursor");
    must(printable(shown) === shown, "shown twice it is the same");
    const head = text.slice(0, 10_000);
    const json = safeJson(JSON.stringify(head));
    must(!movesCursor(json), "nor can JSON");
    must(JSON.parse(json) === head, "and it is the same to a machine");
    const report = reported(head, [head]);
    must(!movesCursor(report.replaceAll("\n", "")), "nor can a report");
    must(/^taskmaster: [^\n]*\n(?:(?: {2}[^\n]*)?\n)*$/.test(report), "whose lines are its own");
    return `${shown === text ? "as it is" : "changed"}\n${shown}`;
  },
];

function reading(input: Uint8Array): () => string {
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(input.subarray(1));
  return () => readers[(input[0] ?? 0) % readers.length]!(text);
}

const samples: readonly (readonly string[])[] = [
  ["h", ":80", "h:1", "[::1]:5050", "fe80::1%eth0", "10.0.0.5:65535", "[v6]", "1:2:3", ""],
  ["500ms", "1.5m", "1h30m", "0s", "99999999999999999999d", "1e3s"],
  ["64MiB", "4096", "1.5GiB", "500kB", "0B", "1e3"],
  ["posts", "a.b-c_d", ".a", "../x", "a".repeat(64), "a".repeat(65), "a\n"],
  [
    "9f86d081884c7d659a2feaa0c55ad015",
    "0123456789abcdef0123456789abcdef",
    "short",
    "",
    "with space in it and long enough",
  ],
  ["plain", "\x1b[31m", "a\u202eb", "\ud83d\ude00".repeat(150), "x".repeat(500), "\n\t\u2028"],
];
const dictionary = [
  ":",
  "[",
  "]",
  "%",
  ".",
  "ms",
  "MiB",
  "\n",
  "\u2028",
  "\u202e",
  "\ud83d\ude00",
  "::",
  "0",
  "e",
]
  .map((text) => new TextEncoder().encode(text));

export const values: Target = {
  name: "values",
  subject: (input) => quietly(reading(input)),
  check: (input) => `${(input[0] ?? 0) % readers.length}: ${reading(input)()}`,
  seeds: () =>
    samples.flatMap((texts, which) =>
      texts.map((text) => join(Uint8Array.of(which), new TextEncoder().encode(text)))
    ),
  mutate: (input, random, other) => mutateBytes(input, random, other, dictionary),
  amplify: amplifyBytes,
};

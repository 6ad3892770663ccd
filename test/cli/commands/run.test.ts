import t from "tap";
import { LocalSlave } from "../../../src/cli/commands/run.ts";

t.test("a slave whose start throws is one that ended: another one is started", async (t) => {
  const lines: string[] = [];
  const slave = new LocalSlave({
    args: ["\0"], // no program can be given this
    without: [],
    tokenText: "mV8tQ2zXw5LrJ9pKs3HdYc7NbF4gTe6U",
    onLine: () => {},
    onStart: () => {},
    isEnding: () => false,
    onHopeless: (exitCode) => t.fail(`exit code ${exitCode}`),
    log: (level, message) => void lines.push(`${level}: ${message}`),
  });
  t.match(lines, [/^warn: This machine's slave ended \(cannot be started: .*\); starting another one$/]);
  await slave.end(false);
});

import t from "tap";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { runtimes } from "../kit/runtimes.ts";
import { row, type Stage } from "./stage.ts";

t.jobs = 2;

const plugin = `
import { appendFileSync } from "node:fs";
console.log("the plugin talks");
export const args = {
  end: { type: "integer", required: true, help: "the last id" },
  record: { required: true, identity: false },
  dry: { type: "boolean", default: false, identity: false },
};
const note = (record, who, { end, dry }) => appendFileSync(record, [who, typeof end, end, dry].join(" ") + "\\n");
export function* getJobs(last = 0, { args }) {
  note(args.record, "getJobs", args);
  for (let id = last + 1; id <= args.end; id++) yield id;
}
export const setup = ({ args }) => note(args.record, "setup", args);
export const handleJob = (id, { args }) => note(args.record, "job", args);
export const onFinish = (_, { args }) => note(args.record, "onFinish", args);
`;

function run(stage: Stage, path: string, words: readonly string[]) {
  const folder = join(stage.folder, "state");
  mkdirSync(folder, { recursive: true });
  const own = ["--state-dir", folder, "--host", "127.0.0.1:0", "--procs", "1", "--json"];
  return stage.start(runtimes.binary, ["run", path, ...words, ...own]);
}

row(
  "every function of a plugin gets its arguments typed, at the master and in a worker",
  async (t, stage) => {
    const path = stage.write("p.mjs", plugin);
    const record = `record=${stage.folder}/record`;
    const program = run(stage, path, ["end=2", record, "dry=true"]);
    t.equal(await program.ended, 0, program.stderr);
    const seen = new Set(stage.read("record").toString().trimEnd().split("\n"));
    t.same(
      [...seen].sort(),
      ["getJobs", "job", "onFinish", "setup"].map((who) => `${who} number 2 true`),
    );
    const other = run(stage, path, ["end=2", `${record}2`]);
    t.equal(await other.ended, 0, "one with `identity: false` may differ at a resume, or be left out");
    t.match(other.ending(), { done: 2 });
    const locked = run(stage, path, ["end=3", record]);
    t.equal(await locked.ended, 6, "another value of one of the identity is another run");
    t.notMatch(locked.stderr, /record=/);
  },
);

row("a wrong argument ends the start before there is a state, a lock or a port", async (t, stage) => {
  const path = stage.write("p.mjs", plugin);
  for (
    const [words, message] of [
      [["end=2", "recrod=x"], /no argument "recrod"\. Did you mean record\?/],
      [["record=x"], /end \(the last id\) is missing/],
      [["end=two", "record=x"], /end takes an integer .*, not "two"/],
    ] as const
  ) {
    const program = run(stage, path, words);
    t.equal(await program.ended, 2, words.join(" "));
    t.match(program.stderr, message);
    t.notMatch(program.stderr, /server running/);
    t.same(readdirSync(join(stage.folder, "state")), []);
  }
});

row("help of a plugin lists its arguments, and stdout has nothing else", async (t, stage) => {
  const path = stage.write("p.mjs", plugin);
  const program = stage.start(runtimes.binary, ["help", path]);
  t.equal(await program.ended, 0, program.stderr);
  t.equal(
    program.stdout,
    `The plugin p.mjs exports getJobs, handleJob, setup, onFinish, args.

Arguments, behind the plugin:
  end=INTEGER      the last id (required)
  record=TEXT      (required) (may differ when the run is resumed)
  dry=true|false   (default: false) (may differ when the run is resumed)
`,
  );
  t.match(program.stderr, /the plugin talks/);
  const without = stage.start(runtimes.binary, [
    "help",
    stage.write("q.mjs", "export const handleJob = () => {};"),
  ]);
  t.equal(await without.ended, 0, without.stderr);
  t.match(without.stdout, /no `args` export: any name=value words reach it/);
});

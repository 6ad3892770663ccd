import t from "tap";
import { HeldLog } from "../../src/lib/log.ts";

t.test("HeldLog keeps lines until it is let go, in their order, and none after that", async (t) => {
  const lines: string[] = [];
  const held = new HeldLog((level, message) => void lines.push(`${level} ${message}`));
  held.log("info", "joined");
  held.log("warn", "slow disk");
  t.same(lines, []);
  lines.push("greeting");
  held.flush();
  held.log("info", "left");
  held.flush();
  t.same(lines, ["greeting", "info joined", "warn slow disk", "info left"]);
});

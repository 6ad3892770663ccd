import t from "tap";
import { CheckpointVersions } from "../../src/core/run.ts";
import { SlaveSessions } from "../../src/core/sessions.ts";

t.test("saves that fail are forgotten in the end; the next one that succeeds covers all they did", async (t) => {
  const saves = new CheckpointVersions();
  const sessions = new SlaveSessions();
  const session = sessions.add(1, "s1", "s1", 0);
  for (session.answered = 1; session.answered <= 1_000; session.answered++) {
    saves.version++;
    saves.captured(sessions);
  }
  t.same([...saves.saved(1)], [], "the first one is forgotten by now");
  t.same([...saves.saved(saves.version - 1)], [[1, 999]]);
  t.equal(saves.isDirty, true);
  t.same([...saves.saved(saves.version)], [[1, 1_000]]);
  t.equal(saves.isDirty, false);
});

import type { Target } from "../target.ts";
import { args } from "./arguments.ts";
import { deadLetters } from "./dead_letters.ts";
import { frames } from "./frames.ts";
import { greetings, welcomes } from "./handshake.ts";
import { jobs } from "./jobs.ts";
import { lock } from "./lock.ts";
import { messages } from "./messages.ts";
import { session } from "./session.ts";
import { state } from "./state.ts";
import { values } from "./values.ts";
import { workers } from "./workers.ts";

export const targets: readonly Target[] = [
  frames,
  messages,
  jobs,
  greetings,
  welcomes,
  session,
  state,
  deadLetters,
  lock,
  workers,
  args,
  values,
];

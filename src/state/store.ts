/** What the rest of the program uses of this folder. */
export { openState, type OpenStateOptions } from "./open_state.ts";
export type { StateStore } from "./state_store.ts";
export { readState, type StateReport } from "./read_state.ts";
export { type DeadLetterRecord, type DeadLetters, readDeadLetters } from "./read_dead_letters.ts";
export type { Identity, Purpose } from "./identity.ts";
export { NoRoomError, SaveError } from "./save_error.ts";

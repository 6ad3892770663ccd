/** Limits of the files a run leaves on disk, with the unit in the name and the reason beside each. */

/** State bytes encoded, hashed and written in one step: some half a millisecond of the event loop. */
export const stateStepBytes = 256 << 10;
/** Stranded spans encoded in one piece: some half a millisecond even if each carries its failed attempts. */
export const stateSpansPerPiece = 128;
/** Fewest bytes of a state for each array, map or string: a span without a history takes five. */
export const stateBytesPerString = 3;
/** Most settings of an operator, and the longest text of one: a few words each, not data. */
export const settingsMax = 256;
export const settingTextCharsMax = 1_000;
/** Longest text of a job in a dead letter, for people, as it is written; its exact bytes stand beside it. */
export const deadLetterShownBytes = 4 << 10;
/** Most bytes of dead letters, where nothing else is said: a run that makes more has something wrong that no one looked at. */
export const maxDeadBytesDefault = 1 << 30;
/** Dead letters are written in groups of about this many bytes: one write each, bounded memory. */
export const deadLetterGroupBytes = 8 << 20;
/** How much of the dead letters a start looks at: more than are written between two states. */
export const lastLettersBytes = 64 << 20;
/** Longest wait for the holder of a lock to prove that it is a master; it may be stopped. */
export const lockAnswerMs = 1_000;
/** After a proof that did not hold: a master that took the lock just now may not have written its nonce yet. */
export const lockPauseMs = 50;
/** Most connections to the lock of a master at once, and the longest that one may take to ask: whoever starts asks at once. */
export const lockConnectionsMax = 8, lockAskMs = 500;
/** Longest note of a holder, and most that is read of whoever holds a lock. */
export const lockTextBytesMax = 4 << 10;
/** A master looks so often whether its note is there, when it is asked. */
export const lockNoteLookMs = 250;
/** How often the state of a master that may run elsewhere is looked at. */
export const foreignLookMs = 250;
/** How long it must stay unchanged: three heartbeats of the default length. */
export const foreignWatchMs = 15_000;

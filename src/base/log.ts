export type LogLevel = "debug" | "info" | "warn" | "error";

/** Where a part says what happened, for a person. `fields` are shown behind the message. */
export type Log = (level: LogLevel, message: string, fields?: Readonly<Record<string, unknown>>) => void;

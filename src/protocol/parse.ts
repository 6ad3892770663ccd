import { Buffer } from "node:buffer";
import { cborItemsMax } from "../lib/limits.ts";
import {
  bytesHead,
  checkDensity,
  decodeMessage,
  encode,
  FrameError,
  messageItemsMax,
  prescan,
  ValueWriter,
} from "./cbor.ts";
import { prefixBytes, writePrefix } from "./frames.ts";
import {
  controlReplies,
  type ControlReply,
  type ControlRequest,
  controlRequests,
  type Introduction,
  introduction,
  type MasterMessage,
  masterMessages,
  type Message,
  repeatedWords,
  type SlaveMessage,
  slaveMessages,
  type SupervisorMessage,
  supervisorMessages,
  type Welcome,
  welcome,
  type WorkerMessage,
  workerMessages,
} from "./messages.ts";
import { type Check, messageOf } from "./schema.ts";

type Parse<T> = (body: Uint8Array) => T;

/** Limits on the cost of decoding a body: most items, and fewest bytes for each array, map or string. */
type Density = Readonly<{ itemsMax: (byteLength: number) => number; bytesPerString: number | undefined }>;
const messageDensity: Density = { itemsMax: messageItemsMax, bytesPerString: undefined };
/** A control reply has rows of short names and small numbers. Its reader has verified the master. */
const replyDensity: Density = { itemsMax: () => cborItemsMax, bytesPerString: 4 };

/**
 * Each of these pre-scans, decodes and checks one body. The result has exactly the fields of its type; byte strings are
 * views of the body.
 *
 * @throws {FrameError} with a description if the bytes are not such a message; the session must then be closed.
 */
export const parseSlaveMessage: Parse<SlaveMessage> = parser(messageOf(slaveMessages));
export const parseMasterMessage: Parse<MasterMessage> = parser(messageOf(masterMessages));
export const parseSupervisorMessage: Parse<SupervisorMessage> = parser(messageOf(supervisorMessages));
export const parseWorkerMessage: Parse<WorkerMessage> = parser(messageOf(workerMessages));
export const parseControlRequest: Parse<ControlRequest> = parser(messageOf(controlRequests));
export const parseControlReply: Parse<ControlReply> = parser(messageOf(controlReplies), "", replyDensity);
/** WELCOME's body. Call only after its MAC was verified. */
export const parseWelcome: Parse<Welcome> = parser(welcome, "welcome");
/** AUTH's info. Call only after its MAC was verified. */
export const parseIntroduction: Parse<Introduction> = parser(introduction, "introduction");

function parser<T>(check: Check<T>, field = "", density = messageDensity): Parse<T> {
  return (body) => check(decodeChecked(body, density), field);
}

function decodeChecked(body: Uint8Array, { itemsMax, bytesPerString }: Density): unknown {
  prescan(body, { itemsMax: Math.min(cborItemsMax, itemsMax(body.length)) });
  checkDensity(body, repeatedWords, bytesPerString);
  try {
    return decodeMessage(body);
  } catch (error) {
    throw new FrameError("Cannot decode this message", { cause: error });
  }
}

/** Encodes a message as a whole frame, in a new buffer. */
export function encodeMessage(message: Message): Uint8Array {
  return Buffer.concat(encodeParts(message));
}

/**
 * Encodes a message as consecutive parts of a frame, without copying its jobs.
 *
 * @param jobs The content of a lease's or slice's `jobs`, in parts; the message's own `jobs` is then ignored.
 */
export function encodeParts(message: Message, jobs?: readonly Uint8Array[]): readonly Uint8Array[] {
  if (!("jobs" in message) || !(message.jobs instanceof Uint8Array)) return [framed(message)];
  const parts = jobs ?? [message.jobs];
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const { jobs: _, ...rest } = message;
  // Encode `jobs` as an empty byte string, drop its one byte, and append the real head and content.
  const empty = framed({ ...rest, jobs: new Uint8Array(0) }).subarray(0, -1);
  const head = Buffer.concat([empty, bytesHead(length)]);
  writePrefix(head, head.length - prefixBytes + length);
  return [head, ...parts];
}

/** Shared by all messages; frames limit their length. */
const writer = new ValueWriter(Infinity);
const noPrefix = new Uint8Array(prefixBytes);

function framed(message: object): Uint8Array {
  writer.length = 0; // the previous message may have failed half-way
  writer.copy(noPrefix);
  if (!writer.write(message)) writer.copy(encode(message));
  const bytes = writer.take();
  writePrefix(bytes, bytes.length - prefixBytes);
  return bytes;
}

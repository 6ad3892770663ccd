import { encode } from "../../../src/protocol/cbor.ts";
import { encodeMessage } from "../../../src/protocol/parse.ts";
import { senders } from "../../protocol/message_samples.ts";
import { introduction, welcome } from "../../protocol/samples.ts";

/** A body of every kind, with the number of its reader in messages.ts. */
export function messageSamples(): { reader: number; body: Uint8Array }[] {
  const bodies = senders.map(({ messages }) => messages.map((message) => encodeMessage(message).subarray(4)));
  // As the corpus numbers them: WELCOME and AUTH are 4 and 5.
  bodies.splice(4, 0, [encode(welcome)], [encode(introduction)]);
  return bodies.flatMap((set, reader) => set.map((body) => ({ reader, body })));
}

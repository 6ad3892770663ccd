// The only entry to CBOR: no other file imports cbor-x or the cbor_*.ts files. docs/cbor.md explains why there are two
// encoders and decoders, and what each is used for.

/** Encodes and decodes any value with cbor-x: the state file, handshakes, commands for people. */
export { decode, encode } from "./cbor_x.ts";

/** Decodes jobs laid one behind the other, in blocks and leases. */
export { decodeJobs } from "./cbor_reader.ts";
export { JobEncoder } from "./job_encoder.ts";
export { JobValueError } from "./job_fault.ts";

/** Decodes messages. */
export { decodeMessage } from "./cbor_reader.ts";
export { bytesHead } from "./cbor_shapes.ts";
export { ValueWriter } from "./cbor_writer.ts";

/** Checks untrusted bytes before they are decoded. */
export { checkDensity, FrameError, itemEnds, messageItemsMax, prescan, scanItem } from "./cbor_scan.ts";

// The one door to CBOR: nobody else imports cbor-x, or the files behind this one. docs/cbor.md says why there are two
// encoders and decoders, and which is used for what.

/** Any value, by cbor-x: the state file, handshakes, what a person looks at. */
export { decode, encode } from "./cbor_x.ts";

/** Jobs, one behind the other, in blocks and leases. */
export { decodeJobs } from "./cbor_reader.ts";
export { JobEncoder } from "./job_encoder.ts";
export { JobValueError } from "./job_fault.ts";

/** Messages. */
export { decodeMessage } from "./cbor_reader.ts";
export { bytesHead } from "./cbor_shapes.ts";
export { ValueWriter } from "./cbor_writer.ts";

/** Bytes from others, judged before they are decoded. */
export { checkDensity, FrameError, itemEnds, messageItemsMax, prescan, scanItem } from "./cbor_scan.ts";

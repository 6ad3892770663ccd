// Values to CBOR and back, as other folders use it.
export { decode, decodeJobs, encode } from "./cbor.ts";
export { JobEncoder, JobValueError } from "./job_encoder.ts";

const httpVerb = /^(GET|POST|PUT|HEAD|DELETE|OPTIONS|PATCH|CONNECT|TRACE|PRI) |^HTTP\//;

/** What bytes that are no greeting seem to be: "HTTP", "TLS", or nothing known. */
export function strangerOf(bytes: Uint8Array): "HTTP" | "TLS" | undefined {
  if (bytes[1] === 3 && (isTlsRecord(bytes) || bytes[0] === 0x15)) return "TLS";
  const begin = String.fromCharCode(...bytes.subarray(0, 8));
  return httpVerb.test(begin) ? "HTTP" : undefined;
}

/** Whether a client's first bytes begin a TLS handshake. */
export function isTlsRecord(bytes: Uint8Array): boolean {
  return bytes[0] === 0x16;
}

/** Whether they begin a message of this project's handshake. */
export function isGreeting(bytes: Uint8Array): boolean {
  return String.fromCharCode(...bytes.subarray(0, 10)) === "taskmaster";
}

const httpVerb = /^(GET|POST|PUT|HEAD|DELETE|OPTIONS|PATCH|CONNECT|TRACE|PRI) |^HTTP\//;

/** What bytes that are no greeting seem to be: "HTTP", "TLS", or nothing known. */
export function strangerOf(bytes: Uint8Array): "HTTP" | "TLS" | undefined {
  if (bytes[0] === 0x16 && bytes[1] === 0x03) return "TLS";
  const begin = String.fromCharCode(...bytes.subarray(0, 8));
  return httpVerb.test(begin) ? "HTTP" : undefined;
}

/**
 * What an error of TLS before the welcome means, as the end of a sentence, if trying again cannot help; undefined for
 * all others, those of the network among them. Runtimes share these codes, though not their texts.
 */
export function hopelessTlsFault(code: string | undefined): string | undefined {
  switch (code) {
    case "ERR_SSL_WRONG_VERSION_NUMBER":
      return "what answers there does not speak TLS; start this slave without TLS options, or the master with --tls-cert " +
        "and --tls-key";
    case "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION":
    case "ERR_SSL_UNSUPPORTED_PROTOCOL":
      return "what answers there speaks only TLS before 1.3";
    case "ERR_SSL_BAD_SIGNATURE":
    // Deno's name for it; of a chain it says nothing here, for that is judged later.
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
      return "what answers there shows a certificate whose key it does not hold: something on the way poses as the master";
    case "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED":
    case "ERR_SSL_TLSV1_ALERT_CERTIFICATE_REQUIRED":
      return "it asks for a client certificate; give one with --tls-cert and --tls-key";
    default:
      return undefined;
  }
}

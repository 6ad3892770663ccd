import { hanging, type Mutant, quickTest, test } from "./mutant.ts";

const distrust = "a certificate that is not trusted is refused for good, and the sentence says what was seen";

/** TLS: who is let in by which certificate. */
export const tlsMutants: readonly Mutant[] = [
  {
    name: "the certificate is not in the proof: a relay with another one is served",
    patches: [{
      file: "src/protocol/handshake.ts",
      find: "    proof.certificateHash,\n",
      replace: "",
    }],
    checks: [
      quickTest(
        "link/tls",
        "a relay with another certificate of the same CA is refused by the proof of the token",
      ),
    ],
  },
  {
    name: "a slave takes any certificate for the pinned one",
    patches: [{
      file: "src/link/tls.ts",
      find: "return isSameBytes(this.#trust.hash, hash)",
      replace: "return isSameBytes(hash, hash)",
    }],
    checks: [test("link/tls", distrust)],
  },
  {
    name: "a slave does not look at CA, name and dates",
    patches: [{
      file: "src/link/tls.ts",
      find: "if (socket.authorized === true) return { hash };",
      replace: "if (socket.encrypted) return { hash };",
    }],
    checks: [test("link/tls", distrust)],
  },
  {
    name: "a master does not look at the CA of its slaves' certificates",
    patches: [{
      file: "src/link/tls.ts",
      find: "if (socket.authorized === true) return undefined;",
      replace: "if (socket.encrypted) return undefined;",
    }],
    checks: [test("link/tls", "--tls-ca at a master lets in only slaves with a certificate of that CA")],
  },
  {
    name: "a master speaks older TLS as well",
    patches: [{
      file: "src/link/tls.ts",
      find: '      key,\n      minVersion: "TLSv1.3",\n',
      replace: "      key,\n",
    }],
    checks: [test("link/tls", "only TLS 1.3 is spoken")],
  },
  {
    name: "who connects to a TLS port and says nothing is never told what is spoken there",
    patches: [{
      file: "src/link/listen.ts",
      find: "      else handshake.tick(nowMs);\n",
      replace: "",
    }],
    checks: [hanging(test("link/tls", "before TLS is spoken the queue's limits hold"))],
  },
];

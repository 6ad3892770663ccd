import t from "tap";
import { tlsCases } from "./tls_cases.ts";

for (const [what, run] of Object.entries(tlsCases)) t.test(what, { timeout: 20_000 }, run);

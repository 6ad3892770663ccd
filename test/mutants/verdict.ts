/** `failed` is what failed first, null if all held; `output` is for who wonders why. */
export type Verdict = Readonly<{ failed: string | null; output: string }>;

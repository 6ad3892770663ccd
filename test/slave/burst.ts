/** A plugin whose jobs all fail in one turn, once so many run. */
const count = 2_500;
let running = 0;
let fail: (error: Error) => void = () => {};
const failed = new Promise<never>((_, reject) => fail = reject);

export async function handleJob(): Promise<void> {
  if (++running === count) setTimeout(() => fail(new Error("now")), 10);
  try {
    await failed;
  } catch {
    const error = new Error("m".repeat(1_000));
    error.stack = Array.from({ length: 45 }, () => "s".repeat(80)).join("\n");
    throw error;
  }
}

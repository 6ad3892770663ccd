/** Waits until a condition holds that only the disk can tell; rejects after half a minute, or what is given. */
export async function until(condition: () => boolean, what: string, msMax = 30_000): Promise<void> {
  const deadline = Date.now() + msMax;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`It never came to this: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

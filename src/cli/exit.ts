/** Ends the process once stdout and stderr have taken what was written, whatever else is still open. */
export async function exit(code: number): Promise<never> {
  // A reader that went away is no reason to stay.
  await Promise.all(
    [process.stdout, process.stderr].map((stream) =>
      new Promise<void>((resolve) => stream.write("", () => resolve()))
    ),
  );
  process.exit(code);
}

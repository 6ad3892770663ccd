/** A platform that `bun build --compile` can make a binary for. */
export type Target = Readonly<{
  /** What the file is called: `taskmaster-<name>`. */
  name: string;
  /** What Bun calls it. */
  bun: string;
}>;

export const targets: readonly Target[] = [
  { name: "linux-x64", bun: "bun-linux-x64" },
  { name: "linux-arm64", bun: "bun-linux-arm64" },
  { name: "linux-x64-musl", bun: "bun-linux-x64-musl" },
  { name: "linux-arm64-musl", bun: "bun-linux-arm64-musl" },
  { name: "darwin-x64", bun: "bun-darwin-x64" },
  { name: "darwin-arm64", bun: "bun-darwin-arm64" },
  { name: "windows-x64", bun: "bun-windows-x64" },
];

/** The two sizes of job that are measured: `{ id }`, and a row. */
export type Shape = "small" | "row";

export const shapes: readonly Shape[] = ["small", "row"];

/** What makes job number `id` of a shape. @throws {RangeError} if there is none of this name. */
export function makerOf(shape: string): (id: number) => Record<string, unknown> {
  if (shape === "row") return row;
  if (shape === "small") return (id) => ({ id });
  throw new RangeError(`Cannot make jobs: the shape "${shape}" is neither "small" nor "row".`);
}

/** A job of about 230 encoded bytes, as a database row would be. bench/peers/rows.py makes the same. */
export function row(id: number): Record<string, unknown> {
  return {
    id,
    title: `How we moved ${id} rows on a Sunday afternoon`,
    author: { id: id % 1000, name: "Ada Lovelace", email: "ada@example.com" },
    tags: ["databases", "migrations", "typescript"],
    createdAt: 1_700_000_000_000 + id,
    views: id * 7,
    published: true,
    slug: `how-we-moved-${id}-rows`,
  };
}

/**
 * A set of whole numbers (job seqs) as half-open intervals, flat: `[from, to, from, to, ...]`, ascending,
 * neither empty nor touching. `[]` is the empty set; `[3, 5, 9, 10]` is 3, 4 and 9.
 */
export type Ranges = readonly number[];

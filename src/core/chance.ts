/**
 * How likely it is that none of `tested` and `ok` of `others` succeed, were all of them equally likely to: of all ways to
 * place the successes, those where all are among the others.
 */
export function chanceOf(tested: number, others: number, ok: number): number {
  let chance = 1;
  for (let i = 0; i < ok; i++) chance *= (others - i) / (tested + others - i);
  return chance;
}

import { UsageError } from "../base/errors.ts";
import { printable } from "../base/printable.ts";

const keyRule = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/**
 * A key becomes part of file names, so it can neither leave its folder nor hide, nor be longer than names may be.
 *
 * @throws {UsageError} naming the rule.
 */
export function checkKey(key: string): void {
  if (keyRule.test(key)) return;
  throw new UsageError(
    `Cannot use the key "${
      printable(key, 80)
    }": a key is 1 to 64 letters, digits, ".", "_" or "-", and begins with a letter or a ` +
      `digit. Give one with --key.`,
  );
}

/**
 * Finds the imports in the text of a module, TypeScript or JavaScript, as every runtime does in its own way: the same
 * text gives the same list under all of them, and no parser is loaded for it at each start of a worker.
 *
 * Static imports and re-exports count, and `import()` and `require()` of a literal; what TypeScript erases as a whole
 * (`import type`, `export type`) does not. A specifier that is computed is not seen.
 *
 * This reads tokens, not grammar. Where it cannot tell a regular expression from a division, or meets the text of JSX,
 * a token that its line does not end is taken for a single character: a mistake ends with its line.
 */
export function scanImports(text: string): string[] {
  const found = new Set<string>();
  const tokens = new Tokens(text);
  let before: Token = start;
  for (let token = tokens.next(); token !== null; before = token, token = tokens.next()) {
    if (token.kind !== "word" || before.text === "." || before.text === "?.") continue;
    const specifier = readers.get(token.text)?.(tokens);
    if (specifier !== undefined) found.add(specifier);
  }
  return [...found];
}

/** Whether there is a decorator in the text of a module. */
export function hasDecorators(text: string): boolean {
  const tokens = new Tokens(text);
  for (let token = tokens.next(); token !== null; token = tokens.next()) {
    if (token.kind === "mark" && token.text === "@") return true;
  }
  return false;
}

/** `text` of a string or a template without substitutions is its value, of others what is written. */
type Token = Readonly<{ kind: "word" | "mark" | "string" | "template" | "regex"; text: string }>;

const start: Token = { kind: "mark", text: ";" };

/** Each looks ahead and leaves the place where it is, so that nothing within the clause is passed over. */
const readers: ReadonlyMap<string, (tokens: Tokens) => string | undefined> = new Map([
  ["import", (tokens: Tokens) => tokens.ahead(importedBy)],
  ["export", (tokens: Tokens) => tokens.ahead(exportedFrom)],
  ["require", (tokens: Tokens) => tokens.ahead((next) => next()?.text === "(" ? literal(next) : undefined)],
]);

type Next = () => Token | null;

/** Behind `import`. */
function importedBy(next: Next): string | undefined {
  const first = next();
  if (first === null) return undefined;
  if (first.kind === "string") return first.text;
  if (first.text === "(") return literal(next);
  if (first.text === ".") return phased(next);
  if (first.text !== "type") return behindFrom(first, next);
  const second = next();
  // `import type from "x"` and `import type, { a } from "x"` import a value of that name.
  if (second?.text === ",") return behindFrom(second, next);
  if (second?.text !== "from") return undefined;
  const third = next();
  return third?.kind === "string" ? third.text : undefined;
}

/** Behind `import.`: `import.source("x")`, `import.defer("x")`; `import.meta` names no module. */
function phased(next: Next): string | undefined {
  const phase = next()?.text;
  if (phase !== "source" && phase !== "defer") return undefined;
  return next()?.text === "(" ? literal(next) : undefined;
}

/** Behind `export`. */
function exportedFrom(next: Next): string | undefined {
  const first = next();
  return first?.text === "*" || first?.text === "{" ? behindFrom(first, next) : undefined;
}

/** Behind an opening bracket: the literal that is the first argument. */
function literal(next: Next): string | undefined {
  const argument = next();
  if (argument?.kind !== "string" && argument?.kind !== "template") return undefined;
  const after = next()?.text;
  return after === ")" || after === "," ? argument.text : undefined;
}

/** The string behind the `from` that ends the clause which `first` begins. */
function behindFrom(first: Token, next: Next): string | undefined {
  let isInBraces = false;
  for (let token: Token | null = first; token !== null; token = next()) {
    if (token.text === "{" || token.text === "}") isInBraces = token.text === "{";
    else if (token.kind === "mark" && token.text !== "," && token.text !== "*") return undefined;
    if (isInBraces || token.text !== "from" || token.kind !== "word") continue;
    const source = next();
    if (source?.kind === "string") return source.text;
    // `import from from "x"`, and nothing else, may go on.
    if (source === null || source.text !== "from") return undefined;
    token = source;
    const last = next();
    return last?.kind === "string" ? last.text : undefined;
  }
  return undefined;
}

/** After these words, and after the bracket behind them that closes, a slash begins a regular expression. */
const wordsBeforeRegex = new Set(
  "return typeof case in of delete void throw new else do await yield instanceof default extends".split(" "),
);
const wordsBeforeCondition = new Set(["if", "while", "for", "with"]);
/** After these a brace opens a block, behind which a slash begins a regular expression. */
const marksBeforeBlock = new Set([")", ";", "{", "}"]);
const wordsBeforeBlock = new Set(["else", "do", "try", "finally"]);

/** A bracket that is open. `isTemplate`: it is that of `${`. */
type Bracket = Readonly<{ isCondition: boolean; isBlock: boolean; isTemplate: boolean }>;

class Tokens {
  readonly #text: string;
  #at: number;
  /** The token before the place. */
  #before: Token = start;
  /** Whether a slash at the place begins a regular expression. */
  #mayBeRegex = true;
  #open: Bracket[] = [];

  constructor(text: string) {
    this.#text = text;
    this.#at = text.startsWith("#!") ? endOfLine(text, 0) : 0;
  }

  /** Calls `look` with what comes, and comes back to this place. */
  ahead<T>(look: (next: Next) => T): T {
    const [at, before, mayBeRegex, open] = [this.#at, this.#before, this.#mayBeRegex, [...this.#open]];
    const result = look(() => this.next());
    [this.#at, this.#before, this.#mayBeRegex, this.#open] = [at, before, mayBeRegex, open];
    return result;
  }

  /** Null at the end. */
  next(): Token | null {
    this.#skipSpace();
    if (this.#at >= this.#text.length) return null;
    const token = this.#read(this.#text.charCodeAt(this.#at));
    this.#before = token;
    return token;
  }

  #skipSpace(): void {
    const text = this.#text;
    for (; this.#at < text.length; this.#at++) {
      const code = text.charCodeAt(this.#at);
      if (isSpace(code)) continue;
      if (code !== codes.slash) return;
      const second = text.charCodeAt(this.#at + 1);
      if (second === codes.slash) this.#at = endOfLine(text, this.#at);
      else if (second !== codes.star) return;
      else {
        const end = text.indexOf("*/", this.#at + 2);
        this.#at = end < 0 ? text.length : end + 1;
      }
    }
  }

  #read(code: number): Token {
    if (isWordPart(code)) return this.#word();
    switch (code) {
      case codes.double:
      case codes.single:
        return this.#string(code);
      case codes.back:
        return this.#template(this.#at + 1) ?? this.#mark();
      case codes.slash:
        return this.#regex() ?? this.#mark();
      default:
        return this.#mark();
    }
  }

  #word(): Token {
    const from = this.#at;
    while (this.#at < this.#text.length && isWordPart(this.#text.charCodeAt(this.#at))) this.#at++;
    const text = this.#text.slice(from, this.#at);
    this.#mayBeRegex = wordsBeforeRegex.has(text) && !isMember(this.#before);
    return { kind: "word", text };
  }

  /** One that its line does not end is the apostrophe of a text of JSX. */
  #string(quote: number): Token {
    const text = this.#text;
    for (let at = this.#at + 1; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (code === codes.backslash) {
        // A line break of two characters may be escaped too.
        at += text.startsWith("\r\n", at + 1) ? 2 : 1;
      } else if (code === quote) {
        const value = unescaped(text.slice(this.#at + 1, at));
        this.#at = at + 1;
        this.#mayBeRegex = false;
        return { kind: "string", text: value };
      } else if (isLineEnd(code)) break;
    }
    return this.#mark();
  }

  /** From behind its backquote, or behind the brace that ends a substitution; null if it has no end. */
  #template(from: number): Token | null {
    const text = this.#text;
    for (let at = from; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (code === codes.backslash) at++;
      else if (code === codes.back) {
        const isWhole = text.charCodeAt(from - 1) === codes.back;
        this.#at = at + 1;
        this.#mayBeRegex = false;
        return isWhole
          ? { kind: "template", text: unescaped(text.slice(from, at)) }
          : { kind: "mark", text: "`" };
      } else if (code === codes.dollar && text.charCodeAt(at + 1) === codes.brace) {
        this.#at = at + 2;
        this.#mayBeRegex = true;
        this.#open.push({ isCondition: false, isBlock: false, isTemplate: true });
        return { kind: "mark", text: "${" };
      }
    }
    return null;
  }

  /** Null if it is a division, or the end of a tag. */
  #regex(): Token | null {
    if (!this.#mayBeRegex) return null;
    const text = this.#text;
    let isInClass = false;
    for (let at = this.#at + 1; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (isLineEnd(code)) return null;
      if (code === codes.backslash) at++;
      else if (code === codes.square) isInClass = true;
      else if (code === codes.squareEnd) isInClass = false;
      else if (code === codes.slash && !isInClass) {
        this.#at = at + 1;
        this.#mayBeRegex = false;
        return { kind: "regex", text: "/" };
      }
    }
    return null;
  }

  #mark(): Token {
    const mark = this.#text[this.#at++]!;
    switch (mark) {
      case "(":
      case "[":
      case "{":
        this.#opened(mark);
        break;
      case ")":
      case "]":
        this.#mayBeRegex = this.#open.pop()?.isCondition ?? false;
        break;
      case "}":
        return this.#braceClosed();
      case "?":
        this.#mayBeRegex = true;
        if (this.#text[this.#at] !== ".") break;
        this.#at++;
        return { kind: "mark", text: "?." };
      case "+":
      case "-":
        // Behind `i++` and `i--` there is a division.
        this.#mayBeRegex = this.#text[this.#at - 2] !== mark;
        break;
      case "!":
        // `value! / 2` of TypeScript
        this.#mayBeRegex = !isValue(this.#before);
        break;
      default:
        this.#mayBeRegex = true;
    }
    return { kind: "mark", text: mark };
  }

  #opened(mark: string): void {
    const { kind, text } = this.#before;
    const isCondition = mark === "(" && kind === "word" && wordsBeforeCondition.has(text);
    const isBlock = mark === "{" &&
      (kind === "word" ? wordsBeforeBlock.has(text) : marksBeforeBlock.has(text));
    this.#open.push({ isCondition, isBlock, isTemplate: false });
    this.#mayBeRegex = true;
  }

  #braceClosed(): Token {
    const bracket = this.#open.pop();
    this.#mayBeRegex = bracket?.isBlock ?? true;
    if (bracket?.isTemplate) return this.#template(this.#at) ?? { kind: "mark", text: "}" };
    return { kind: "mark", text: "}" };
  }
}

/** Whether a word behind it is the name of a member, and no keyword. */
function isMember({ text, kind }: Token): boolean {
  return kind === "mark" && (text === "." || text === "?.");
}

/** Whether a mark behind it may come after a value. */
function isValue({ kind, text }: Token): boolean {
  if (kind === "word") return !wordsBeforeRegex.has(text);
  return kind !== "mark" || text === ")" || text === "]" || text === "`";
}

const codes = {
  double: 34,
  dollar: 36,
  single: 39,
  star: 42,
  slash: 47,
  square: 91,
  backslash: 92,
  squareEnd: 93,
  back: 96,
  brace: 123,
} as const;

function endOfLine(text: string, from: number): number {
  let at = from;
  while (at < text.length && !isLineEnd(text.charCodeAt(at))) at++;
  return at;
}

function isLineEnd(code: number): boolean {
  return code === 10 || code === 13 || code === 0x2028 || code === 0x2029;
}

function isSpace(code: number): boolean {
  return code === 32 || (code >= 9 && code <= 13) || code === 0xa0 || code === 0xfeff || isLineEnd(code) ||
    code === 0x1680 || (code >= 0x2000 && code <= 0x200a) || code === 0x202f || code === 0x205f ||
    code === 0x3000;
}

/** Letters, digits, `$`, `_`, `#`, and all that is not ASCII. */
function isWordPart(code: number): boolean {
  if (code > 127) return !isSpace(code);
  return (code >= 97 && code <= 122) || (code >= 65 && code <= 90) || (code >= 48 && code <= 57) ||
    code === 95 ||
    code === 36 || code === 35;
}

const escapes: Readonly<Record<string, string>> = {
  n: "\n",
  t: "\t",
  r: "\r",
  b: "\b",
  f: "\f",
  v: "\v",
  "0": "\0",
};

/** What a string with escapes stands for. */
function unescaped(raw: string): string {
  if (!raw.includes("\\")) return raw;
  return raw.replace(
    /\\(?:u\{([0-9a-f]{1,6})\}|u([0-9a-f]{4})|x([0-9a-f]{2})|(\r\n|[^]))/gi,
    (all, long, short, two, one) => {
      if (one === undefined) {
        const code = Number.parseInt(long ?? short ?? two, 16);
        return code > 0x10ffff ? all : String.fromCodePoint(code);
      }
      return escapes[one] ?? (/[\r\n\u2028\u2029]/.test(one) ? "" : one);
    },
  );
}

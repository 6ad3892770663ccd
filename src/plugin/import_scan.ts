/**
 * Finds the imports in the text of a module, TypeScript or JavaScript, as every runtime does in its own way: the same
 * text gives the same list under all of them, and no parser is loaded for it at each start of a worker.
 *
 * Static imports and re-exports count, and what `import()`, `require()` and `new Worker()` are given as a literal: also
 * one of several (`a ? "./x.ts" : "./y.ts"`), and inside of `new URL("./x.ts", import.meta.url)`. What TypeScript
 * erases as a whole (`import type`, `export type`) does not. A specifier that is computed is not seen.
 *
 * This reads tokens, not grammar. Where it cannot tell a regular expression from a division, or meets the text of JSX,
 * a token that its line does not end is taken for a single character: a mistake ends with its line.
 */
export function scanImports(text: string): string[] {
  const found = new Set<string>();
  const tokens = new Tokens(text);
  const requires = requiresIn(text);
  let before: Token = start;
  for (let token = tokens.next(); token !== null; before = token, token = tokens.next()) {
    if (token.kind !== "word") continue;
    const isOwn = before.text !== "." && before.text !== "?.";
    const read = requires.has(token.text) && isOwn ? required : readers.get(token.text);
    if (read === undefined || (!isOwn && read !== requiredBy)) continue;
    for (const specifier of tokens.ahead(read)) found.add(specifier);
  }
  return [...found];
}

/** The names by which a module calls `require`, including variables that hold a result of `createRequire`. */
function requiresIn(text: string): ReadonlySet<string> {
  const names = new Set(["require"]);
  if (!text.includes("createRequire")) return names;
  const given = /([\w$]+)\s*(?::[^=;\n]*)?=\s*(?:[\w$]+\s*\.\s*)?createRequire\s*\(/g;
  for (const [, name] of text.matchAll(given)) names.add(name!);
  return names;
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

type Next = () => Token | null;
/** Reads the tokens after a keyword and returns the specifiers found there. */
type Reader = (next: Next) => readonly string[];

const none: readonly string[] = [];

const readers: ReadonlyMap<string, Reader> = new Map([
  ["import", importedBy],
  ["export", exportedFrom],
  ["createRequire", requiredBy],
  ["Worker", required],
]);

/** Specifiers after `import`. */
function importedBy(next: Next): readonly string[] {
  const first = next();
  if (first === null) return none;
  if (first.kind === "string") return [first.text];
  if (first.text === "(") return literals(next);
  if (first.text === ".") return phased(next);
  if (first.text !== "type") return behindFrom(first, next);
  const second = next();
  // `import type from "x"` and `import type, { a } from "x"` import a value of that name.
  if (second?.text === ",") return behindFrom(second, next);
  if (second?.text !== "from") return none;
  const third = next();
  return third?.kind === "string" ? [third.text] : none;
}

/** Behind `import.`: `source("x")`, `defer("x")`, Bun's `meta.require("x")`; else `import.meta` names no module. */
function phased(next: Next): readonly string[] {
  const phase = next()?.text;
  if (phase === "meta") return next()?.text === "." && next()?.text === "require" ? required(next) : none;
  return phase === "source" || phase === "defer" ? required(next) : none;
}

/** Specifiers after `export`. */
function exportedFrom(next: Next): readonly string[] {
  const first = next();
  return first?.text === "*" || first?.text === "{" ? behindFrom(first, next) : none;
}

/** Specifiers in the arguments of a function that takes one, such as `require`. */
function required(next: Next): readonly string[] {
  return next()?.text === "(" ? literals(next) : none;
}

/** After `createRequire`: the specifier of an immediate call, as in `createRequire(import.meta.url)("x")`. */
function requiredBy(next: Next): readonly string[] {
  if (next()?.text !== "(") return none;
  for (let depth = 1; depth > 0;) {
    const token = next();
    if (token === null || token.text === ";") return none;
    if (token.kind === "mark") depth += token.text === "(" ? 1 : token.text === ")" ? -1 : 0;
  }
  return required(next);
}

/** What a literal stands behind, and in front of, that is an argument as it is, or one of several that may be. */
const marksBeforeLiteral = new Set(["(", "?", ":", "|", "&"]);
const textsBehindLiteral = new Set([")", ",", ":", "as", "satisfies"]);
/** An argument is read up to this many tokens: a longer one is a function, not a specifier. */
const argumentTokensMax = 200;

/** Behind an opening bracket: the literals that the first argument may be, or is made from by a function. */
function literals(next: Next): readonly string[] {
  const found: string[] = [];
  let before = "(", depth = 0, token = next();
  for (let count = 0; token !== null && count < argumentTokensMax; count++) {
    const { kind, text } = token;
    const behind = next();
    const isLiteral = kind === "string" || kind === "template";
    if (isLiteral && marksBeforeLiteral.has(before) && textsBehindLiteral.has(behind?.text ?? "")) {
      found.push(text);
    } else if (kind === "mark") {
      if (text === "(") depth++;
      else if ((text === ")" && depth-- === 0) || (text === "," && depth === 0) || endsArgument.has(text)) {
        break;
      }
    }
    before = kind === "mark" ? text : "";
    token = behind;
  }
  return found;
}

/** Behind these, what comes is no specifier: a function, an object, a template with substitutions. */
const endsArgument = new Set(["{", "${", ";"]);

/** The string behind the `from` that ends the clause which `first` begins. */
function behindFrom(first: Token, next: Next): readonly string[] {
  let isInBraces = false;
  for (let token: Token | null = first; token !== null; token = next()) {
    if (token.text === "{" || token.text === "}") isInBraces = token.text === "{";
    else if (token.kind === "mark" && token.text !== "," && token.text !== "*") return none;
    if (isInBraces || token.text !== "from" || token.kind !== "word") continue;
    const source = next();
    if (source?.kind === "string") return [source.text];
    // `import from from "x"`, and nothing else, may go on.
    if (source === null || source.text !== "from") return none;
    token = source;
    const last = next();
    return last?.kind === "string" ? [last.text] : none;
  }
  return none;
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

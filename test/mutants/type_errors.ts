import { join } from "node:path";
import ts from "typescript";
import type { Patch } from "./mutant.ts";
import { root } from "../kit/runtimes.ts";
import { patched } from "./patched_copy.ts";

/**
 * The type errors that a mutant's patches make in the files they touch. A mutant that names what is not there would
 * fail every check, and prove nothing. Types are read once for all mutants.
 */
export class TypeErrors {
  readonly #changed = new Map<string, string>();
  #version = 0;
  readonly #service: ts.LanguageService;

  constructor() {
    const config = ts.readConfigFile(join(root, "tsconfig.json"), ts.sys.readFile).config;
    const { options, fileNames } = ts.parseJsonConfigFileContent(
      { ...config, include: ["mod.ts", "src", "compile"] },
      ts.sys,
      root,
    );
    this.#service = ts.createLanguageService({
      // what a patch no longer uses is no fault of it
      getCompilationSettings: () => ({ ...options, noUnusedLocals: false, noUnusedParameters: false }),
      getScriptFileNames: () => fileNames,
      getScriptVersion: (file) => this.#changed.has(file) ? String(this.#version) : "0",
      getScriptSnapshot: (file) => {
        const text = this.#changed.get(file) ?? ts.sys.readFile(file);
        return text === undefined ? undefined : ts.ScriptSnapshot.fromString(text);
      },
      getCurrentDirectory: () => root,
      getDefaultLibFileName: ts.getDefaultLibFilePath,
      fileExists: ts.sys.fileExists,
      readFile: ts.sys.readFile,
    });
  }

  /** @throws {Error} if a patch does not apply. */
  of(patches: readonly Patch[]): string[] {
    this.#version++;
    this.#changed.clear();
    for (const patch of patches) {
      const path = join(root, patch.file);
      this.#changed.set(path, patched(this.#changed.get(path) ?? ts.sys.readFile(path) ?? "", patch));
    }
    return [...this.#changed.keys()].flatMap((path) => [
      ...this.#service.getSyntacticDiagnostics(path),
      ...this.#service.getSemanticDiagnostics(path),
    ]).map(({ messageText, file, start }) => {
      const line = file!.getLineAndCharacterOfPosition(start!).line + 1;
      return `${file!.fileName}:${line}: ${ts.flattenDiagnosticMessageText(messageText, " ")}`;
    });
  }
}

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Presence } from "../system.ts";

/** The version that a program tells of itself; else which Debian package has it. */
export function findProgram(command: string, args: readonly string[], debianPackage: string): Presence {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: "utf8", timeout: 10_000 });
  const version = /\d+(?:\.\d+)+|\b\d{8}\b/.exec(`${stdout}${stderr}`)?.[0];
  return status === 0 && version !== undefined
    ? { version: `${debianPackage} ${version}` }
    : { missing: `install Debian's ${debianPackage}` };
}

/** The version of a client library in bench/peers/node_modules. */
export function findLibrary(name: string): Presence {
  const path = join(import.meta.dirname!, "node_modules", name, "package.json");
  if (!existsSync(path)) return { missing: `run \`npm run bench:install\` for npm's ${name}` };
  return { version: `npm's ${name} ${JSON.parse(readFileSync(path, "utf8")).version}` };
}

/** Present if all parts are. */
export function findAll(...parts: readonly Presence[]): Presence {
  const missing = parts.flatMap((part) => "missing" in part ? part.missing : []);
  if (missing.length > 0) return { missing: missing.join("; ") };
  return { version: parts.flatMap((part) => "version" in part ? part.version : []).join(", ") };
}

/** Debian's packages belong to Debian's Python, whatever comes first on PATH. */
export const python = existsSync("/usr/bin/python3") ? "/usr/bin/python3" : "python3";

/** A module of Python, by the version it tells. */
export function findModule(name: string, debianPackage: string): Presence {
  const found = findProgram(python, ["-c", `import ${name}; print(${name}.__version__)`], debianPackage);
  return found;
}

/** Python that leaves no compiled files beside its sources. */
export const pythonEnv = { PYTHONDONTWRITEBYTECODE: "1", PYTHONUNBUFFERED: "1" };

/** How a test starts another Node process without what the test runner hooks into every child. */
import { fileURLToPath } from 'node:url'

/** The folder of the workspace. */
export const ROOT: URL = new URL('../../../', import.meta.url)

/** A program and its arguments, for `spawn` and `execFile`. */
export type Command = [file: string, args: string[]]

/**
 * A command that runs `file` without the runner's `NODE_OPTIONS`, which the runner adds to each
 * child whatever its environment says; they slow it, and break what loads modules in its own way.
 * The process has the id, the streams and the signals of a direct child.
 */
export function plainCommand(file: string, args: readonly string[]): Command {
  const script = 'unset NODE_OPTIONS NODE_V8_COVERAGE; exec "$@"'
  return ['/bin/sh', ['-c', script, 'sh', file, ...args]]
}

/** A {@link plainCommand} for Node that reads the workspace's TypeScript sources as they are. */
export function plainNode(args: readonly string[]): Command {
  const loader = fileURLToPath(new URL('scripts/ts.mjs', ROOT))
  const flags = [`--import=${loader}`, '--conditions=@parapet/source']
  return plainCommand(process.execPath, [...flags, ...args])
}

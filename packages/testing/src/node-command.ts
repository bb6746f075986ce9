/** Starts another Node process from a test, without the hooks that the runner adds to children. */
import { fileURLToPath } from 'node:url'

/** The folder of the workspace. */
export const ROOT: URL = new URL('../../../', import.meta.url)

/** A program and its arguments, for `spawn` and `execFile`. */
export type Command = [file: string, args: string[]]

/**
 * Makes a command that runs `file` without the runner's `NODE_OPTIONS`. The runner adds them to every
 * child, whatever its environment says; they slow the child and break custom module loading. The
 * process has the id, the streams and the signals of a direct child.
 */
export function plainCommand(file: string, args: readonly string[]): Command {
  const script = 'unset NODE_OPTIONS NODE_V8_COVERAGE; exec "$@"'
  return ['/bin/sh', ['-c', script, 'sh', file, ...args]]
}

/** A {@link plainCommand} that runs Node on the workspace's TypeScript sources. */
export function plainNode(args: readonly string[]): Command {
  const loader = fileURLToPath(new URL('scripts/ts.mjs', ROOT))
  const flags = [`--import=${loader}`, '--conditions=@parapet/source']
  return plainCommand(process.execPath, [...flags, ...args])
}

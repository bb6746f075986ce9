/** Where an error goes that belongs to nobody: to the process's warnings, never to the floor. */
export function warn(error: unknown): void {
  process.emitWarning(error instanceof Error ? error : new Error(String(error)))
}

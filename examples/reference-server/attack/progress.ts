/** Prints the campaign as it goes on: one block for each step, and the result. */
import type { WriteStream } from 'node:tty'
import type { Step } from './step.ts'

type Output = Pick<WriteStream, 'write'> & { readonly isTTY?: boolean }

/** Creates the display. @param total the number of steps */
export function createProgress(output: Output, total: number) {
  const isColoured = output.isTTY === true && (process.env['NO_COLOR'] ?? '') === ''
  const paint = (code: number, text: string) =>
    isColoured ? `\u001B[${code}m${text}\u001B[0m` : text
  const counts = { stopped: 0, succeeded: 0, skipped: 0, left: 0 }
  const started = performance.now()
  let number = 0

  const line = (text = '') => output.write(`${text}\n`)
  const detail = (label: string, text: string) => line(`         ${label.padEnd(9)}${text}`)
  function begin({ name, tries }: Step): void {
    number++
    const done = Math.round((number / total) * 10)
    const bar = `${'█'.repeat(done)}${'░'.repeat(10 - done)}`
    line()
    line(`${String(number).padStart(3)}/${total} ${bar} ${paint(1, name)}`)
    detail('tried', tries)
  }

  return {
    say: line,
    async run(step: Step, work: () => Promise<string>): Promise<void> {
      begin(step)
      try {
        const stoppedBy = await work()
        counts.stopped++
        detail(paint(32, 'stopped'.padEnd(9)), stoppedBy)
      } catch (error) {
        counts.succeeded++
        detail(paint(31, 'FAILED'.padEnd(9)), (error as Error).message)
      }
      detail('seen in', step.seenIn)
    },
    skip(step: Step, reason: string): void {
      begin(step)
      counts.skipped++
      detail(paint(33, 'skipped'.padEnd(9)), reason)
    },
    /** Prints what could not be undone. */
    restored(failures: readonly string[]): void {
      line()
      if (failures.length === 0) line('what the campaign changed is undone')
      for (const failure of failures) line(paint(31, `NOT RESTORED ${failure}`))
      counts.left += failures.length
    },
    /** Prints the result. @returns whether every attack was stopped, and nothing of them is left. */
    finish(): boolean {
      const seconds = ((performance.now() - started) / 1000).toFixed(1)
      const { stopped, succeeded, skipped, left } = counts
      const isFine = succeeded === 0 && left === 0
      const result = `${stopped} stopped, ${succeeded} failed, ${skipped} skipped in ${seconds} s`
      line()
      line(paint(isFine ? 32 : 31, result))
      return isFine
    },
  }
}

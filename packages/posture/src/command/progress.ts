/** One line of progress on a terminal; nothing where the output is a file. */
import type { Progress } from '../options.ts'

/** The part of a stream that is used. */
export interface ProgressStream {
  readonly isTTY?: boolean
  readonly columns?: number
  write(text: string): unknown
}

/** A line that is written over itself. */
export interface ProgressLine {
  readonly show: (progress: Progress) => void
  readonly clear: () => void
}

const CLEAR = '\r\u001B[2K'
const WIDTH = 24

/** Creates the line. */
export function createProgressLine(stream: ProgressStream): ProgressLine {
  if (stream.isTTY !== true) return { show: () => {}, clear: () => {} }
  const columns = stream.columns ?? 80
  return {
    show({ step, done, all, name }) {
      const full = Math.floor((done / Math.max(all, 1)) * WIDTH)
      const bar = `${'█'.repeat(full)}${'░'.repeat(WIDTH - full)}`
      const label = name.replaceAll(/\p{Cc}/gu, ' ')
      stream.write(`${CLEAR}${`${bar} ${step} ${done}/${all} ${label}`.slice(0, columns - 1)}`)
    },
    clear: () => void stream.write(CLEAR),
  }
}

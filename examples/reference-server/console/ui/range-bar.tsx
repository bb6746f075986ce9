/** A reading against what is usual. */
import { formatCount, formatWords } from './format.ts'

/** A measure of an anomaly. */
export interface Reading {
  readonly name: string
  readonly value: number
  /** What is usual, or for a limit from 0. */
  readonly low: number
  readonly high: number
}

/** Reads a reason of the behaviour score; `undefined`: it has another form. */
export function readReason(reason: string): Reading | undefined {
  const found = /^(\S+) is (-?[\d.]+), usually (-?[\d.]+) to (-?[\d.]+)/.exec(reason)
  if (found === null) return undefined
  const [, name, value, low, high] = found
  return { name: name!, value: Number(value), low: Number(low), high: Number(high) }
}

/** Readings may be a hundred times what is usual, so the scale is logarithmic. */
const scale = (amount: number) => Math.log1p(Math.max(0, amount))

/** The bar: the usual range, and where the reading is. */
export function RangeBar({
  reading: { name, value, low, high },
  isLimit = false,
}: {
  readonly reading: Reading
  readonly isLimit?: boolean
}) {
  const most = scale(Math.max(value, high)) * 1.08 || 1
  const at = (amount: number) => (scale(amount) / most) * 100
  const words = formatWords(name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`))
  return (
    <li class="measure">
      <span class="measure-name">{words}</span>
      <svg class="measure-bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
        <rect class="bar-track" y="2" width="100" height="4" />
        <rect
          class="measure-usual"
          x={at(low)}
          y="2"
          width={Math.max(1, at(high) - at(low))}
          height="4"
        />
        <rect class="measure-value" x={Math.min(98.8, at(value))} width="1.2" height="8" />
      </svg>
      <span class="measure-text">
        <b>{formatReading(value)}</b>{' '}
        {isLimit
          ? `limit ${formatReading(high)}`
          : `usually ${formatReading(low)}–${formatReading(high)}`}
      </span>
    </li>
  )
}

function formatReading(value: number): string {
  return Number.isInteger(value) || value >= 100 ? formatCount(value) : value.toPrecision(2)
}

/** Severities: each has a shape of its own, so that nobody has to tell colours apart. */
import type { Severity } from '../api/types.ts'

/** The severities, the least first. */
export const SEVERITIES: readonly Severity[] = ['info', 'low', 'medium', 'high', 'critical']

const SHAPES: Readonly<Record<Severity, string>> = {
  // A ring, a disc, a triangle, a diamond, and an octagon.
  info: 'M8 3.500a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9Zm0 2a2.5 2.5 0 1 1 0 5 2.5 2.5 0 0 1 0-5Z',
  low: 'M8 3.500a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9Z',
  medium: 'M8 2.5 14 13H2L8 2.500Z',
  high: 'M8 1.5 14.5 8 8 14.5 1.5 8 8 1.500Z',
  critical: 'M5.2 1.500h5.600l3.7 3.700v5.600l-3.7 3.700H5.200l-3.7-3.700V5.200l3.7-3.700Z',
}

/** The sign of a severity; `label` shows its name, which a screen reader hears in any case. */
export function SeverityMark({
  severity,
  label = false,
}: {
  readonly severity: Severity
  readonly label?: boolean
}) {
  return (
    <span class={`severity severity-${severity}`}>
      <svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true">
        <path fill-rule="evenodd" d={SHAPES[severity]} />
      </svg>
      <span class={label ? '' : 'visually-hidden'}>{severity}</span>
    </span>
  )
}

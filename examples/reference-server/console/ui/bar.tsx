/** A share as a bar. The number is beside it in words, so it is decoration. */

/** @param share 0 to 1 */
export function Bar({
  share,
  color = 'accent',
}: {
  readonly share: number
  readonly color?: string
}) {
  const width = Math.max(0, Math.min(1, share)) * 100
  return (
    <svg
      class={`bar bar-${color}`}
      viewBox="0 0 100 4"
      preserveAspectRatio="none"
      aria-hidden="true"
    >
      <rect class="bar-track" width="100" height="4" rx="2" />
      <rect class="bar-fill" width={width} height="4" rx="2" />
    </svg>
  )
}

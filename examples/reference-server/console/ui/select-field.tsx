/** A choice with its label. */
import type { ComponentChildren } from 'preact'

/** The field. */
export function SelectField({
  label,
  value,
  onValue,
  children,
}: {
  readonly label: string
  readonly value: string
  readonly onValue: (value: string) => void
  readonly children: ComponentChildren
}) {
  return (
    <label class="field">
      <span class="field-label">{label}</span>
      <select
        class="input"
        value={value}
        onChange={({ currentTarget }) => onValue(currentTarget.value)}
      >
        {children}
      </select>
    </label>
  )
}

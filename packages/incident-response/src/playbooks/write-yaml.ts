/** Writes a playbook as YAML, in one form: the members in the order of the schema, no aliases. */
import type { Playbook } from './playbook.ts'

const ORDER = [
  'name',
  'title',
  'description',
  'severity',
  'triggers',
  'variables',
  'phases',
  'notifications',
] as const satisfies readonly (keyof Playbook)[]

/** Writes YAML 1.2 that reads as the same playbook. */
export async function writeYaml(playbook: Playbook): Promise<string> {
  const { stringify } = await import('yaml')
  const ordered = Object.fromEntries(
    ORDER.filter((key) => playbook[key] !== undefined).map((key) => [key, playbook[key]]),
  )
  return stringify(ordered, { aliasDuplicateObjects: false, lineWidth: 100, version: '1.2' })
}

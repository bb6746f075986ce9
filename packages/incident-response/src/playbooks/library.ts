/** The playbooks of a service: read, checked together, and compiled. */
import { rankOf, type Incident } from '../incidents/incident.ts'
import { builtInPlaybooks } from '../built-in/built-in.ts'
import { checkMeaning, type KnownNames } from './check-meaning.ts'
import { checkSchema } from './check-schema.ts'
import { compileProgram, type CompileContext } from './compile-program.ts'
import type { Playbook } from './playbook.ts'
import { PlaybookFaults, refuseDocument, showPath, type Locate } from './playbook-faults.ts'
import type { Program } from './program.ts'
import { readYaml } from './read-yaml.ts'

/** A playbook to load: YAML with the name of its file, or an object such as a CACAO import returns. */
export type PlaybookSource =
  | { readonly file: string; readonly yaml: string }
  | { readonly file?: string; readonly playbook: Playbook }

/** What the service has, besides its playbooks. */
export type ServiceNames = Omit<KnownNames, 'playbooks'>

/** The playbooks of a service. */
export interface PlaybookLibrary {
  readonly playbooks: ReadonlyMap<string, Playbook>
  readonly programs: ReadonlyMap<string, Program>
  /** Names of actions and notifiers that built-in playbooks use and the service does not have. */
  readonly missing: { readonly actions: readonly string[]; readonly notifiers: readonly string[] }
  /** The playbooks that an incident starts, by name. */
  triggeredBy(incident: Incident): readonly Playbook[]
}

interface Loaded {
  readonly playbook: Playbook
  readonly locate: Locate
  readonly isBuiltIn: boolean
}

/**
 * Loads the playbooks. In built-in ones, an action that is not registered becomes the work of a person, and a
 * notifier that is not registered is replaced by the first escalation list; in others, both are refused. A playbook of
 * the service replaces a built-in one of the same name.
 *
 * @throws PARAPET_INCIDENT_RESPONSE_INVALID_PLAYBOOK
 */
export async function loadPlaybooks(
  sources: readonly PlaybookSource[],
  builtIn: readonly string[],
  names: ServiceNames,
): Promise<PlaybookLibrary> {
  const loaded = new Map<string, Loaded>()
  for (const name of builtIn) {
    const yaml = builtInPlaybooks[name]!
    const each = await readPlaybook({ file: `${name}.yml`, yaml })
    loaded.set(name, { ...each, isBuiltIn: true })
  }
  const own = new Set<string>()
  for (const source of sources) {
    const each = await readPlaybook(source)
    const { name } = each.playbook
    if (own.has(name)) refuseDocument(each.locate(['name']), `there are two playbooks "${name}"`)
    own.add(name)
    loaded.set(name, { ...each, isBuiltIn: false })
  }
  const playbooks = new Map([...loaded].map(([name, { playbook }]) => [name, playbook]))
  const missing = checkAll(loaded, { ...names, playbooks })
  const context: CompileContext = {
    hasAction: (name) => names.actions.has(name),
    findPlaybook: (name) => playbooks.get(name),
  }
  const programs = new Map(
    [...playbooks].map(([name, playbook]) => [name, compileProgram(playbook, context)]),
  )
  return { playbooks, programs, missing, triggeredBy: (incident) => triggered(playbooks, incident) }
}

/** Reads one playbook and checks it against the schema. @throws PARAPET_INCIDENT_RESPONSE_INVALID_PLAYBOOK */
async function readPlaybook(source: PlaybookSource): Promise<Omit<Loaded, 'isBuiltIn'>> {
  const document =
    'yaml' in source
      ? await readYaml(source.yaml, source.file)
      : { value: source.playbook, locate: locateIn(source.file ?? 'playbook') }
  const faults = new PlaybookFaults(document.locate)
  const playbook = await checkSchema(document.value, faults)
  faults.throwIfAny()
  return { playbook: playbook!, locate: document.locate }
}

function locateIn(file: string): Locate {
  return (path) => (path.length === 0 ? file : `${file} (${showPath(path)})`)
}

/** @returns what built-in playbooks lack. */
function checkAll(loaded: ReadonlyMap<string, Loaded>, known: KnownNames) {
  const missing = { actions: new Set<string>(), notifiers: new Set<string>() }
  for (const { playbook, locate, isBuiltIn } of loaded.values()) {
    const faults = new PlaybookFaults(locate)
    checkMeaning(playbook, isBuiltIn ? lenient(known, missing) : known, faults)
    faults.throwIfAny()
  }
  return { actions: [...missing.actions].toSorted(), notifiers: [...missing.notifiers].toSorted() }
}

/** Accepts every name, and notes those that do not exist. */
function lenient(
  known: KnownNames,
  missing: { readonly actions: Set<string>; readonly notifiers: Set<string> },
): KnownNames {
  return {
    ...known,
    actions: noting(known.actions, missing.actions),
    notifiers: noting(known.notifiers, missing.notifiers),
  }
}

function triggered(
  playbooks: ReadonlyMap<string, Playbook>,
  incident: Incident,
): readonly Playbook[] {
  return [...playbooks.values()].filter(({ triggers = [] }) =>
    triggers.some((trigger) => {
      if (typeof trigger === 'string') return trigger === incident.type
      const { type, min_severity: least = 'low', min_findings: findings = 1 } = trigger
      const isSevere = rankOf(incident.severity) >= rankOf(least)
      return type === incident.type && isSevere && incident.findings >= findings
    }),
  )
}

function noting(names: ReadonlySet<string>, unknown: Set<string>): ReadonlySet<string> {
  const all = new Set(names)
  all.has = (name) => {
    if (!names.has(name)) unknown.add(name)
    return true
  }
  return all
}

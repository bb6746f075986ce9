/** The rules of the compose file. */
import { parse } from 'yaml'
import {
  textOf,
  createReport,
  itemsOf,
  membersOf,
  PINNED_IMAGE,
  SECRET_NAME,
  textsOf,
  type Finding,
  type Report,
} from './finding.ts'

type Members = Readonly<Record<string, unknown>>

/** The only service that the outside reaches. */
const EDGE = 'nginx'
/** The networks with a way out, and the only service in each. */
const WAYS_OUT: ReadonlyMap<string, string> = new Map([
  ['edge', EDGE],
  ['out', 'server'],
])

/** Checks a compose file. */
export function checkCompose(file: string, text: string): Finding[] {
  const report = createReport(file)
  const compose = membersOf(parse(text, { merge: true }))
  const networks = membersOf(compose['networks'])
  const services = Object.entries(membersOf(compose['services']))
  const names = services.map(([name]) => name)
  for (const name of [EDGE, 'server', 'postgres', 'redis', 'vault']) {
    report.expect(names.includes(name), 'services', `a service named "${name}" is expected`)
  }
  for (const [name, service] of services) {
    const members = membersOf(service)
    checkPrivileges(report, name, members)
    checkImage(report, name, members)
    checkNetworks(report, name, members, networks)
    checkEnvironment(report, name, members)
    checkInitialisation(report, name, members)
    const hasCheck = 'healthcheck' in members || name === 'server'
    report.expect(hasCheck, 'healthcheck', `${name}: a healthcheck is missing`)
  }
  for (const [name, secret] of Object.entries(membersOf(compose['secrets']))) {
    const path = textOf(membersOf(secret)['file'])
    report.expect(path.startsWith('./secrets/'), 'secrets', `${name}: only files below ./secrets`)
  }
  return report.findings
}

function checkPrivileges(report: Report, name: string, service: Members): void {
  report.expect(service['read_only'] === true, 'read-only', `${name}: read_only: true`)
  report.expect(
    textsOf(service['cap_drop']).includes('ALL'),
    'capabilities',
    `${name}: cap_drop: [ALL]`,
  )
  report.expect(!('cap_add' in service), 'capabilities', `${name}: no cap_add`)
  report.expect(
    textsOf(service['security_opt']).includes('no-new-privileges:true'),
    'no-new-privileges',
    `${name}: security_opt: [no-new-privileges:true]`,
  )
  report.expect(
    /^[1-9]\d*:[1-9]\d*$/.test(textOf(service['user'])),
    'non-root',
    `${name}: user: uid:gid, not 0`,
  )
  report.expect(
    typeof service['mem_limit'] === 'string' && typeof service['pids_limit'] === 'number',
    'limits',
    `${name}: mem_limit and pids_limit`,
  )
  for (const key of ['privileged', 'network_mode', 'pid', 'ipc', 'devices', 'userns_mode']) {
    report.expect(!(key in service), 'isolation', `${name}: no ${key}`)
  }
  for (const volume of textsOf(service['volumes'])) {
    const isHost = /^(?:\/|\.\.)/.test(volume) || volume.includes('docker.sock')
    report.expect(!isHost, 'isolation', `${name}: mounts ${volume} of the host`)
    const isFile = volume.startsWith('./')
    report.expect(
      !isFile || volume.endsWith(':ro'),
      'read-only',
      `${name}: ${volume} must end in :ro`,
    )
  }
}

function checkImage(report: Report, name: string, { image, build }: Members): void {
  const isOwn = typeof image === 'string' && image.startsWith('parapet/')
  report.expect(
    isOwn || (build === undefined && PINNED_IMAGE.test(String(image))),
    'pinned-image',
    `${name}: image: name:tag@sha256:digest`,
  )
}

function checkNetworks(report: Report, name: string, service: Members, networks: Members): void {
  const used = textsOf(service['networks'])
  report.expect(used.length > 0, 'networks', `${name}: names its networks`)
  for (const network of used) {
    const isInternal = membersOf(networks[network])['internal'] === true
    const mayLeave = WAYS_OUT.get(network) === name
    report.expect(isInternal || mayLeave, 'networks', `${name}: ${network} has a way out`)
  }
  report.expect(
    name === EDGE || itemsOf(service['ports']).length === 0,
    'ports',
    `${name}: only ${EDGE} publishes ports`,
  )
}

/** The image of PostgreSQL runs the scripts in the order of their names: a password needs its role. */
function checkInitialisation(report: Report, name: string, service: Members): void {
  const scripts = textsOf(service['volumes'])
    .map((volume) => /([^/]+):\/docker-entrypoint-initdb\.d\/(\d\d-)?/.exec(volume))
    .filter((found) => found !== null)
  const sorted = scripts.toSorted(([, , a = 'z'], [, , b = 'z']) => (a < b ? -1 : 1))
  const order = sorted.map(([, source]) => source).join(' ')
  const isNumbered = scripts.every(([, , number]) => number !== undefined)
  report.expect(
    isNumbered && ['', 'roles.sql passwords.sql'].includes(order),
    'order',
    `${name}: 10-roles.sql, then 20-passwords.sql`,
  )
}

function checkEnvironment(report: Report, name: string, { environment }: Members): void {
  for (const [variable, value] of Object.entries(membersOf(environment))) {
    const isSecret = SECRET_NAME.test(variable) && value !== ''
    report.expect(!isSecret, 'no-secret', `${name}: ${variable} must be a file`)
  }
}

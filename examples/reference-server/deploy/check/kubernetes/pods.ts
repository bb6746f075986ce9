/**
 * The Pod Security Standard "restricted", and what a hardened pod has beyond it.
 *
 * @see https://kubernetes.io/docs/concepts/security/pod-security-standards/
 */
import {
  createReport,
  itemsOf,
  membersOf,
  SECRET_NAME,
  textsOf,
  type Finding,
  type Report,
} from '../finding.ts'
import type { Manifest } from './manifests.ts'

type Members = Readonly<Record<string, unknown>>

const VOLUMES = new Set([
  'configMap',
  'csi',
  'downwardAPI',
  'emptyDir',
  'ephemeral',
  'persistentVolumeClaim',
  'projected',
  'secret',
])
const SERVING: readonly string[] = ['StatefulSet', 'Deployment']

/** The template of the pods that a manifest makes; `undefined`: it makes none. */
export function templateOf({ kind, body }: Manifest): Members | undefined {
  const spec = membersOf(body['spec'])
  if (kind === 'CronJob')
    return membersOf(membersOf(membersOf(spec['jobTemplate'])['spec'])['template'])
  return [...SERVING, 'DaemonSet', 'Job'].includes(kind) ? membersOf(spec['template']) : undefined
}

/** Checks the pods that a manifest makes. */
export function checkPods(manifest: Manifest): Finding[] {
  const report = createReport(manifest.file)
  const template = templateOf(manifest)
  report.expect(manifest.kind !== 'Pod', 'controller', `${manifest.name}: a pod needs a controller`)
  if (template === undefined) return report.findings
  const pod = membersOf(template['spec'])
  const at = `${manifest.kind} ${manifest.name}`
  checkPod(report, at, pod)
  const containers = ['containers', 'initContainers', 'ephemeralContainers'].flatMap((list) =>
    itemsOf(pod[list]).map(membersOf),
  )
  report.expect(containers.length > 0, 'containers', `${at}: has no container`)
  for (const container of containers) {
    const where = `${at}/${String(container['name'])}`
    checkContainer(report, where, container, membersOf(pod['securityContext']))
    if (SERVING.includes(manifest.kind)) checkProbes(report, where, container)
  }
  if (SERVING.includes(manifest.kind)) {
    const isSpread = itemsOf(pod['topologySpreadConstraints']).some(
      (each) => membersOf(each)['topologyKey'] === 'topology.kubernetes.io/zone',
    )
    report.expect(isSpread, 'spread', `${at}: spread over topology.kubernetes.io/zone`)
  }
  return report.findings
}

function checkPod(report: Report, at: string, pod: Members): void {
  for (const key of ['hostNetwork', 'hostPID', 'hostIPC']) {
    report.expect(pod[key] === undefined || pod[key] === false, 'restricted', `${at}: ${key}`)
  }
  report.expect(
    pod['automountServiceAccountToken'] === false,
    'token',
    `${at}: automountServiceAccountToken: false`,
  )
  report.expect(
    typeof pod['serviceAccountName'] === 'string' && pod['serviceAccountName'] !== 'default',
    'token',
    `${at}: serviceAccountName of its own`,
  )
  report.expect(
    pod['enableServiceLinks'] === false,
    'service-links',
    `${at}: enableServiceLinks: false`,
  )
  for (const volume of itemsOf(pod['volumes']).map(membersOf)) {
    const [kind = ''] = Object.keys(volume).filter((key) => key !== 'name')
    report.expect(
      VOLUMES.has(kind),
      'restricted',
      `${at}: volume ${String(volume['name'])} is a ${kind}`,
    )
    const mode = membersOf(volume['secret'])['defaultMode']
    const isClosed = !('secret' in volume) || (typeof mode === 'number' && (mode & 0o007) === 0)
    report.expect(isClosed, 'secret-mode', `${at}: a secret that all can read`)
  }
  const { sysctls, seLinuxOptions, windowsOptions } = membersOf(pod['securityContext'])
  const isPlain =
    sysctls === undefined && seLinuxOptions === undefined && windowsOptions === undefined
  report.expect(isPlain, 'restricted', `${at}: sysctls, seLinuxOptions, windowsOptions`)
}

function checkContainer(report: Report, at: string, container: Members, ofPod: Members): void {
  const own = membersOf(container['securityContext'])
  const context = { ...ofPod, ...own }
  const isTrue = (key: string): boolean => context[key] === true
  report.expect(isTrue('runAsNonRoot'), 'restricted', `${at}: runAsNonRoot: true`)
  const user = context['runAsUser']
  report.expect(typeof user === 'number' && user > 0, 'restricted', `${at}: runAsUser above 0`)
  report.expect(
    own['allowPrivilegeEscalation'] === false,
    'restricted',
    `${at}: allowPrivilegeEscalation: false`,
  )
  report.expect(own['privileged'] !== true, 'restricted', `${at}: privileged`)
  const capabilities = membersOf(own['capabilities'])
  report.expect(
    textsOf(capabilities['drop']).includes('ALL'),
    'restricted',
    `${at}: capabilities.drop: [ALL]`,
  )
  const isBare = itemsOf(capabilities['add']).every((each) => each === 'NET_BIND_SERVICE')
  report.expect(isBare, 'restricted', `${at}: capabilities.add`)
  const seccomp = String(membersOf(context['seccompProfile'])['type'])
  report.expect(
    ['RuntimeDefault', 'Localhost'].includes(seccomp),
    'restricted',
    `${at}: seccompProfile`,
  )
  report.expect(
    [undefined, 'Default'].includes(own['procMount'] as undefined),
    'restricted',
    `${at}: procMount`,
  )
  for (const port of itemsOf(container['ports']).map(membersOf)) {
    report.expect(port['hostPort'] === undefined, 'restricted', `${at}: hostPort`)
  }
  // Beyond the standard.
  report.expect(
    isTrue('readOnlyRootFilesystem'),
    'read-only',
    `${at}: readOnlyRootFilesystem: true`,
  )
  const { requests, limits } = membersOf(container['resources'])
  const hasBounds =
    'memory' in membersOf(limits) && 'memory' in membersOf(requests) && 'cpu' in membersOf(requests)
  report.expect(hasBounds, 'limits', `${at}: requests of cpu and memory, a limit of memory`)
  report.expect(
    !String(container['image']).endsWith(':latest'),
    'pinned-image',
    `${at}: no tag "latest"`,
  )
  for (const variable of itemsOf(container['env']).map(membersOf)) {
    const isSecret = SECRET_NAME.test(String(variable['name'])) && 'value' in variable
    report.expect(
      !isSecret,
      'no-secret',
      `${at}: ${String(variable['name'])} must come from a Secret`,
    )
  }
}

function checkProbes(report: Report, at: string, container: Members): void {
  for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe']) {
    report.expect(probe in container, 'probes', `${at}: ${probe} is missing`)
  }
  const path = (probe: string): unknown => membersOf(membersOf(container[probe])['httpGet'])['path']
  report.expect(
    path('livenessProbe') !== path('readinessProbe'),
    'probes',
    `${at}: liveness must not ask dependencies`,
  )
}

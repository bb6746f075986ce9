/** The rules across manifests: the namespace, network policies, disruption, scaling, secrets. */
import {
  textOf,
  createReport,
  itemsOf,
  membersOf,
  textsOf,
  type Finding,
  type Report,
} from '../finding.ts'
import { templateOf, checkPods } from './pods.ts'
import { checkSchema, readManifests, type Manifest } from './manifests.ts'

type Members = Readonly<Record<string, unknown>>

/** The only port that each policy may open. */
const EGRESS_PORTS: ReadonlyMap<string, number> = new Map([
  ['allow-dns', 53],
  ['to-postgresql', 5432],
  ['to-redis', 6379],
  ['to-mail', 465],
  ['to-webhook', 443],
])
const KUSTOMIZATION = 'kustomization.yaml'

/** Checks all manifests of a folder. @param texts file → text. */
export async function checkManifests(texts: ReadonlyMap<string, string>): Promise<Finding[]> {
  const manifests = [...texts].flatMap(([file, text]) => readManifests(file, text))
  const findings: Finding[] = []
  for (const manifest of manifests) {
    findings.push(...(await checkSchema(manifest)), ...checkPods(manifest))
  }
  const folder = createReport([...texts.keys()][0]?.replace(/[^/]+$/, '') ?? 'kubernetes/')
  checkNamespace(folder, manifests)
  checkPolicies(folder, manifests)
  checkAvailability(folder, manifests)
  checkResources(folder, manifests, texts)
  for (const { kind, name, body } of manifests) {
    folder.expect(kind !== 'Secret', 'no-secret', `${name}: a Secret must not be in a file`)
    const type = membersOf(body['spec'])['type']
    const isInside = kind !== 'Service' || type === undefined || type === 'ClusterIP'
    folder.expect(isInside, 'service', `${name}: only the ingress is reachable from outside`)
    const isAccount = kind !== 'ServiceAccount' || body['automountServiceAccountToken'] === false
    folder.expect(isAccount, 'token', `${name}: automountServiceAccountToken: false`)
    folder.expect(
      !/Role(?:Binding)?$/.test(kind),
      'rights',
      `${name}: the service needs no API of the cluster`,
    )
  }
  return [...findings, ...folder.findings]
}

function named(manifests: readonly Manifest[], kind: string): Manifest[] {
  return manifests.filter((manifest) => manifest.kind === kind)
}

function checkNamespace(report: Report, manifests: readonly Manifest[]): void {
  const [namespace] = named(manifests, 'Namespace')
  const labels = membersOf(membersOf(namespace?.body['metadata'])['labels'])
  for (const mode of ['enforce', 'audit', 'warn']) {
    const label = `pod-security.kubernetes.io/${mode}`
    report.expect(labels[label] === 'restricted', 'restricted', `Namespace: ${label}: restricted`)
  }
}

function checkPolicies(report: Report, manifests: readonly Manifest[]): void {
  const policies = named(manifests, 'NetworkPolicy').map(({ name, body }) => ({
    name,
    spec: membersOf(body['spec']),
  }))
  const denies = policies.some(
    ({ spec }) =>
      Object.keys(membersOf(spec['podSelector'])).length === 0 &&
      ['Ingress', 'Egress'].every((type) => textsOf(spec['policyTypes']).includes(type)) &&
      !('ingress' in spec) &&
      !('egress' in spec),
  )
  report.expect(denies, 'default-deny', 'a NetworkPolicy that denies everything to every pod')
  for (const { name, spec } of policies) {
    for (const rule of itemsOf(spec['egress']).map(membersOf)) {
      checkPeers(report, name, itemsOf(rule['to']))
      const ports = itemsOf(rule['ports']).map((port) => membersOf(port)['port'])
      const wanted = EGRESS_PORTS.get(name)
      const isNarrow =
        wanted !== undefined && ports.length > 0 && ports.every((port) => port === wanted)
      report.expect(isNarrow, 'egress', `${name}: only the port ${wanted ?? 'of a known policy'}`)
    }
    for (const rule of itemsOf(spec['ingress']).map(membersOf)) {
      checkPeers(report, name, itemsOf(rule['from']))
    }
  }
}

/** A rule without a peer means everyone. */
function checkPeers(report: Report, name: string, peers: readonly unknown[]): void {
  report.expect(peers.length > 0, 'peers', `${name}: a rule must name who`)
  for (const peer of peers.map(membersOf)) {
    const cidr = textOf(membersOf(peer['ipBlock'])['cidr'])
    const isRange = cidr === '' || Number(cidr.split('/')[1] ?? 0) >= 16
    report.expect(isRange, 'peers', `${name}: ${cidr} is wider than a /16`)
    const isEveryone =
      'namespaceSelector' in peer && isEmpty(peer['namespaceSelector']) && !('podSelector' in peer)
    report.expect(!isEveryone, 'peers', `${name}: an empty namespaceSelector is every pod`)
  }
}

function isEmpty(selector: unknown): boolean {
  return Object.keys(membersOf(selector)).length === 0
}

function checkAvailability(report: Report, manifests: readonly Manifest[]): void {
  for (const serving of named(manifests, 'StatefulSet')) {
    const labels = membersOf(membersOf(templateOf(serving)?.['metadata'])['labels'])
    const isSelected = (body: Members): boolean =>
      Object.entries(
        membersOf(membersOf(membersOf(body['spec'])['selector'])['matchLabels']),
      ).every(([key, value]) => labels[key] === value)
    const budgets = named(manifests, 'PodDisruptionBudget').filter(({ body }) => isSelected(body))
    report.expect(budgets.length === 1, 'disruption', `${serving.name}: one PodDisruptionBudget`)
    const scaler = named(manifests, 'HorizontalPodAutoscaler').find(
      ({ body }) => membersOf(membersOf(body['spec'])['scaleTargetRef'])['name'] === serving.name,
    )
    const { minReplicas } = membersOf(scaler?.body['spec'])
    const minimum = budgets[0] && membersOf(budgets[0].body['spec'])['minAvailable']
    report.expect(
      typeof minReplicas === 'number' && typeof minimum === 'number' && minReplicas > minimum,
      'scaling',
      `${serving.name}: a HorizontalPodAutoscaler with more minReplicas than minAvailable`,
    )
  }
  for (const { name, body } of named(manifests, 'CronJob')) {
    const { concurrencyPolicy } = membersOf(body['spec'])
    report.expect(concurrencyPolicy === 'Forbid', 'schedule', `${name}: concurrencyPolicy: Forbid`)
  }
  const jobs = named(manifests, 'CronJob').map(({ name }) => name)
  for (const job of ['backup', 'restore-drill']) {
    report.expect(jobs.includes(job), 'schedule', `a CronJob named "${job}" is expected`)
  }
}

/** A manifest that no kustomization names is never applied. */
function checkResources(
  report: Report,
  manifests: readonly Manifest[],
  texts: ReadonlyMap<string, string>,
): void {
  const [kustomization] = named(manifests, 'Kustomization')
  const listed = textsOf(kustomization?.body['resources']).toSorted()
  const files = [...texts.keys()].map((file) => file.split('/').at(-1)!).toSorted()
  const expected = files.filter((file) => file !== KUSTOMIZATION)
  report.expect(
    JSON.stringify(listed) === JSON.stringify(expected),
    'kustomization',
    `resources must be ${expected.join(', ')}`,
  )
  for (const image of itemsOf(kustomization?.body['images']).map(membersOf)) {
    const isPinned = /^sha256:[0-9a-f]{64}$/.test(String(image['digest']))
    report.expect(isPinned, 'pinned-image', `${String(image['name'])}: a digest`)
  }
}

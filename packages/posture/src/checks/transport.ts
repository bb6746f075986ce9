/** Checks of dependencies and TLS. */
import { hitsOf, type Facts } from '../facts/facts.ts'
import {
  counted,
  fail,
  failOr,
  faultsOf,
  manual,
  notApplicable,
  pass,
  type Fault,
  type Outcome,
} from './outcome.ts'
import { endOfLife } from './release-dates.ts'
import { judgeSource } from './source-line.ts'

type Check = (facts: Facts) => Outcome

function checkDependencyAudit({ project }: Facts): Outcome {
  const audit = project?.audit
  if (audit === undefined) return manual('run with --audit, or "npm audit --omit=dev" in CI')
  if (audit.failure !== undefined) return manual(`the audit failed: ${audit.failure}`)
  return failOr(
    audit.vulnerable.map((each) => ({ where: each.split(':')[0] ?? each, evidence: each })),
    pass('the package manager knows no vulnerability of medium severity or above'),
  )
}

function checkVersions({ server, now }: Facts): Outcome {
  if (server === undefined) return manual('the versions behind an address are not seen')
  const end = endOfLife(server.nodeVersion)
  const faults: Fault[] = []
  if (end !== undefined && end <= now) {
    const day = new Date(end).toISOString().slice(0, 10)
    faults.push({
      where: `Node.js ${server.nodeVersion}`,
      evidence: `no security fixes since ${day}`,
    })
  }
  if (Number(server.fastifyVersion.split('.')[0]) < 5) {
    faults.push({
      where: `Fastify ${server.fastifyVersion}`,
      evidence: 'only version 5 receives security fixes',
    })
  }
  return failOr(faults, pass(`Node.js ${server.nodeVersion}, Fastify ${server.fastifyVersion}`))
}

function checkDatabaseTls({ environment }: Facts): Outcome {
  const faults: Fault[] = []
  let seen = 0
  for (const [name, value] of Object.entries(environment)) {
    if (
      value === undefined ||
      !/^(?:postgres(?:ql)?|redis|mysql|mariadb|mongodb|amqp|mqtt):\/\//i.test(value)
    )
      continue
    if (!URL.canParse(value)) continue
    const { hostname, searchParams, protocol } = new URL(value)
    if (/^(?:localhost|127\..*|\[::1\]|)$/i.test(hostname) || !hostname.includes('.')) continue
    seen++
    const mode =
      searchParams.get('sslmode') ?? searchParams.get('ssl') ?? searchParams.get('tls') ?? ''
    const isOn = /^(?:verify-full|verify-ca|require|true|1)$/i.test(mode)
    if (!isOn)
      faults.push({
        where: name,
        evidence: `${protocol}//${hostname} without TLS (${mode || 'no sslmode'})`,
      })
  }
  return failOr(
    faults,
    seen === 0
      ? notApplicable('no variable names a service on another host')
      : pass(`${counted(seen, 'address')} ask for TLS`),
  )
}

function checkUnverified(facts: Facts): Outcome {
  const isOff = facts.environment['NODE_TLS_REJECT_UNAUTHORIZED'] === '0'
  const faults = isOff
    ? [{ where: 'NODE_TLS_REJECT_UNAUTHORIZED', evidence: 'is 0 in the environment' }]
    : []
  return judgeSource(facts, ['unverified-tls'], 'connections that accept any certificate', faults)
}

function checkProtocols(facts: Facts): Outcome {
  const { tls, server, target } = facts
  const faults = faultsOf(hitsOf(facts, 'old-tls'))
  const min = server?.minTlsVersion
  if (min === 'TLSv1' || min === 'TLSv1.1')
    faults.push({ where: 'https.minVersion', evidence: min })
  for (const version of tls?.oldVersions ?? [])
    faults.push({ where: version, evidence: 'a handshake succeeded' })
  if (faults.length > 0) return fail(faults)
  if (tls?.protocol !== undefined && tls.protocol !== '')
    return pass(`negotiated ${tls.protocol}; TLS 1.0 and 1.1 were refused`)
  if (min !== undefined) return pass(`https.minVersion is ${min}`)
  return manual(
    target === 'site'
      ? 'the address is not https'
      : 'TLS ends outside the app: check its public address, too',
  )
}

/** Checks by the id of the line. */
export const transportChecks: Readonly<Record<string, Check>> = {
  'DEP-01': ({ project }) =>
    project === undefined
      ? manual('no project folder was given')
      : project.lockfile === undefined
        ? fail([{ where: 'package.json', evidence: 'there is no lockfile beside it or above it' }])
        : pass(project.lockfile),
  'DEP-02': ({ project }) =>
    project === undefined
      ? manual('no project folder was given')
      : failOr(
          project.looseRanges.map((each) => ({ where: 'package.json', evidence: each, key: each })),
          pass('every range is bounded'),
        ),
  'DEP-03': checkDependencyAudit,
  'DEP-04': checkVersions,
  'DEP-05': () => manual('publish an SBOM, and write down the time limits for updates'),
  'TLS-02': checkProtocols,
  'TLS-03': ({ tls }) => {
    if (tls === undefined)
      return manual('check the public address of the app: its certificate is seen there')
    if (tls.failure !== undefined) return fail([{ where: 'certificate', evidence: tls.failure }])
    if (tls.daysLeft !== undefined && tls.daysLeft < 14) {
      return fail([{ where: 'certificate', evidence: `expires in ${tls.daysLeft} days` }])
    }
    return pass(`trusted, ${tls.daysLeft ?? '?'} days left`)
  },
  'TLS-04': ({ tls }) => {
    if (tls === undefined)
      return manual('check the public address of the app: port 80 is seen there')
    const { plainHttp } = tls
    if (plainHttp === undefined) return pass('plain HTTP is refused')
    const isRedirect =
      plainHttp.status >= 300 && plainHttp.status < 400 && plainHttp.location.startsWith('https:')
    return isRedirect
      ? pass('plain HTTP is redirected to https')
      : fail([
          { where: 'port 80', evidence: `answers ${plainHttp.status} without a redirect to https` },
        ])
  },
  'TLS-05': checkUnverified,
  'TLS-06': checkDatabaseTls,
  'TLS-07': (facts) => judgeSource(facts, ['plain-http'], 'calls by plain HTTP'),
}

/** Checks of logs, audit, personal data, backups and the incident plan. */
import { repliesOf, type Facts } from '../facts/facts.ts'
import { isSuccess } from '../facts/reply.ts'
import { hasSchema, textOf } from '../facts/route.ts'
import {
  counted,
  fail,
  failOr,
  listed,
  manual,
  notApplicable,
  pass,
  type Outcome,
} from './outcome.ts'
import { findPersonal } from './schema-faults.ts'
import { judgeSource } from './source-line.ts'

type Check = (facts: Facts) => Outcome

const checkLogger: Check = ({ server }) => {
  if (server === undefined) return manual('the log is not seen from outside')
  if (server.hasLogger === undefined)
    return manual('what starts the plugin sets the logger: "fastify start --log-level info"')
  if (!server.hasLogger) return fail([{ where: 'logger', evidence: 'the app writes no log' }])
  return /^(?:trace|debug)$/.test(server.logLevel)
    ? fail([{ where: 'logger.level', evidence: server.logLevel }])
    : pass(`level ${server.logLevel}`)
}

const checkSecurityEvents: Check = ({ plugins }) =>
  plugins.names.has('securityEvents')
    ? pass('security events are emitted on app.securityEvents; check that they reach the log')
    : manual('check that logins, refusals and failed validations are logged')

const checkAudit: Check = (facts) => {
  const changing = facts.routes.filter(({ isSafe }) => !isSafe)
  if (facts.target === 'site') return manual('the audit trail is not seen from outside')
  if (changing.length === 0) return notApplicable('no route changes state')
  if (facts.plugins.names.has('audit'))
    return pass(
      `audit-log opens a record for each of ${counted(changing.length, 'state-changing route')}`,
    )
  const bare = changing.filter(
    (route) => !/audit|activityLog|event.?log|logChange/i.test(textOf(route)),
  )
  return failOr(
    bare.length === changing.length
      ? [
          {
            where: 'every route',
            evidence: `none of ${changing.length} state-changing routes leaves an audit record`,
            key: 'all',
          },
        ]
      : bare.map(({ name }) => ({ where: name, evidence: 'leaves no audit record' })),
    pass('every state-changing route writes an audit record'),
  )
}

const checkTrail: Check = ({ plugins }) =>
  plugins.names.has('audit')
    ? pass('audit-log signs its records in a Merkle log; verify it on a schedule')
    : manual('find out who could change the audit trail, and how that would be seen')

function personalOf(facts: Facts): { readonly marked: string[]; readonly unmarked: string[] } {
  const found = facts.routes
    .filter(({ isSafe }) => !isSafe)
    .map(({ name, schema }) => {
      const { marked, unmarked } = findPersonal(schema.body)
      const label = (each: string) => `${name} ${each}`
      return { marked: marked.map(label), unmarked: unmarked.map(label) }
    })
  return {
    marked: found.flatMap((each) => each.marked),
    unmarked: found.flatMap((each) => each.unmarked),
  }
}

const checkEncryption: Check = (facts) => {
  const { marked, unmarked } = personalOf(facts)
  if (facts.plugins.names.has('fieldEncryption')) {
    return pass(
      `field-encryption is registered; ${counted(marked.length, 'field')} marked personal`,
    )
  }
  if (marked.length > 0) {
    const encrypts = facts.routes.some((route) => /encrypt|cipher|seal\(/i.test(textOf(route)))
    const faults = marked.map((where) => ({
      where,
      evidence: 'is marked personal, and nothing encrypts it',
    }))
    return encrypts ? manual(`check that ${listed(marked)} are encrypted`) : fail(faults)
  }
  return unmarked.length > 0
    ? manual(`find out how ${listed(unmarked)} are stored`)
    : manual('no field is marked personal: find out which are')
}

const checkMarks: Check = (facts) => {
  const withBody = facts.routes.filter(({ schema, isSafe }) => !isSafe && hasSchema(schema.body))
  if (withBody.length === 0) return notApplicable('no route has a schema of the body')
  if (facts.plugins.names.has('fieldEncryption'))
    return pass('field-encryption names the personal fields')
  const { unmarked } = personalOf(facts)
  return failOr(
    unmarked.map((where) => ({ where, evidence: 'looks personal, and has no mark' })),
    pass('no unmarked field looks personal'),
  )
}

const checkRights: Check = ({ plugins }) =>
  plugins.names.has('privacy')
    ? pass('privacy is registered: access, portability, erasure and retention')
    : manual('try an access request and an erasure, and check retention times')

const checkPlan: Check = ({ plugins, project }) => {
  if (plugins.names.has('incidents') || plugins.names.has('incidentResponse')) {
    return pass('incident-response is registered: severities, playbooks and deadlines')
  }
  const documents =
    project?.documents.filter((name) => /incident|runbook|playbook/i.test(name)) ?? []
  return manual(
    documents.length > 0
      ? `read ${listed(documents)}: are people and deadlines named?`
      : 'no plan was found',
  )
}

const checkContact: Check = (facts) => {
  const reply = repliesOf(facts, 'page', 'plain').find(({ request }) =>
    request.url.endsWith('security.txt'),
  )?.reply
  if (reply !== undefined && isSuccess(reply) && /^contact:/im.test(reply.body))
    return pass('/.well-known/security.txt')
  const document = facts.project?.documents.find((name) => /^(?:docs\/)?security\./i.test(name))
  if (document !== undefined) return pass(document)
  return fail([
    { where: '/.well-known/security.txt', evidence: 'is missing, and so is SECURITY.md' },
  ])
}

const checkBackups: Check = ({ project }) => {
  const documents =
    project?.documents.filter((name) => /backup|restore|disaster|operation/i.test(name)) ?? []
  return manual(
    `check schedule, encryption and place of backups${documents.length > 0 ? `: ${listed(documents)}` : ''}`,
  )
}

/** Checks by the id of the line. */
export const recordChecks: Readonly<Record<string, Check>> = {
  'LOG-01': checkLogger,
  'LOG-02': (facts) =>
    judgeSource(facts, ['logged-secret'], 'bodies and credentials that are logged'),
  'LOG-03': checkSecurityEvents,
  'LOG-04': () => manual('check where logs go, who reads them, and which alerts exist'),
  'AUD-01': checkAudit,
  'AUD-02': checkTrail,
  'ENC-01': checkEncryption,
  'ENC-02': checkMarks,
  'ENC-03': (facts) => judgeSource(facts, ['weak-cipher', 'weak-hash'], 'weak ciphers and hashes'),
  'ENC-04': (facts) => judgeSource(facts, ['weak-random'], 'random values that can be predicted'),
  'ENC-05': checkRights,
  'BCK-01': checkBackups,
  'BCK-02': () => manual('name the date of the last restore, and what it verified'),
  'INC-01': checkPlan,
  'INC-02': checkContact,
  'INC-03': () => manual('name the date of the last exercise'),
}

/** Checks of errors, exposed pages and files, and secrets. */
import { hitsOf, repliesOf, type Facts } from '../facts/facts.ts'
import { headerOf, isHtml, isSuccess, type Reply } from '../facts/reply.ts'
import { findWeakness, isSecretVariable, nameLeak } from '../source/secret-texts.ts'
import {
  counted,
  fail,
  failOr,
  faultsOf,
  listed,
  manual,
  notApplicable,
  pass,
  type Fault,
  type Outcome,
} from './outcome.ts'
import { judgeSource } from './source-line.ts'

type Check = (facts: Facts) => Outcome

/** Text that belongs into a log. */
const LEAKS: readonly (readonly [what: string, pattern: RegExp])[] = [
  [
    'a stack trace',
    /\\n\s{2,}at |\n\s{2,}at \S+ \(|\bat (?:async )?[\w$.<>[\] ]+ \((?:file:\/\/)?\/?[^()\s]+:\d+:\d+\)/,
  ],
  [
    'a path of the file system',
    /(?:^|[\s"'(=])(?:\/(?:home|usr|var|srv|opt|app|Users|root|workspace)\/[\w.-]+\/[\w./-]+|[A-Z]:\\\\?[\w.-]+\\)/,
  ],
  [
    'the text of a query',
    /\bSELECT\s[\s\S]{1,200}\sFROM\s|INSERT INTO\s\w|syntax error at or near|SQLITE_[A-Z]+|ER_[A-Z_]{5,}|relation "\w+" does not exist/i,
  ],
  ['the address of a service', /\bE(?:CONNREFUSED|NOTFOUND|HOSTUNREACH)\b|connect ECONN/],
]

function findLeak(reply: Reply): string | undefined {
  return LEAKS.find(([, pattern]) => pattern.test(reply.body))?.[0]
}

const checkErrors: Check = (facts) => {
  const errors = facts.exchanges.filter(({ reply }) => reply !== undefined && reply.status >= 400)
  const faults: Fault[] = errors.flatMap(({ route, request, reply }) => {
    const leak = findLeak(reply!)
    return leak === undefined
      ? []
      : [
          {
            where: route,
            evidence: `${request.url.slice(0, 60)} got ${reply!.status} with ${leak}`,
          },
        ]
  })
  for (const { place, reply } of facts.server?.errorReplies ?? []) {
    if (reply !== undefined && LEAKS[0]![1].test(reply.body)) {
      faults.push({
        where: `error handler of ${place}`,
        evidence: 'an unexpected error was answered with its stack',
      })
    }
  }
  faults.push(...faultsOf(hitsOf(facts, 'sent-stack')))
  const unique = [...new Map(faults.map((each) => [each.where, each])).values()]
  return failOr(
    unique,
    errors.length === 0
      ? manual('no error was seen')
      : pass(`${counted(errors.length, 'error response')} examined`),
  )
}

const checkMessages: Check = (facts) => {
  const replies = facts.server?.errorReplies ?? []
  const faults: Fault[] = replies.flatMap(({ place, reply }) =>
    reply !== undefined && /posture-internal/.test(reply.body)
      ? [
          {
            where: `error handler of ${place}`,
            evidence: `the message of an unexpected error was sent with status ${reply.status}`,
          },
        ]
      : [],
  )
  faults.push(...faultsOf(hitsOf(facts, 'sent-message')))
  if (faults.length > 0) return fail(faults)
  const unknown = replies.filter(({ reply }) => reply === undefined).map(({ place }) => place)
  if (replies.length === 0) return manual('cause an unexpected error, and look at its response')
  return unknown.length > 0
    ? manual(`the error handler of ${listed(unknown)} could not be run alone`)
    : pass('unexpected errors are answered without their message')
}

const DEBUG_BODY =
  /"(?:openapi|swagger)"\s*:|swagger-ui|graphiql|"__schema"|process_cpu_|nodejs_heap|^# HELP /m

const checkPages: Check = (facts) => {
  const found = repliesOf(facts, 'page', 'plain').filter(({ reply, request }) => {
    if (!isSuccess(reply) || request.url.startsWith('/.well-known/')) return false
    return (
      DEBUG_BODY.test(reply.body) ||
      /^\/(?:debug|env|actuator|server-status)(?:$|[/?])/.test(request.url)
    )
  })
  const isPublic = facts.isDeclaredPublic
  const faults = found
    .filter(({ route }) => {
      const [method = '', url = ''] = route.split(' ')
      const isRbacPublic = facts.plugins.matrix?.some(
        (row) => row.url === url && row.anonymous === 'allow',
      )
      return !isPublic({ method, url }) && isRbacPublic !== true
    })
    .map(({ route, request, reply }) => ({
      where: route,
      evidence: `${request.url.split('?')[0]} got ${reply.status}, ${headerOf(reply, 'content-type')}`,
    }))
  const unique = [
    ...new Map(
      faults.map((each) => [
        each.where.split('?')[0]!.replace(/\/(?:json|yaml|static\/\*)?$/, ''),
        each,
      ]),
    ).values(),
  ]
  return failOr(unique, pass('no page of debugging or documentation was found'))
}

const FILE_BODY: readonly (readonly [file: RegExp, body: RegExp])[] = [
  [/\.env$/, /^\s*(?:export\s+)?[A-Z_]{2,}=/m],
  [/\.git\//, /^\[core\]|^ref: refs\//m],
  [/\.npmrc$/, /_authToken|registry=/],
  [/package(?:-lock)?\.json$/, /"(?:dependencies|lockfileVersion|scripts)"\s*:/],
  [
    /\.(?:js|sql)$|Dockerfile$|config\.json$/,
    /require\(|\bimport\s|CREATE TABLE|^FROM\s|"(?:password|secret)"\s*:/im,
  ],
]

const checkFiles: Check = (facts) => {
  const faults = repliesOf(facts, 'file')
    .filter(
      ({ reply, request }) =>
        isSuccess(reply) &&
        !isHtml(reply) &&
        FILE_BODY.some(([file, body]) => file.test(request.url) && body.test(reply.body)),
    )
    .map(({ request, reply }) => ({
      where: request.url,
      evidence: `got ${reply.status} with the file`,
    }))
  faults.push(...faultsOf(hitsOf(facts, 'dotfiles')))
  return failOr(faults, pass('.env, .git, package.json and others are not served'))
}

const checkListings: Check = (facts) => {
  const faults = faultsOf(hitsOf(facts, 'listing'))
  const listedPage = repliesOf(facts, 'plain').find(
    ({ reply }) => isHtml(reply) && /<title>Index of \/|<h1>Directory/i.test(reply.body),
  )
  if (listedPage !== undefined) faults.push({ where: listedPage.route, evidence: 'lists a folder' })
  for (const { reply } of repliesOf(facts, 'trace')) {
    if (isSuccess(reply) && reply.body.includes('x-posture-probe'))
      faults.push({ where: 'TRACE /', evidence: 'repeats the headers of the request' })
  }
  return failOr(faults, pass('no list of a folder, and TRACE is not answered'))
}

const checkEnvironment: Check = ({ environment }) => {
  const names = Object.entries(environment).filter(
    ([name, value]) =>
      value !== undefined &&
      value !== '' &&
      (isSecretVariable(name) || /:\/\/[^/\s:@]*:[^/\s@]+@/.test(value)),
  )
  if (names.length === 0) return notApplicable('no variable looks like a secret')
  const faults = names.flatMap(([name, value]) => {
    const problem = findWeakness(value!)
    return problem === undefined ? [] : [{ where: name, evidence: problem }]
  })
  return failOr(
    faults,
    pass(`${counted(names.length, 'variable')} examined: ${listed(names.map(([name]) => name))}`),
  )
}

const SECRET_MEMBER =
  /"(?:password_?hash|hashed_?password|passw(?:or)?d|pwd|secret|client_?secret|api_?key|private_?key|totp_?secret|mfa_?secret|reset_?token)"\s*:\s*"(?!\*|\[?redacted|hidden|string")[^"]{4,}"/i

const checkReplies: Check = (facts) => {
  const secrets = Object.entries(facts.environment).filter(
    ([name, value]) => value !== undefined && value.length >= 8 && isSecretVariable(name),
  )
  const replies = facts.exchanges.filter(
    ({ reply, kind }) => reply !== undefined && kind !== 'guessed-token',
  )
  const faults: Fault[] = replies.flatMap(({ route, reply }) => {
    const text = `${reply!.body}\n${JSON.stringify(reply!.headers)}`
    const named = secrets.find(([, value]) => text.includes(value!))
    if (named !== undefined)
      return [{ where: route, evidence: `contains the value of ${named[0]}` }]
    const format = nameLeak(reply!.body)
    if (format !== undefined) return [{ where: route, evidence: `contains ${format}` }]
    const isSchema = /"(?:openapi|swagger)"\s*:/.test(reply!.body)
    const member = isSchema ? undefined : SECRET_MEMBER.exec(reply!.body)?.[0]
    return member === undefined
      ? []
      : [{ where: route, evidence: `contains ${member.slice(0, member.indexOf(':'))}` }]
  })
  faults.push(...faultsOf(hitsOf(facts, 'sent-environment')))
  const unique = [...new Map(faults.map((each) => [each.where, each])).values()]
  return failOr(
    unique,
    replies.length === 0
      ? manual('no response was seen')
      : pass(`${counted(replies.length, 'response')} examined`),
  )
}

const checkSecretFiles: Check = ({ project }) =>
  project === undefined
    ? manual('no project folder was given')
    : failOr(
        project.secretFiles.map((name) => ({
          where: name,
          evidence: 'holds a secret, and .gitignore does not exclude it',
        })),
        pass('.env files and private keys are excluded'),
      )

const checkVault: Check = ({ plugins }) =>
  plugins.names.has('secrets')
    ? pass('secrets is registered: providers, rotation and its doctor')
    : manual('find out where secrets are kept, who can read them, and when they change')

/** Checks by the id of the line. */
export const leakChecks: Readonly<Record<string, Check>> = {
  'ERR-01': checkErrors,
  'ERR-02': checkMessages,
  'ERR-03': checkPages,
  'ERR-04': checkFiles,
  'ERR-05': checkListings,
  'SEC-01': checkEnvironment,
  'SEC-02': checkReplies,
  'SEC-03': (facts) => judgeSource(facts, ['hard-coded-secret', 'secret-default'], 'secrets'),
  'SEC-04': checkSecretFiles,
  'SEC-05': checkVault,
}

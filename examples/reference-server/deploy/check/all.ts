/** Checks every file of the folder `deploy`. */
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { checkCompose } from './compose.ts'
import { checkDockerfile } from './dockerfile.ts'
import type { Finding } from './finding.ts'
import { checkManifests } from './kubernetes/cluster.ts'
import { checkNginx } from './nginx.ts'
import * as postgresql from './postgresql.ts'
import * as services from './services.ts'
import { checkAttributes, type AttributeTable } from './terraform/attributes.ts'
import { checkData } from './terraform/data-rules.ts'
import { checkNetwork } from './terraform/network-rules.ts'
import { readConfiguration } from './terraform/read.ts'
import { checkReferences } from './terraform/references.ts'

/** The folder `deploy`. */
export const deployFolder = fileURLToPath(new URL('..', import.meta.url))

/** The files of `deploy`: path from there → text. */
export type Files = ReadonlyMap<string, string>

/** Reads every file that is deployed: not the checks, not what prepare.sh makes. */
export function readDeployFiles(): Files {
  const entries = readdirSync(deployFolder, { recursive: true, withFileTypes: true })
  return new Map(
    entries
      .filter((entry) => entry.isFile())
      .map((entry) => relative(deployFolder, join(entry.parentPath, entry.name)))
      .filter((path) => !/^(?:check|secrets)\//.test(path))
      .toSorted()
      .map((path) => [path, readFileSync(join(deployFolder, path), 'utf8')]),
  )
}

/** Reads the table of attributes. */
function readAttributeTable(): AttributeTable {
  const url = new URL('terraform/aws-attributes.json', import.meta.url)
  return JSON.parse(readFileSync(url, 'utf8')) as AttributeTable
}

type Check = (file: string, text: string) => Finding[] | Promise<Finding[]>

const byFile: readonly [pattern: RegExp, check: Check][] = [
  [/^Dockerfile$/, checkDockerfile],
  [/^compose\.yaml$/, checkCompose],
  [/^postgresql\/postgresql\.conf$/, postgresql.checkPostgresqlConf],
  [/^postgresql\/pg_hba\.conf$/, postgresql.checkPgHba],
  [/^postgresql\/.*\.sql$/, postgresql.checkSql],
  [/^redis\/redis\.conf$/, services.checkRedisConf],
  [/^redis\/users\.acl\.example$/, services.checkRedisUsers],
  [/^vault\/.*\.hcl$/, services.checkVault],
  [/\.sh$/, services.checkScript],
  [/^Dockerfile\.dockerignore$/, checkIgnore],
  [/^healthcheck\.mjs$/, checkHealth],
]

/** Checks the files, each with its rules, and those that belong together as one. */
export async function checkDeploy(files: Files): Promise<Finding[]> {
  const findings: Finding[] = []
  for (const [file, text] of files) {
    for (const [pattern, check] of byFile) {
      if (pattern.test(file)) findings.push(...(await check(file, text)))
    }
  }
  const read = (include: string): string => files.get(`nginx/${include}`) ?? ''
  for (const variant of ['modern.conf', 'intermediate.conf']) {
    findings.push(...checkNginx(`nginx/${variant}`, read))
  }
  findings.push(...(await checkManifests(within(files, /^kubernetes\//))))
  const configuration = await readConfiguration(within(files, /^terraform\/.*\.tf$/))
  findings.push(
    ...checkAttributes(configuration, readAttributeTable()),
    ...checkReferences(configuration),
    ...checkNetwork(configuration),
    ...checkData(configuration),
  )
  return findings
}

function within(files: Files, pattern: RegExp): Files {
  return new Map([...files].filter(([file]) => pattern.test(file)))
}

function checkIgnore(file: string, text: string): Finding[] {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  const isClosed = lines[0] === '*'
  const secrets = ['**/*.env', '**/.env*', '**/*.pem', '**/*.key', '**/data', '**/node_modules']
  const missing = secrets.filter((pattern) => !lines.includes(pattern))
  return isClosed && missing.length === 0
    ? []
    : [{ file, rule: 'context', message: `start with *, and exclude ${missing.join(', ')}` }]
}

function checkHealth(file: string, text: string): Finding[] {
  const isBounded = text.includes('AbortSignal.timeout(') && text.includes('127.0.0.1')
  return isBounded ? [] : [{ file, rule: 'deadline', message: 'a deadline, on loopback' }]
}

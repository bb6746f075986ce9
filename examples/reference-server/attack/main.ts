/**
 * `npm run demo:attack`: attacks a server, step by step, and says what stopped each attack. The exit code
 * is 0 if every attack was stopped, else 1.
 *
 * Without arguments it starts a server of its own on a temporary database. `--url` and `--data` attack a
 * server that runs with the demo users and trusts this process to name addresses; what the campaign changed
 * there is undone at the end, also after an interrupt.
 */
import { parseArgs } from 'node:util'
import { createProgress } from './progress.ts'
import * as access from './steps/access.ts'
import { editedRecord } from './steps/audit.ts'
import * as input from './steps/input.ts'
import * as passwords from './steps/passwords.ts'
import * as tokens from './steps/tokens.ts'
import type { Step } from './step.ts'
import { startTarget, useTarget, type Target } from './target.ts'

const steps: readonly Step[] = [
  passwords.promoteRules,
  passwords.bruteForce,
  passwords.stuffing,
  passwords.spraying,
  passwords.spreadSpraying,
  passwords.enumeration,
  input.sqlInjection,
  input.scripts,
  input.fileNames,
  access.roleTampering,
  access.foreignRows,
  access.crossSite,
  access.scanning,
  tokens.forgedToken,
  tokens.tokenTheft,
  tokens.totpReplay,
  access.massExport,
  editedRecord,
]

const { values } = parseArgs({
  options: { url: { type: 'string' }, data: { type: 'string' } },
})
const progress = createProgress(process.stdout, steps.length)
progress.say(
  values.url === undefined ? 'starting a server of its own …' : `attacking ${values.url}`,
)
const target = await openTarget(values)
let isInterrupted = false
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    isInterrupted = true
    progress.say('interrupted: the rest is skipped after this step')
  })
}
try {
  for (const step of steps) {
    if (isInterrupted) break
    const isPossible = step.needsDatabase !== true || target.sql !== undefined
    if (isPossible) await progress.run(step, () => step.run(target))
    else progress.skip(step, 'it needs the database of the server')
  }
} finally {
  // Before the result: what is left behind is a fault, too.
  progress.restored(await target.restore())
  await target.close()
}
process.exitCode = progress.finish() && !isInterrupted ? 0 : 1

async function openTarget({
  url,
  data = 'examples/reference-server/data',
}: typeof values): Promise<Target> {
  try {
    return await (url === undefined ? startTarget() : useTarget(url, data))
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`)
    return process.exit(1)
  }
}

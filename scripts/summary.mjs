// Prints `N passed, N failed, N skipped`, the last line of a CI run. It needs nothing but Node, so that it
// also works if the installation failed. Arguments: the number of failed steps that run no tests, then
// `exitCode:file` for each run of the tests, where `file` contains its TAP.
import { existsSync, readFileSync } from 'node:fs'

const [steps = '0', ...runs] = process.argv.slice(2)
const sum = { pass: 0, fail: Number(steps), skip: 0 }
for (const run of runs) {
  const [exitCode, file] = [run.slice(0, run.indexOf(':')), run.slice(run.indexOf(':') + 1)]
  const text = existsSync(file) ? readFileSync(file, 'utf8') : ''
  const totals = text.match(/^# \{ total: .*\}$/gm)?.at(-1) ?? ''
  const count = (word) => Number(new RegExp(`\\b${word}: (\\d+)`).exec(totals)?.[1] ?? 0)
  sum.pass += count('pass')
  // A run may fail although every test passes: low coverage, a crash, no tests at all.
  sum.fail += count('fail') || (exitCode === '0' ? 0 : 1)
  sum.skip += count('skip') + count('todo')
}
console.log(`${sum.pass} passed, ${sum.fail} failed, ${sum.skip} skipped`)

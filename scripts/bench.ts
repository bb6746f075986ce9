/** `pnpm bench [name…]`: runs the benchmarks of these packages or examples, or of all, one after another. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const root = new URL('../', import.meta.url)
const folders = ['packages', 'examples'].flatMap((group) =>
  readdirSync(new URL(`${group}/`, root)).map((name) => [name, `${group}/${name}/bench/`] as const),
)
const names = folders.map(([name]) => name).filter((name) => benchesOf(name).length > 0)
const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !names.includes(name))
if (unknown.length > 0) {
  console.error(`no benchmarks for ${unknown.join(', ')}; there are some for ${names.join(', ')}`)
  process.exit(1)
}

const goals: string[] = []
const crashed: string[] = []
for (const name of wanted.length > 0 ? wanted : names) {
  for (const file of benchesOf(name)) await run(file)
}
if (goals.length > 0) console.log(`\n${goals.join('\n')}`)
for (const file of crashed) console.error(`crashed: ${file}`)
process.exitCode = crashed.length > 0 ? 1 : 0

function benchesOf(name: string): string[] {
  const [, folder = ''] = folders.find(([each]) => each === name) ?? []
  if (!existsSync(new URL(folder, root))) return []
  const files = readdirSync(new URL(folder, root)).filter((file) => file.endsWith('.ts'))
  return files.toSorted().map((file) => folder + file)
}

async function run(file: string): Promise<void> {
  console.log(`\n# ${file}`)
  const child = spawn(process.execPath, [...process.execArgv, file], {
    cwd: fileURLToPath(root),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const closed = once(child, 'close')
  for await (const line of createInterface({ input: child.stdout })) {
    console.log(line)
    if (line.startsWith('goal ')) goals.push(line)
  }
  const [code] = (await closed) as [number | null]
  if (code !== 0) crashed.push(file)
}

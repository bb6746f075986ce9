/** Checks that the code in a README compiles, runs, and prints what the README says. */
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readReadme } from './docs.ts'
import { type Command, plainCommand, plainNode, ROOT } from './node-command.ts'
import type { TestContext } from './test-context.ts'

interface Fence {
  /** The first line of the code, counted from zero. */
  readonly line: number
  readonly language: string
  readonly words: readonly string[]
  readonly code: readonly string[]
  /** The first line after the closing fence that is not blank. */
  readonly next: number
}

interface Snippet {
  readonly file: string
  readonly line: number
  readonly run: boolean
  readonly output: string | undefined
}

interface Outcome {
  readonly failed: boolean
  readonly stdout: string
  readonly stderr: string
}

const RUN_DEADLINE_MS = 30_000

/**
 * Every `ts` fence of the README compiles under the workspace's options and every `js` fence parses.
 * A fence marked `run` (as in "ts run") is run as a module of the package and exits with 0, and a
 * fence "text output" that follows it directly is what it prints. A fence marked `continued` goes on
 * where the one before it ended. Messages carry the lines of the README.
 *
 * @param packageUrl the package's folder, with a `/` at its end.
 */
export async function checkSnippets(t: TestContext, packageUrl: URL): Promise<void> {
  const home = fileURLToPath(packageUrl)
  const parent = join(home, '.snippets')
  mkdirSync(parent, { recursive: true })
  const folder = mkdtempSync(join(parent, 'readme-'))
  try {
    const snippets = writeSnippets(readReadme(packageUrl), folder)
    if (!snippets.some(({ run }) => run)) t.fail('README.md needs an example in a "ts run" fence')
    await compile(t, folder)
    for (const snippet of snippets) if (snippet.run) await runSnippet(t, snippet, home)
  } finally {
    rmSync(folder, { recursive: true })
    removeEmpty(parent)
  }
}

function writeSnippets(readme: string, folder: string): Snippet[] {
  const snippets: Snippet[] = []
  const fences = fencesOf(readme)
  let text: string[] = []
  for (const fence of fences) {
    if (fence.language !== 'ts' && fence.language !== 'js') continue
    // The code is put on the line it has in the README, so that every message names that line.
    text = fence.words.includes('continued') ? text : []
    text = [...text, ...Array<string>(fence.line - text.length).fill(''), ...fence.code]
    const file = join(folder, `${fence.line}.${fence.language === 'ts' ? 'ts' : 'mjs'}`)
    writeFileSync(file, text.join('\n'))
    const output = fences.find(
      (other) =>
        other.line === fence.next + 1 &&
        other.language === 'text' &&
        other.words.includes('output'),
    )
    snippets.push({
      file,
      line: fence.line + 1,
      run: fence.words.includes('run'),
      output: output?.code.join('\n').trimEnd(),
    })
  }
  return snippets
}

function fencesOf(readme: string): Fence[] {
  const lines = readme.split('\n')
  const fences: Fence[] = []
  for (let line = 0; line < lines.length; line++) {
    const info = /^```(\w.*)$/.exec(lines[line]!)?.[1]
    if (info === undefined) continue
    const end = lines.indexOf('```', line + 1)
    if (end === -1) throw new Error(`README.md:${line + 1} opens a fence that is not closed`)
    const [language = '', ...words] = info.trim().split(/\s+/)
    const blank = lines.slice(end + 1).findIndex((text) => text.trim() !== '')
    fences.push({
      line: line + 1,
      language,
      words,
      code: lines.slice(line + 1, end),
      next: end + 1 + Math.max(blank, 0),
    })
    line = end
  }
  return fences
}

async function compile(t: TestContext, folder: string): Promise<void> {
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({
      extends: fileURLToPath(new URL('tsconfig.base.json', ROOT)),
      compilerOptions: {
        noEmit: true,
        noUnusedLocals: false,
        noUnusedParameters: false,
        allowJs: true,
        moduleDetection: 'force',
      },
      include: ['./*'],
    }),
  )
  const tsc = fileURLToPath(new URL('node_modules/typescript/bin/tsc', ROOT))
  const command = plainCommand(process.execPath, [tsc, '-p', folder, '--pretty', 'false'])
  const { failed, stdout, stderr } = await execute(command, folder)
  if (!failed) t.pass('the snippets of README.md compile')
  else t.fail(`README.md has snippets that do not compile:\n${inReadme(stdout + stderr)}`)
}

async function runSnippet(t: TestContext, snippet: Snippet, home: string): Promise<void> {
  const { failed, stdout, stderr } = await execute(plainNode([snippet.file]), home)
  const where = `the example at README.md:${snippet.line}`
  if (failed) {
    t.fail(`${where} does not run:\n${inReadme(stderr)}`)
  } else if (snippet.output !== undefined && stdout.trimEnd() !== snippet.output) {
    t.fail(`${where} prints:\n${stdout.trimEnd()}\nbut README.md says:\n${snippet.output}`)
  } else {
    t.pass(`${where} runs`)
  }
}

function execute([file, args]: Command, cwd: string): Promise<Outcome> {
  const options = { cwd, timeout: RUN_DEADLINE_MS, killSignal: 'SIGKILL' } as const
  return new Promise((resolve) => {
    execFile(file, args, options, (error, stdout, stderr) => {
      const late = error?.killed === true ? `\nkilled after ${RUN_DEADLINE_MS} ms` : ''
      resolve({ failed: error !== null, stdout, stderr: stderr + late })
    })
  })
}

/** Replaces the name of an extracted file by that of the README, in compiler output and stacks. */
function inReadme(text: string): string {
  return text.replaceAll(/[^\s(]*?\d+\.(?:ts|mjs)(?=[(:]\d)/g, 'README.md').trim()
}

function removeEmpty(folder: string): void {
  try {
    rmdirSync(folder)
  } catch {
    // Another run of the same test uses it.
  }
}

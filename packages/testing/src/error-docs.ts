/** What the docblocks of a package's `errors.ts` say of its errors; the reference pages print it. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { report, type TestContext } from './test-context.ts'

/** What the docblock of one error says. */
export interface ErrorDoc {
  /** The exported constant. */
  readonly name: string
  /** When the error is thrown: the first sentence. `''` where there is none. */
  readonly when: string
  /** What to do: the text behind `Fix:`, up to the end of its paragraph. `''` where there is none. */
  readonly fix: string
}

/** An error as its class makes it without arguments: `%s` in the message is not filled in. */
export interface ErrorFacts {
  readonly code: string
  readonly statusCode: number
  readonly message: string
}

/**
 * Reads the docblocks of the exported `PARAPET_*` constants of a source file.
 *
 * @param path names the file in the error. @throws Error the text does not parse.
 */
export async function readErrorDocs(path: string, text: string): Promise<ErrorDoc[]> {
  // Loaded here: most tests import this package and none of the others needs the native parser.
  const { parseSync } = await import('oxc-parser')
  const { program, comments, errors } = parseSync(path, text)
  if (errors.length > 0) throw new Error(`${path} does not parse: ${errors[0]!.message}`)
  const docs: ErrorDoc[] = []
  for (const node of program.body) {
    if (node.type !== 'ExportNamedDeclaration') continue
    if (node.declaration?.type !== 'VariableDeclaration') continue
    const comment = comments.findLast(
      ({ type, end }) =>
        type === 'Block' && end <= node.start && text.slice(end, node.start).trim() === '',
    )
    const isDocblock = comment?.value.startsWith('*') === true
    for (const { id } of node.declaration.declarations) {
      if (id.type !== 'Identifier' || !id.name.startsWith('PARAPET_')) continue
      docs.push({ name: id.name, ...readDocblock(isDocblock ? comment.value : '') })
    }
  }
  return docs
}

/** The facts of every error class among the exports of a module, by the name of the export. */
export function readErrorFacts(
  module: Readonly<Record<string, unknown>>,
): ReadonlyMap<string, ErrorFacts> {
  const facts = new Map<string, ErrorFacts>()
  for (const [name, value] of Object.entries(module)) {
    if (!name.startsWith('PARAPET_') || typeof value !== 'function') continue
    facts.set(name, new (value as new () => ErrorFacts)())
  }
  return facts
}

/**
 * Lists what is wrong with a package's errors: an error class without a docblock, a docblock without
 * a first sentence or without `Fix:`, a code that is not the name of its constant, and a message
 * that consists of placeholders only.
 *
 * @param file names the source file in each fault.
 */
export function findErrorFaults(
  file: string,
  docs: readonly ErrorDoc[],
  errors: ReadonlyMap<string, ErrorFacts>,
): string[] {
  const faults: string[] = []
  for (const [name, { code, message }] of errors) {
    const fault = (text: string): number => faults.push(`${file}: ${name} ${text}`)
    const doc = docs.find((candidate) => candidate.name === name)
    if (doc === undefined) fault('is not declared in this file as an exported constant')
    if (doc?.when === '') fault('needs a docblock that starts with when the error is thrown')
    if (doc?.fix === '') fault('needs a sentence "Fix: …" in its docblock that says what to do')
    if (code !== name) fault(`has the code ${code}: give both the same name`)
    if (!/\p{L}/u.test(message.replaceAll(/%[a-z]/gi, ''))) {
      fault(`has the message ${JSON.stringify(message)}: say in words what was expected`)
    }
  }
  for (const { name } of docs) {
    if (!errors.has(name)) faults.push(`${file}: ${name} is not exported by the package`)
  }
  return faults
}

/**
 * Every `PARAPET_*` error of the module has a docblock in `src/errors.ts` that says when it is
 * thrown and, behind `Fix:`, what to do; its code is its name; its message is more than `%s`.
 *
 * @param packageUrl the package's folder, with a `/` at its end.
 * @param module the package's exports; exports that are not error classes are ignored.
 */
export async function checkErrorDocs(
  t: TestContext,
  packageUrl: URL,
  module: Readonly<Record<string, unknown>>,
): Promise<void> {
  const file = 'src/errors.ts'
  const path = fileURLToPath(new URL(file, packageUrl))
  const docs = await readErrorDocs(path, readFileSync(path, 'utf8'))
  report(
    t,
    `${file} says of every error when it is thrown and what to do`,
    findErrorFaults(file, docs, readErrorFacts(module)),
  )
}

const TAGS = /(?:^|\s)@(?:default|deprecated|example|param|returns?|see|since|throws)\b[\s\S]*$/

function readDocblock(comment: string): { readonly when: string; readonly fix: string } {
  const text = comment
    .split('\n')
    .map((line) => line.replace(/^\s*\*+ ?/, '').trimEnd())
    .join('\n')
    // Block tags are for the compiler and the editor.
    .replace(TAGS, '')
    .replaceAll(/\{@link\s+([^}]+?)\s*\}/g, '`$1`')
  const [before = '', ...after] = text.split(/(?<!\S)Fix:\s+/)
  const [paragraph = ''] = after.join(' ').split(/\n\s*\n/, 1)
  const lead = oneLine(before)
  const sentence = /^.*?[.!?](?=\s+[^a-z\s]|$)/.exec(lead)?.[0] ?? lead
  const fix = oneLine(paragraph)
  return { when: sentence, fix: fix.charAt(0).toUpperCase() + fix.slice(1) }
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ').trim()
}

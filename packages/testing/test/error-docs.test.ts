import { checkErrorDocs, findErrorFaults, readErrorDocs, readErrorFacts } from '@parapet/testing'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { record } from './record.ts'

const SOURCE = `/** Every error of this plugin. Fix: nothing, this is the file's own comment. */
import { createError } from '@fastify/error'

/**
 * The session is revoked, see RFC 6749 §5.2 e.g. for the reply. It is
 * the same for every {@link Reason}.
 *
 * Fix: Log in again. Do not
 * repeat the request.
 *
 * A further remark.
 *
 * @see RFC 6749
 */
export const PARAPET_DEMO_REVOKED = createError('PARAPET_DEMO_REVOKED', 'Revoked', 401)

/** \`@parapet/demo\` met {@link Clock}; no full stop Fix: set "clock". @default none */
export const PARAPET_DEMO_CLOCK = createError('PARAPET_DEMO_CLOCK', 'No clock')

// Fix: a line comment is no docblock.
export const PARAPET_DEMO_BARE = createError('PARAPET_DEMO_BARE', 'Bare')

/** Nothing stands between. */
const local = 1
export const PARAPET_DEMO_ADRIFT = local,
  PARAPET_DEMO_SECOND = local

/** Is no error. Fix: none. */
export const LIMIT = 3
export function PARAPET_DEMO_FUNCTION() {}
export { local }
`

await t.test('the first sentence says when, and the text behind Fix says what to do', async (t) => {
  t.same(await readErrorDocs('errors.ts', SOURCE), [
    {
      name: 'PARAPET_DEMO_REVOKED',
      when: 'The session is revoked, see RFC 6749 §5.2 e.g. for the reply.',
      fix: 'Log in again. Do not repeat the request.',
    },
    {
      name: 'PARAPET_DEMO_CLOCK',
      when: '`@parapet/demo` met `Clock`; no full stop',
      fix: 'Set "clock".',
    },
    { name: 'PARAPET_DEMO_BARE', when: '', fix: '' },
    { name: 'PARAPET_DEMO_ADRIFT', when: '', fix: '' },
    { name: 'PARAPET_DEMO_SECOND', when: '', fix: '' },
  ])
  await t.rejects(readErrorDocs('errors.ts', 'export const'), /errors\.ts does not parse/)
})

function errorClass(code: string, message: string) {
  return class extends Error {
    readonly code = code
    readonly statusCode = 500
    override readonly message = message
  }
}

const A = 'PARAPET_A'
const faultsOf = (doc: { when: string; fix: string } | undefined, code: string, text: string) =>
  findErrorFaults(
    'src/errors.ts',
    doc === undefined ? [] : [{ name: A, ...doc }],
    readErrorFacts({ [A]: errorClass(code, text), PARAPET_LIMIT: 3, plugin: () => {} }),
  )

await t.test('an error without a docblock, a first sentence or a Fix is a fault', async (t) => {
  t.same(faultsOf({ when: 'Denied.', fix: 'Ask.' }, A, 'Denied'), [])
  t.same(faultsOf(undefined, A, 'Denied'), [
    'src/errors.ts: PARAPET_A is not declared in this file as an exported constant',
  ])
  t.same(faultsOf({ when: '', fix: 'Ask.' }, A, 'Denied'), [
    'src/errors.ts: PARAPET_A needs a docblock that starts with when the error is thrown',
  ])
  t.same(faultsOf({ when: 'Denied.', fix: '' }, A, 'Denied'), [
    'src/errors.ts: PARAPET_A needs a sentence "Fix: …" in its docblock that says what to do',
  ])
})

await t.test('a code with another name than its constant is a fault', async (t) => {
  t.same(faultsOf({ when: 'Denied.', fix: 'Ask.' }, 'PARAPET_B', 'Denied'), [
    'src/errors.ts: PARAPET_A has the code PARAPET_B: give both the same name',
  ])
})

await t.test('a message that consists of placeholders only is a fault', async (t) => {
  for (const message of ['%s', '%s %s', '%s: %s', '"%s" – %d.', '']) {
    const [fault, ...others] = faultsOf({ when: 'Denied.', fix: 'Ask.' }, A, message)
    t.equal(
      fault,
      `src/errors.ts: PARAPET_A has the message ${JSON.stringify(message)}: say in words what was expected`,
    )
    t.same(others, [])
  }
  t.same(faultsOf({ when: 'Denied.', fix: 'Ask.' }, A, 'The key "%s" %s'), [])
})

await t.test('a package is checked by its src/errors.ts and its exports', async (t) => {
  const folder = t.testdir({
    src: { 'errors.ts': '/** Denied. Fix: Ask. */\nexport const PARAPET_A = 1\n' },
  })
  const home = pathToFileURL(`${folder}/`)
  const { inner, log } = record()
  await checkErrorDocs(inner, home, { PARAPET_A: errorClass(A, 'Denied') })
  await checkErrorDocs(inner, home, { PARAPET_A: errorClass(A, '%s') })
  await checkErrorDocs(inner, home, {})
  t.same(log, [
    'pass src/errors.ts says of every error when it is thrown and what to do',
    'fail src/errors.ts: PARAPET_A has the message "%s": say in words what was expected',
    'fail src/errors.ts: PARAPET_A is not exported by the package',
  ])
})

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { securityHeaders } from '@parapet/security-headers'
import Fastify from 'fastify'
import t from 'tap'
import { hashSource } from '../src/csp/inline-hashes.ts'
import { build } from './helpers.ts'

await t.test('inline code of HTML files is hashed at boot', async (t) => {
  const folder = t.testdir({
    'a.html': `<!doctype html><SCRIPT>one()</SCRIPT><script src="/x.js" integrity="sha384-${'A'.repeat(64)}"></script>
      <style media="print">p{}</style><scripture>no</scripture><script></script>`,
    sub: {
      'b.htm': '<script type="module">two()\n</script ><style>q{}</style>',
      'c.txt': '<script>three()</script>',
    },
  })
  const app = await build(t, {
    preset: 'docs',
    csp: { 'style-src': ["'self'"] },
    hashFiles: [folder],
  })
  app.get(
    '/one',
    { config: { securityHeaders: { hashFiles: [join(folder, 'a.html')], preset: 'api' } } },
    async () => 'x',
  )
  await app.ready()
  const csp = app.securityHeaders.headers['content-security-policy']!
  for (const code of ['one()', 'two()\n', 'p{}', 'q{}']) t.ok(csp.includes(hashSource(code)), code)
  t.notOk(csp.includes(hashSource('three()')))
  t.match(csp, `'sha384-${'A'.repeat(64)}'`)
  const one = String((await app.inject('/one')).headers['content-security-policy'])
  t.match(one, new RegExp(`script-src '(sha256|sha384)[^;]*;`))
  t.ok(one.includes(hashSource('one()')) && !one.includes(hashSource('two()\n')))

  mkdirSync(join(folder, 'filled'))
  writeFileSync(join(folder, 'filled', 'd.html'), '<script>const user = {{ user }}</script>')
  const late = Fastify()
  t.after(() => late.close())
  await t.rejects(
    async () => {
      await late.register(securityHeaders, { hashFiles: [join(folder, 'filled')] })
    },
    { code: 'PARAPET_SECURITY_HEADERS_INVALID_OPTION', message: /placeholder/ },
  )
})
await t.test('a hash is computed from the code as a browser parses it', async (t) => {
  const folder = t.testdir({
    'a.html': [
      '<script>one()\r\ntwo()\r</script>',
      `<script data-a="x>y" data-integrity="sha256-${'A'.repeat(43)}=">three()</script>`,
      "<style title='a>b'>p{}</style>",
      '<script data-a="never closed>four()</script>',
    ].join('\r\n'),
  })
  const app = await build(t, {
    preset: 'docs',
    csp: { 'style-src': ["'self'"] },
    hashFiles: [folder],
  })
  const csp = app.securityHeaders.headers['content-security-policy']!
  for (const code of ['one()\ntwo()\n', 'three()', 'p{}']) {
    t.ok(csp.includes(hashSource(code)), code)
  }
  t.equal(csp.split("'sha256-").length, 4, 'no other hashes')
})

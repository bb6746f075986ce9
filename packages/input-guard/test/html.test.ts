/** Sanitized comments in a real browser, without a policy that would stop what the sanitizer misses. */
import { existsSync } from 'node:fs'
import { SafeHtml, SafeText, type AllowedHtml } from '@parapet/input-guard'
import { runs } from '@parapet/testing'
import { Type, type TSchema } from '@sinclair/typebox'
import fc from 'fast-check'
import { chromium, type Browser } from 'playwright-core'
import sanitizeHtml from 'sanitize-html'
import t, { type Test } from 'tap'
import { findExcess } from '../src/types/html-limits.ts'
import { LOOSE } from '../src/types/html.ts'
import { build, createChecker, post, verdicts } from './helpers.ts'

const CHROMIUM = process.env['CHROMIUM'] ?? '/usr/bin/chromium'

/** @returns `null` if there is no Chromium; the test is skipped by then. */
async function launch(t: Test): Promise<Browser | null> {
  if (!existsSync(CHROMIUM)) {
    const message = 'no Chromium at /usr/bin/chromium; set CHROMIUM to its path'
    if (process.env['PARAPET_REQUIRE_SERVICES'] === '1') t.fail(message)
    else t.pass('needs Chromium', { skip: message })
    return null
  }
  const args = ['--no-sandbox', '--proxy-server=127.0.0.1:9', '--proxy-bypass-list=127.0.0.1']
  const browser = await chromium.launch({ executablePath: CHROMIUM, args })
  t.after(() => browser.close())
  return browser
}

/** Code in every place that runs code, in several notations. Each one sets a mark. */
function hostileSnippets(): string[] {
  const run = 'marks.push(1)'
  const entities = Array.from(run)
    .map((each) => `&#${each.charCodeAt(0)};`)
    .join('')
  const hex = Array.from(run)
    .map((each) => `&#x${each.charCodeAt(0).toString(16)}`)
    .join('')
  const handlers = [
    '<img src=x onerror=$>',
    '<img src onerror=$>',
    '<image src=x onerror=$>',
    '<svg onload=$>',
    '<svg/onload=$>',
    '<svg><g onload=$>',
    '<body onload=$>',
    '<video><source onerror=$></video>',
    '<audio src=x onerror=$>',
    '<input autofocus onfocus=$>',
    '<select autofocus onfocus=$>',
    '<textarea autofocus onfocus=$>',
    '<details open ontoggle=$>',
    '<marquee onstart=$>',
    '<object data=x onerror=$>',
    '<embed src=x onload=$>',
    '<iframe onload=$>',
    '<a href=# onclick=$>x</a>',
    '<b onmouseover=$>x</b>',
    '<p onpointerenter=$>x</p>',
    '<style onload=$></style>',
    '<link rel=stylesheet href=x onerror=$>',
    '<form><button formaction=x onclick=$>x</button></form>',
    '<div style=animation-name:x onanimationstart=$>x</div>',
    '<table background=x onerror=$>',
    '<keygen autofocus onfocus=$>',
  ]
  const values = [run, `"${run}"`, `'${run}'`, entities, `"${hex}"`]
  const urls = [
    `javascript:${run}`,
    `JaVaScRiPt:${run}`,
    ` javascript:${run}`,
    `java\tscript:${run}`,
    `java\nscript:${run}`,
    `javascript&colon;${run}`,
    `&#106;avascript:${run}`,
    `&#x6A;avascript:${run}`,
    `\u0001javascript:${run}`,
    `javascript://%0a${run}`,
    `vbscript:${run}`,
    `data:text/html,<script>parent.${run}</script>`,
    `data:text/html;base64,PHNjcmlwdD4=`,
    `blob:${run}`,
  ]
  const carriers = [
    '<a href="$">x</a>',
    '<iframe src="$"></iframe>',
    '<form action="$"><button>x</button></form>',
    '<svg><a xlink:href="$"><text>x</text></a></svg>',
    '<math href="$">x</math>',
  ]
  const whole = [
    `<script>${run}</script>`,
    `<SCRIPT>${run}</SCRIPT>`,
    `<script src="data:,${run}"></script>`,
    `<script/x>${run}</script>`,
    `<scr<script>ipt>${run}</scr</script>ipt>`,
    `<<script>${run}//<</script>`,
    `<script\n>${run}</script\n>`,
    `<svg><script>${run}</script></svg>`,
    `<svg><script href="data:,${run}"/></svg>`,
    `<math><mtext><table><mglyph><style><img src=x onerror=${run}>`,
    `<noscript><p title="</noscript><img src=x onerror=${run}>">`,
    `<template><script>${run}</script></template>`,
    `<textarea></textarea><img src=x onerror=${run}>`,
    `<title></title><img src=x onerror=${run}>`,
    `<style>@import "javascript:${run}";</style><img src=x onerror=${run}>`,
    `<xmp><p title="</xmp><img src=x onerror=${run}>">`,
    `<noembed><img title="</noembed><img src=x onerror=${run}>"></noembed>`,
    `<iframe srcdoc="<script>parent.${run}</script>"></iframe>`,
    `<iframe srcdoc="&lt;img src=x onerror=parent.${run}&gt;"></iframe>`,
    `<meta http-equiv=refresh content="0;url=javascript:${run}">`,
    `<base href="javascript:${run}//"><a href=x>x</a>`,
    `<!--><img src=x onerror=${run}>-->`,
    `<!-- --!><img src=x onerror=${run}>`,
    `<![CDATA[<img src=x onerror=${run}>]]>`,
    `<?xml ?><img src=x onerror=${run}>`,
    `<p title="\`<img src=x onerror=${run}>">x`,
    `<a title='"><img src=x onerror=${run}>'>x</a>`,
    `<p/onload=${run}><img/src=x/onerror=${run}>`,
    `<img src="x\u0000" onerror=${run}>`,
    `<img """><script>${run}</script>">`,
    `&lt;script&gt;${run}&lt;/script&gt;<script>${run}</script>`,
    `<form><form><img src=x onerror=${run}></form></form>`,
    `<svg></p><style><a id="</style><img src=x onerror=${run}>">`,
    `<math></br><style><!--</style><img src=x onerror=${run}>-->`,
  ]
  return [
    ...handlers.flatMap((handler) => values.map((value) => handler.replace('$', value))),
    ...carriers.flatMap((carrier) => urls.map((url) => carrier.replace('$', url))),
    ...whole,
  ]
}

/** Shows HTML, touches everything that can be touched, and counts marks. */
async function countMarks(browser: Browser, bodies: readonly string[]): Promise<number> {
  const page = await browser.newPage()
  await page.setContent(
    `<!doctype html><script>window.marks = []</script><main>${bodies.map((body) => `<article>${body}</article>`).join('')}</main>`,
  )
  // As a text, because its names are those of the browser.
  const marks = await page.evaluate<number>(`(async () => {
    for (const element of document.querySelectorAll('main *')) {
      for (const type of ['mouseover', 'pointerenter', 'focus', 'animationstart']) {
        element.dispatchEvent(new MouseEvent(type, { bubbles: true }))
      }
      // A link to a page would leave this one; one that runs code is clicked.
      const leaves = !/^(?:javascript|vbscript|data|blob):$/.test(element.protocol ?? 'javascript:')
      const leave = (event) => event.preventDefault()
      if (leaves) element.addEventListener('click', leave)
      element.click?.()
    }
    await new Promise((resolve) => setTimeout(resolve, 300))
    return marks.length
  })()`)
  await page.close()
  return marks
}

await t.test('hostile comments run nothing in a browser', async (t) => {
  const snippets = hostileSnippets()
  t.ok(snippets.length >= 200, `${snippets.length} snippets`)
  const browser = await launch(t)
  if (browser === null) return
  for (const allow of ['comment', 'rich'] as const) {
    const check = await createChecker(t, SafeHtml({ allow }))
    const clean = await verdicts(check, snippets)
    const refused = clean.filter((each) => String(each).startsWith('!'))
    t.same(refused, ['!PARAPET_INPUT_GUARD_BODY_REFUSED'], `${allow}: only the one with NUL`)
    t.equal(await countMarks(browser, clean as string[]), 0, `${allow}: nothing ran`)
  }
  const control = await countMarks(
    browser,
    snippets.filter((each) => /^<(?:img|svg|b |p |a |details|body)/.test(each)),
  )
  t.ok(control > 40, `without the sanitizer ${control} marks were set`)
})

await t.test('ordinary rich text keeps its looks', async (t) => {
  const browser = await launch(t)
  if (browser === null) return
  const html =
    '<p>Hello <b>bold</b> <em>it</em> &amp; <a href="https://example.com/?a=1&amp;b=2">link</a></p><ul><li>one</li></ul><blockquote><code>x &lt; y</code></blockquote>'
  const check = await createChecker(t, SafeHtml())
  const [clean] = (await verdicts(check, [html])) as [string]
  const page = await browser.newPage()
  const looks = async (body: string) => {
    await page.setContent(`<!doctype html><main>${body}</main>`)
    return (await page.locator('main').screenshot()).toString('base64')
  }
  t.equal(await looks(clean), await looks(html))
})

await t.test('a change of notation is no removal, and nothing is escaped twice', async (t) => {
  const check = await createChecker(t, SafeHtml({ onUnsafe: 'reject' }))
  const harmless = {
    'a & b': 'a &amp; b',
    'a < b': 'a &lt; b',
    '<br/>': '<br />',
    '<p>open': '<p>open</p>',
    "O'Brien": "O'Brien",
    'plain "text" 東京': 'plain "text" 東京',
    '<B>x</B>': '<b>x</b>',
    '<a href="https://a.com">x</a>':
      '<a href="https://a.com" rel="nofollow noopener noreferrer">x</a>',
    '&lt;script&gt;': '&lt;script&gt;',
  }
  t.same(await verdicts(check, Object.keys(harmless)), Object.values(harmless))
  const again = Object.values(harmless)
  t.same(await verdicts(check, again), again, 'a clean text stays as it is')
  const unsafe = [
    '<script>',
    '<b onclick=x>x</b>',
    '<a href="javascript:x">x</a>',
    '<img src=x>',
    '<p style="color:red">x</p>',
    'a\u0008b',
    '<a href="//evil.com">x</a>',
    '<!-- c --><iframe>',
  ]
  t.same(
    await verdicts(check, unsafe),
    unsafe.map(() => '!html'),
  )
})

await t.test('a text loses nothing without saying so', async (t) => {
  const { app } = await build(t)
  app.post('/', { schema: { body: Type.Object({ v: SafeHtml() }) } }, async (request) => [
    (request.body as { v: string }).v,
    request.inputGuard.sanitized.length,
  ])
  const strict = await createChecker(t, SafeHtml({ onUnsafe: 'reject' }))
  const deep = `${'<b>'.repeat(60)}deep${'</b>'.repeat(60)}`
  const removed = {
    '<!-- secret -->x': 'x',
    '<!-- <b>a</b> x': '',
    '<?php x ?>': '',
    '<!doctype html>x': 'x',
    '</ a>x': 'x',
    '<b onclick="">x</b>': '<b>x</b>',
    '<a href="https://x" rel="me">x</a>':
      '<a href="https://x" rel="nofollow noopener noreferrer">x</a>',
    [deep]: `${'<b>'.repeat(50)}deep${'</b>'.repeat(50)}`,
  }
  for (const [text, clean] of Object.entries(removed)) {
    t.same((await post(app, '/', { v: text })).json(), [clean, 1], text)
    t.same(await strict(text), { code: 'html' }, text)
  }
  const kept = {
    'a<b': 'a&lt;b',
    'total<budget so we should buy it. Regards, Ann':
      'total&lt;budget so we should buy it. Regards, Ann',
    'I <3 you': 'I &lt;3 you',
    'x < y <b>z</b>': 'x &lt; y <b>z</b>',
  }
  for (const [text, clean] of Object.entries(kept)) {
    t.same((await post(app, '/', { v: text })).json(), [clean, 0], text)
    t.same(await strict(text), { value: clean }, text)
  }
})

await t.test('every attribute that is a URL has an allowed scheme', async (t) => {
  const names =
    'action background cite data formaction href icon longdesc manifest ping poster src srcset xlink:href'.split(
      ' ',
    )
  const allow = {
    tags: ['button', 'img'],
    attributes: { button: names, img: names },
    schemes: ['https'],
  }
  const check = await createChecker(t, SafeHtml({ allow }))
  const bad = [
    'javascript:x',
    'java\tscript:x',
    '&#106;avascript:x',
    'data:text/html,x',
    '//a.com/x',
  ]
  for (const name of names) {
    for (const url of bad) {
      t.same(
        await check(`<button ${name}="${url}">x</button>`),
        { value: '<button>x</button>' },
        url,
      )
    }
    const kept = { value: `<img ${name}="https://a.com/x" />` }
    t.same(await check(`<img ${name}="https://a.com/x">`), kept, name)
  }
})

await t.test('maxLength is that of the HTML as it is sent, and tags are limited', async (t) => {
  const check = await createChecker(t, SafeHtml({ maxLength: 100 }))
  t.same(await check('&'.repeat(100)), { value: '&amp;'.repeat(100) })
  t.same(await check('𝒳'.repeat(100)), { value: '𝒳'.repeat(100) }, 'characters are counted')
  for (const text of ['x'.repeat(101), '𝒳'.repeat(101), '<script></script>'.repeat(7)]) {
    t.same(await check(text), { code: 'max_length' })
  }
  const long = await createChecker(t, SafeHtml({ maxLength: 100_000, maxTags: 2500 }))
  t.same(await long('<b>'.repeat(5001)), { code: 'html_tags' })
  t.match(await long('<b>x</b>'.repeat(2500)), { value: /^<b>x/ })
})

await t.test('an engine that fails stops the request and shows nothing of itself', async (t) => {
  const engines = [
    () => {
      throw new Error('boom secret')
    },
    async () => ({ html: '', isChanged: true }),
    () => undefined,
  ]
  for (const sanitize of engines) {
    const { app } = await build(t, { htmlEngine: { sanitize: sanitize as never } })
    let hasRun = false
    app.post('/', { schema: { body: Type.Object({ v: SafeHtml() }) } }, async () => {
      hasRun = true
    })
    const reply = await post(app, '/', { v: '<b>' })
    t.match(
      [reply.statusCode, reply.json()],
      [500, { code: 'PARAPET_INPUT_GUARD_ENGINE_FAILED' }],
      reply.body,
    )
    t.notMatch(reply.body, /secret|destructure/)
    t.notOk(hasRun)
  }
})

await t.test('a branch that does not match changes and reports nothing', async (t) => {
  const code = SafeText({ maxLength: 30, lower: true, pattern: '^[a-z]+@[a-z.]+$' })
  const name = SafeText({ maxLength: 30 })
  const html = Type.Object({ k: Type.Literal('html'), v: SafeHtml() })
  const text = Type.Object({ k: Type.Literal('text'), v: SafeText({ maxLength: 99 }) })
  const plain = { k: 'text', v: 'a & b <script>1</script>' }
  const cases: [schema: TSchema, sent: unknown, value: unknown, sanitized: number][] = [
    [Type.Union([code, name]), 'Ann McCoy', 'Ann McCoy', 0],
    [Type.Union([code, name]), 'Ann@b.co', 'ann@b.co', 0],
    [Type.Union([html, text]), plain, plain, 0],
    [Type.Union([html, text]), { ...plain, k: 'html' }, { k: 'html', v: 'a &amp; b ' }, 1],
    [Type.Unsafe({ oneOf: [code, name] }), 'Ann McCoy', 'Ann McCoy', 0],
    [Type.Unsafe({ not: code }), 'Ann McCoy', 'Ann McCoy', 0],
    [Type.Unsafe({ if: code, else: name }), 'Ann McCoy', 'Ann McCoy', 0],
    [Type.Unsafe({ type: 'array', contains: code }), ['Ann', 'A@b.co'], ['Ann', 'a@b.co'], 0],
    [Type.Intersect([Type.Union([code, name]), name]), ' Ann ', 'Ann', 0],
  ]
  for (const [schema, sent, value, sanitized] of cases) {
    const { app } = await build(t)
    app.post('/', { schema: { body: Type.Object({ v: schema }) } }, async (request) => [
      (request.body as { v: string }).v,
      request.inputGuard.sanitized.length,
    ])
    const reply = await post(app, '/', { v: sent })
    t.same([reply.statusCode, reply.json()], [200, [value, sanitized]], JSON.stringify(schema))
  }
})

await t.test('unsafe members with invented names make one event', async (t) => {
  const { app, events } = await build(t)
  const body = Type.Record(Type.String(), SafeHtml({ maxLength: 100 }))
  app.post('/', { schema: { body } }, async (request) => request.inputGuard.sanitized.length)
  const names = Array.from({ length: 900 }, (_, at) => [`k${at}`, '<script>x</script>'])
  t.equal((await post(app, '/', Object.fromEntries(names))).body, '900')
  t.match(events, [{ type: 'input_guard.sanitized', details: { field: 'body/k0', suppressed: 0 } }])
  t.equal(events.length, 1)
})

await t.test("a list of one's own decides", async (t) => {
  const allow: AllowedHtml = { tags: ['p', 'a'], attributes: { a: ['href'] }, schemes: ['https'] }
  const check = await createChecker(t, SafeHtml({ allow }))
  t.same(await verdicts(check, ['<p>a<b>b</b></p>', '<a href="http://a.com">x</a>']), [
    '<p>ab</p>',
    '<a rel="nofollow noopener noreferrer">x</a>',
  ])
  const rich = await createChecker(t, SafeHtml({ allow: 'rich' }))
  const table =
    '<table><tbody><tr><td colspan="2">x</td></tr></tbody></table><img src="https://a.com/x.png" alt="x" />'
  t.same(await verdicts(rich, [table, '<img src="data:image/png;base64,x" alt="x" />']), [
    table,
    '<img alt="x" />',
  ])
})

await t.test(
  'elements that are nested too deeply are refused before an engine reads them',
  async (t) => {
    let reads = 0
    const { app } = await build(t, {
      htmlEngine: {
        sanitize(html) {
          reads++
          return { html, isChanged: false }
        },
      },
    })
    const most = { maxLength: 100_000, maxTags: 10_000, maxAttributes: 10_000 }
    const body = Type.Object({ html: SafeHtml(most) })
    app.post('/', { schema: { body } }, async () => 'ok')
    const send = async (html: string) => {
      reads = 0
      const reply = await post(app, '/', { html })
      return reply.statusCode === 200
        ? reads
        : reply.json<{ errors: { detail: string }[] }>().errors[0]?.detail
    }
    const deep = 'must nest at most 100 elements'
    const unclosed = [
      '<b>',
      '<b><p>',
      '<ul><li>',
      '<span class="x">',
      '<B>',
      '<b></i>',
      '<!--><b>',
      '<!-- --!><b>',
      '<li><p>',
      '<td><p>',
    ]
    for (const tag of unclosed) t.equal(await send(tag.repeat(2400)), deep, tag)
    t.equal(await send('<b>'.repeat(101) + '</b>'.repeat(101)), deep)
    const flat = [
      '<br>',
      '<img src="a">',
      '<li>x',
      '<p>x',
      '<tr><td>1<td>2',
      '<dt>a<dd>b',
      '<b>x</b>',
      '<i><b>x</i>',
      '<p>x<ul><li>y</ul>',
      '</b>',
      '<!-- <b> -->',
    ]
    for (const tag of flat) t.equal(await send(tag.repeat(1200)), 1, tag)
    t.equal(await send('<b>'.repeat(100) + '</b>'.repeat(100)), 1)
  },
)

const WIDE = { maxTags: 1e6, maxAttributes: 1e6, maxReferences: 1e6 }

await t.test('what is hostile by its amount is refused before an engine reads it', async (t) => {
  const flat = {
    html_tags: ['<b>x</b>', '<br>', '</b>', '<!-- x -->', '<p>x', '<script>x</script>', '<x/>'],
    html_attributes: ['<b a b c d e>', '<b a="x"b=\'y\'/c/d = e f>', '<b rel rel rel rel>'],
    html_references: ['&', '&lt;', '< ', '>', '&#x3c;x'],
  }
  for (const onUnsafe of ['sanitize', 'reject'] as const) {
    let reads = 0
    const sanitize = (html: string) => ({ html: (reads++, html), isChanged: false })
    const check = await createChecker(t, SafeHtml({ maxLength: 100_000, onUnsafe }), {
      htmlEngine: { sanitize },
    })
    for (const [code, units] of Object.entries(flat)) {
      for (const unit of units) {
        const text = unit.repeat(100_000 / unit.length)
        const verdict = (await check(text)) as { code: string }
        t.ok(verdict.code === code || verdict.code === 'html_tags', `${unit}: ${verdict.code}`)
      }
    }
    const one = '<b '.concat(Array.from({ length: 20_000 }, (_, at) => `a${at}`).join(' '), '>')
    t.same(await check(one.slice(0, 99_999).concat('>')), { code: 'html_attributes' })
    t.equal(reads, 0, onUnsafe)
  }
})

await t.test(
  'a text with as much as is allowed is cleaned, and its result is allowed, too',
  async (t) => {
    const check = await createChecker(t, SafeHtml({ maxLength: 20_000 }))
    const most = {
      tags: ['<p>x'.repeat(200), '<p>x'.repeat(201), 'html_tags'],
      attributes: [
        '<a href="https://a.com" title="x">x</a>'.repeat(200),
        `${'<a href="https://a.com" title="x y">x</a>'.repeat(199)}<b a b c>`,
        'html_attributes',
      ],
      references: [
        'a < b > c & d &amp; '.repeat(125),
        `${'a < b > c & d &amp; '.repeat(125)}&`,
        'html_references',
      ],
    }
    for (const [name, [text, more, code]] of Object.entries(most)) {
      const first = (await check(text!)) as { value: string }
      t.type(first.value, 'string', name)
      t.same(await check(first.value), first, `${name}: a result is its own result`)
      t.same(await check(more!), { code }, name)
    }
    const own = { maxTags: 1, maxAttributes: 1, maxReferences: 1 }
    const strict = await createChecker(t, SafeHtml(own))
    t.same(await verdicts(strict, ['<b lang="a">&</b>', '<b><i>', '<b a b>', '&&', '&>']), [
      '<b lang="a">&amp;</b>',
      '!html_tags',
      '!html_attributes',
      '!html_references',
      '!html_references',
    ])
    for (const [name, amount] of Object.entries({
      maxTags: 0,
      maxAttributes: 1.5,
      maxReferences: 10_001,
    })) {
      t.throws(() => SafeHtml({ [name]: amount }), { code: 'PARAPET_INPUT_GUARD_INVALID_TYPE' })
    }
  },
)

await t.test('no more tags and attributes reach a parser than were counted', async (t) => {
  const start =
    '<b|<i |<i a b>|<b c="|<s a=x>|<a href|<script>|</script>|<textarea>|<!--|-->|<!x|<?x'
  const rest = '>|/>|/|=|"|\'| |\n|\u00a0|\f|x|y=z| a|b c|</b>|&|\0'
  const unit = fc.constantFrom(...`${start}|${rest}`.split('|'))
  const text = fc.array(unit, { minLength: 10, maxLength: 80 }).map((units) => {
    let at = 0
    // A parser drops a name that is repeated in one tag.
    return units.join('').replaceAll(/(?<=[ /"'\n])[abcxy]/g, (name) => `${name}${at++}`)
  })
  const most = { tags: 0, attributes: 0 }
  fc.assert(
    fc.property(text, (given) => {
      const html = given.replaceAll(LOOSE, '&lt;')
      const seen = { tags: 0, attributes: 0 }
      sanitizeHtml(html, {
        allowedTags: false,
        allowedAttributes: false,
        allowVulnerableTags: true,
        transformTags: {
          '*': (tagName, attribs) => {
            seen.tags++
            seen.attributes += Object.keys(attribs).length
            return { tagName, attribs }
          },
        },
      })
      most.tags = Math.max(most.tags, seen.tags)
      most.attributes = Math.max(most.attributes, seen.attributes)
      const { tags, attributes } = seen
      return (
        (tags === 0 || findExcess(html, { ...WIDE, maxTags: tags - 1 }) === 'maxTags') &&
        (attributes === 0 ||
          findExcess(html, { ...WIDE, maxAttributes: attributes - 1 }) !== undefined)
      )
    }),
    { numRuns: runs(2000, 100_000) },
  )
  t.ok(most.tags > 5 && most.attributes > 5, JSON.stringify(most))
})

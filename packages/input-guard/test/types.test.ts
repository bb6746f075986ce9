import {
  CountryCode,
  DateRange,
  FutureDate,
  Money,
  Multiple,
  PARAPET_INPUT_GUARD_INVALID_TYPE,
  PARAPET_INPUT_GUARD_REDIRECT_FORBIDDEN,
  PastDate,
  PersonName,
  Phone,
  resolveRedirect,
  SafeEmail,
  SafeFilename,
  SafeHtml,
  SafeJson,
  SafeRedirect,
  SafeText,
  SafeUrl,
  SearchQuery,
  Slug,
  Uuid,
} from '@parapet/input-guard'
import { createManualClock } from '@parapet/kit'
import { readVectors, readVectorText } from '@parapet/testing'
import { Type } from '@sinclair/typebox'
import fc from 'fast-check'
import t from 'tap'
import { hasLongMarks, isPlain } from '../src/text/characters.ts'
import { build, createChecker, post, verdicts } from './helpers.ts'

await t.test('an e-mail address keeps its local part and gets an ASCII domain', async (t) => {
  const check = await createChecker(t, SafeEmail())
  t.same(
    await verdicts(check, [
      'Ann.Lee+tag@Example.COM',
      'a@пример.рф',
      "o'brien@example.co.uk",
      'a@b',
      'a@127.0.0.1',
      'a@[127.0.0.1]',
      'a@exam ple.com',
      'a@example.com\n',
      '"a b"@example.com',
      'a..b@example.com',
      `${'a'.repeat(65)}@example.com`,
      `a@${'b'.repeat(64)}.com`,
      'a@b@example.com',
      'a@example.com。',
      'a@-example.com',
      `a@${'b.'.repeat(130)}com`,
    ]),
    [
      'Ann.Lee+tag@example.com',
      'a@xn--e1afmkfd.xn--p1ai',
      "o'brien@example.co.uk",
      ...Array.from({ length: 13 }, () => '!email'),
    ],
  )
})

await t.test('throw-away mailboxes and domains without mail are refused on request', async (t) => {
  const asked: string[] = []
  const mailDomain = async (domain: string) => {
    asked.push(domain)
    if (domain === 'down.example.com') throw new Error('the resolver is down')
    return domain !== 'nomail.example.com'
  }
  const disposable = await createChecker(t, SafeEmail({ disposable: 'reject' }))
  t.same(await verdicts(disposable, ['a@mailinator.com', 'a@x.mailinator.com', 'a@example.com']), [
    '!email_disposable',
    '!email_disposable',
    'a@example.com',
  ])
  const mx = await createChecker(t, SafeEmail({ mx: true }), { mailDomain })
  t.same(await verdicts(mx, ['a@nomail.example.com', 'a@example.com', 'a@down.example.com']), [
    '!email_domain',
    'a@example.com',
    '!PARAPET_INPUT_GUARD_LOOKUP_FAILED',
  ])
  t.same(asked, ['nomail.example.com', 'example.com', 'down.example.com'])
  const own = createManualClock(0)
  const list = await createChecker(t, Type.Array(SafeEmail({ mx: true })), {
    mailDomain,
    clock: own,
  })
  asked.length = 0
  t.match(await list(Array<string>(100).fill('a@example.com')), { value: { length: 100 } })
  await list(['b@example.com'])
  t.same(asked, ['example.com'], 'one question for each domain')
  await list(['a@down.example.com'])
  await list(['a@down.example.com'])
  t.same(asked.slice(1), Array<string>(2).fill('down.example.com'), 'a failure is not remembered')
  own.advance(60_000)
  await list(['b@example.com'])
  t.equal(asked.length, 4, 'an answer is remembered for a minute')
  const { app } = await build(t)
  app.post('/', { schema: { body: SafeEmail({ mx: true }) } }, async () => 'ok')
  await t.rejects(Promise.resolve(app.ready()), /"mx" needs the option "mailDomain"/)
})

const decode = (address: string) =>
  address
    .replaceAll(/&#x([0-9a-f]+);/gi, (_, hex: string) => {
      const code = Number.parseInt(hex, 16)
      // The file writes control characters as their pictures.
      return String.fromCodePoint(code >= 0x2400 && code <= 0x2420 ? code - 0x2400 : code)
    })
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&amp;', '&')

await t.test('every published e-mail case has a verdict', async (t) => {
  const text = readVectorText(t, 'input/isemail_tests.xml')
  if (text === null) return
  const check = await createChecker(t, SafeEmail())
  const counts = { valid: [0, 0], erroneous: [0, 0], other: [0, 0] }
  for (const [, body] of text.matchAll(/<test id="[^"]*">(.*?)<\/test>/gs)) {
    const address = decode(/<address>(.*?)<\/address>/s.exec(body!)?.[1] ?? '')
    const category = /<category>(.*?)<\/category>/s.exec(body!)![1]!
    const kind =
      category === 'ISEMAIL_VALID_CATEGORY'
        ? 'valid'
        : category === 'ISEMAIL_ERR'
          ? 'erroneous'
          : 'other'
    const verdict = await check(address)
    counts[kind]['value' in verdict ? 0 : 1]!++
  }
  t.equal(counts.erroneous[0], 0, `no erroneous address of ${counts.erroneous[1]} is accepted`)
  t.ok(counts.valid[0]! >= 13, `valid: ${counts.valid[0]} accepted, ${counts.valid[1]} refused`)
  t.ok(counts.erroneous[1]! > 50 && counts.other[1]! > 50, 'the file was read')
  t.comment(JSON.stringify(counts))
})

/** Names of real artists, in the scripts and signs that they use. */
const ARTISTS = [
  'Björk',
  'Sigur Rós',
  "Sinéad O'Connor",
  'Beyoncé',
  'Rosalía',
  'Mötley Crüe',
  'Motörhead',
  'Jean-Michel Jarre',
  'D’Angelo',
  'Zoë Keating',
  'Antonín Dvořák',
  'Nguyễn Lê',
  'Đorđe',
  'Земфира',
  'Πασχάλης',
  '坂本龍一',
  '久石 譲',
  '방탄소년단',
  'أم كلثوم',
  'עידן רייכל',
  'ลำไย ไหทองคำ',
  'ए आर रहमान',
  'Samuel L. Jackson',
  'St. Vincent',
]
const STAGE_NAMES = [
  'AC/DC',
  'P!nk',
  '2Pac',
  'Ke$ha',
  'blink-182',
  'Sunn O)))',
  '!!!',
  'Simon & Garfunkel',
  'M.I.A.',
]

await t.test('names of real people in any script are accepted, markup is not', async (t) => {
  t.equal(ARTISTS.length, 24)
  const check = await createChecker(t, PersonName())
  const names = ARTISTS.map((name) => name.normalize('NFC'))
  t.same(
    await verdicts(
      check,
      ARTISTS.map((name) => ` ${name.normalize('NFD')} `),
    ),
    names,
  )
  const refused = [
    '<b>',
    'a;b',
    '1',
    '',
    ' ',
    '=1+1',
    'a\u202eb',
    'a\nb',
    '---',
    'a\u200bb',
    'a\\b',
  ]
  const codes = await verdicts(check, refused)
  t.ok(
    codes.every((each) => String(each).startsWith('!')),
    String(codes),
  )
  const stage = await createChecker(t, PersonName({ stage: true }))
  t.same(await verdicts(stage, STAGE_NAMES), STAGE_NAMES)
  t.same(await verdicts(stage, ['<script>', 'a"b', 'a;b']), Array<string>(3).fill('!person_name'))
})

await t.test('a search has words and punctuation, and no comments of SQL', async (t) => {
  const check = await createChecker(t, SearchQuery())
  const words = [
    "rock'n'roll",
    'AC/DC',
    'São Paulo 2027',
    '東京',
    'C# & F#',
    'what?',
    '"exact words"',
    '¿qué?',
    '日本語、です',
    '€50',
    '100%',
    'café—bar',
    '',
  ]
  t.same(await verdicts(check, words), words)
  const attacks = [
    "'; DROP TABLE users; --",
    "' OR 1=1 --",
    '<script>',
    '{"$ne":1}',
    'a/*x*/',
    '*)(uid=*',
    '${7*7}',
    '`id`',
  ]
  t.same(
    await verdicts(check, attacks),
    attacks.map(() => '!search_query'),
  )
})

await t.test(
  'text is trimmed and normalised once; what hides or reorders text is refused',
  async (t) => {
    const check = await createChecker(t, SafeText({ maxLength: 20, lower: true, minLength: 2 }))
    t.same(
      await verdicts(check, [
        '  E\u0301Ab ',
        'x',
        ' x ',
        'a\tb',
        'a\u0000b',
        'a\u202eb',
        'a\ufeffb',
        'x'.repeat(21),
      ]),
      [
        'éab',
        '!min_length',
        '!min_length',
        '!control_character',
        '!PARAPET_INPUT_GUARD_BODY_REFUSED',
        '!bidi_character',
        '!invisible_character',
        '!max_length',
      ],
    )
    const lines = await createChecker(
      t,
      SafeText({
        maxLength: 50,
        multiline: true,
        trim: false,
        normalize: 'NFKC',
        pattern: '^[^x]*$',
      }),
    )
    t.same(await verdicts(lines, [' a\n\tﬁ ', 'x']), [' a\n\tfi ', '!pattern'])
  },
)

await t.test('text has no hidden characters, and joiners only where they join', async (t) => {
  const check = await createChecker(t, SafeText({ maxLength: 50 }))
  const ordinary = [
    '👩‍👩‍👧 👍🏽 ❤️ 1️⃣ 👩🏽‍🚀 ❤️‍🔥',
    'می‌خواهم',
    'क्‍ष',
    'ශ්‍රී',
    '葛\u{e0100}城',
    'Nguyễn Thị',
    'e\u0301'.normalize('NFC'),
  ]
  t.same(await verdicts(check, ordinary), ordinary)
  const hidden = [
    'a\u{e0100}b',
    '葛\u{e0100}\u{e0101}',
    'a\u200db',
    'a\u200cb',
    '👩\u200d\u200d👩',
    'a\ufe0f',
    'a\ufe00',
    '\ue000',
    '\ufdd0',
    '\u{1ffff}',
    '\u{f0000}',
    'a\u2800b',
    '\u2065',
    '\u{1d173}',
    '\u{1bca0}',
  ]
  t.same(
    await verdicts(check, hidden),
    hidden.map(() => '!invisible_character'),
  )
})

const marks = (count: number) => `a${'\u0323'.repeat(count)}`

await t.test('a letter has at most 30 marks, in every type that normalises', async (t) => {
  const long = { maxLength: 100 }
  for (const [schema, code] of [
    [SafeText(long), 'combining_marks'],
    [SafeText({ ...long, normalize: 'NFKC' }), 'combining_marks'],
    [PersonName(long), 'combining_marks'],
    [SearchQuery(long), 'combining_marks'],
    [SafeFilename(), 'combining_marks'],
    [SafeJson(), 'combining_marks'],
  ] as const) {
    const check = await createChecker(t, schema)
    t.match(await check(marks(29)), { value: /./ })
    t.same(await check(marks(40)), { code })
  }
  const email = await createChecker(t, SafeEmail())
  t.same(await email(`a@${marks(40)}.com`), { code: 'email' })
  const url = await createChecker(t, SafeUrl())
  t.same(await url(`https://${marks(40)}.com/`), { code: 'url' })
  const redirect = await createChecker(t, SafeRedirect({ origin: 'https://a.com' }))
  t.same(await redirect(`//${marks(40)}.com/`), { code: 'redirect' })
})

await t.test('the short cuts for ordinary text find what the exact checks find', async (t) => {
  const forbidden = /[\p{Cc}\p{Default_Ignorable_Code_Point}\p{Bidi_Control}]/u
  for (let code = 0; code < 0x300; code++) {
    const text = String.fromCodePoint(code)
    if (isPlain(text)) t.equal(text.normalize('NFC'), text)
    if (isPlain(text) === forbidden.test(text)) t.fail(`U+${code.toString(16)}`)
    if (isPlain(text, true) !== (isPlain(text) || '\t\n\r'.includes(text))) t.fail('with lines')
  }
  t.notOk(isPlain('a\u0300'), 'a mark may be out of order')
  // A mark is one of two units of a pair, too.
  const pair = '\u{1d165}'
  t.notOk(hasLongMarks('a'.concat('\u0301'.repeat(14), pair.repeat(16))))
  t.ok(hasLongMarks('a'.concat('\u0301'.repeat(15), pair.repeat(16))))
  t.notOk(hasLongMarks('\u{1f600}'.repeat(40)))
  t.notOk(hasLongMarks('a'.repeat(40)))
})

await t.test('texts that imitate others are refused on request', async (t) => {
  const check = await createChecker(t, SafeText({ maxLength: 50, confusables: 'reject' }))
  const honest = ['paypal', 'Привет', 'Bjørn', '東京 Tokyo', 'Αθήνα', 'Æsop', 'Straße', 'علي Ali']
  t.same(await verdicts(check, honest), honest)
  const imitations = [
    'pаypal',
    'раура',
    'Gοοgle',
    'pɑypal',
    'ꓑaypal',
    'p𝗮ypal',
    'ｐａｙ',
    'ⲣⲟ',
    'ꓑ 1',
  ]
  t.same(
    await verdicts(check, imitations),
    imitations.map(() => '!confusable'),
  )
})

await t.test('the name of a file has no path in any notation', async (t) => {
  const check = await createChecker(t, SafeFilename())
  const names = [
    'report.pdf',
    'Überblick 2027 (final).docx',
    '写真.png',
    "o'brien.txt",
    'archive.tar.gz',
    'a…b.txt',
    '½.txt',
    'My%20file%20%281%29.pdf',
  ]
  t.same(await verdicts(check, names), names)
  const attacks = [
    '../etc/passwd',
    '..\\..\\boot.ini',
    '/etc/passwd',
    'C:\\x',
    'a/b',
    'a\\b',
    '..',
    '.',
    '.htaccess',
    'a%2e%2e%2fb',
    '%2e%2e',
    '..%c0%af',
    '%252e%252e',
    '%u2216',
    'a∕b',
    'a／b',
    '．．／x',
    'a⁄b',
    'nul',
    'CON.txt',
    'com1.log',
    'LPT¹',
    'aux ',
    'a.',
    'a ',
    'a:stream',
    'a|b',
    'a?b',
    'a*b',
    '~root',
    '-rf',
    'a‮txt.exe',
    'a\nb',
    '…/x',
    'a<b',
    'a"b',
    '&#46;&#46;/',
  ]
  const accepted = (await verdicts(check, attacks)).filter((each) => !String(each).startsWith('!'))
  t.same(accepted, [])
  t.same(await verdicts(check, ['é'.repeat(128)]), ['!file_name_bytes'])
  const images = await createChecker(t, SafeFilename({ extensions: ['png', 'jpg'] }))
  t.same(await verdicts(images, ['a.PNG', 'a.png.exe', 'png', 'a.svg']), [
    'a.PNG',
    ...Array<string>(3).fill('!file_extension'),
  ])
})

await t.test('no generated traversal is accepted as the name of a file', async (t) => {
  const check = await createChecker(t, SafeFilename())
  const dots = [
    '..',
    '%2e%2e',
    '%252e%252e',
    '．．',
    '..%00',
    '%c0%ae%c0%ae',
    '....',
    '.%2e',
    '\u2024\u2024',
  ]
  const slashes = [
    '/',
    '\\',
    '%2f',
    '%5c',
    '%252f',
    '%c0%af',
    '\u2215',
    '\uff0f',
    '\u2044',
    '\uff3c',
    '//',
    '/./',
  ]
  const targets = ['etc/passwd', 'boot.ini', 'windows\\win.ini', 'x']
  const payloads = dots.flatMap((dot) =>
    slashes.flatMap((slash) =>
      targets.flatMap((target) => [1, 3].map((times) => (dot + slash).repeat(times) + target)),
    ),
  )
  t.ok(payloads.length > 800)
  const accepted: string[] = []
  for (const payload of payloads) if ('value' in (await check(payload))) accepted.push(payload)
  t.same(accepted, [])
})

await t.test('a URL has an allowed scheme and host, and no credentials', async (t) => {
  const check = await createChecker(t, SafeUrl())
  t.same(
    await verdicts(check, [
      'https://Example.com/a b',
      'https://example.com',
      'http://example.com',
      'https://u:p@example.com',
      'javascript:alert(1)',
      ' https://a.com',
      'https://a.com\\@b.com',
      'java\nscript:alert(1)',
      '//a.com',
      '/a',
    ]),
    [
      '!url',
      'https://example.com/',
      '!url_scheme',
      '!url_credentials',
      '!url_scheme',
      '!url',
      '!url',
      '!url',
      '!url',
      '!url',
    ],
  )
  const hosts = await createChecker(
    t,
    SafeUrl({ schemes: ['https', 'http'], hosts: ['a.com', '*.b.com'], credentials: true }),
  )
  t.same(
    await verdicts(hosts, [
      'http://a.com/x',
      'https://x.b.com/',
      'https://u@a.com/',
      'https://b.com/',
      'https://a.com.evil.com/',
      'https://evilb.com/',
    ]),
    [
      'http://a.com/x',
      'https://x.b.com/',
      'https://u@a.com/',
      '!url_host',
      '!url_host',
      '!url_host',
    ],
  )
})

await t.test('a redirect stays on the own origin', async (t) => {
  const origin = 'https://app.example.com'
  const check = await createChecker(t, SafeRedirect({ origin }))
  const own = ['/home?x=1#y', 'https://app.example.com/a', 'settings', '?q=1', '/a//b']
  t.same(await verdicts(check, own), ['/home?x=1#y', '/a', '/settings', '/?q=1', '/a//b'])
  const hosts = ['evil.com', 'app.example.com.evil.com', 'app.example.com@evil.com', '127.0.0.1']
  const prefixes = [
    '//',
    '///',
    '/\\',
    '\\/',
    '\\\\',
    'https:',
    'https://',
    'http://',
    '/\t/',
    '/%0d/..//',
    'https:\\\\',
    '////',
    'javascript://',
    './/..//',
    'https:/',
    '/.//',
    '/..//',
  ]
  const attacks = prefixes.flatMap((prefix) => hosts.map((host) => `${prefix}${host}`))
  for (const attack of attacks) {
    const verdict = await check(attack)
    if ('value' in verdict) {
      // What browsers make of the accepted path.
      t.equal(new URL(String(verdict.value), origin).origin, origin, attack)
      t.notMatch(verdict.value, /^\/[/\\]/, attack)
    }
  }
  t.throws(() => resolveRedirect('//evil.com', origin), {
    code: new PARAPET_INPUT_GUARD_REDIRECT_FORBIDDEN().code,
    statusCode: 400,
  })
  t.equal(resolveRedirect('/a?b', origin), '/a?b')
})

await t.test('a JSON value has limits and no names of the prototype', async (t) => {
  const check = await createChecker(t, SafeJson({ maxDepth: 3, maxValues: 10, maxStringLength: 5 }))
  const deep = { a: { b: { c: 1 } } }
  t.same(
    await verdicts(check, [
      1,
      null,
      'short',
      deep,
      { a: deep },
      Array.from({ length: 11 }, () => 1),
      'longer',
      { longer: 1 },
      { constructor: 1 },
      { prototype: {} },
      ['a\u202e'],
      { '\u202e': 1 },
    ]),
    [
      1,
      null,
      'short',
      deep,
      '!json_depth',
      '!json_values',
      '!json_string',
      '!json_string',
      '!prototype_key',
      '!prototype_key',
      '!bidi_character',
      '!bidi_character',
    ],
  )
})

await t.test('a number that JSON.parse reads as infinity is refused', async (t) => {
  // Otherwise the guard of bodies refuses it before.
  const { app } = await build(t, { json: { refuseInexactNumbers: false } })
  let hasRun = false
  app.post('/', { schema: { body: SafeJson() } }, async () => {
    hasRun = true
  })
  for (const body of ['1e309', '{"a":[-1e999]}']) {
    const reply = await post(app, '/', body)
    t.match([reply.statusCode, reply.json()], [400, { errors: [{ code: 'json_number' }] }])
  }
  t.notOk(hasRun)
})

await t.test('amounts and decimals have no errors of floating point', async (t) => {
  const money = await createChecker(t, Money({ currencies: ['EUR', 'JPY'], maximum: 1000 }))
  t.same(
    await verdicts(money, [
      { amountMinor: 5, currency: 'EUR' },
      { amountMinor: 5.5, currency: 'EUR' },
      { amountMinor: -1, currency: 'EUR' },
      { amountMinor: 1, currency: 'USD' },
      { amountMinor: '5', currency: 'EUR' },
      { amountMinor: 5, currency: 'EUR', x: 1 },
    ]),
    [
      { amountMinor: 5, currency: 'EUR' },
      '!type',
      '!minimum',
      '!enum',
      '!type',
      '!additional_properties',
    ],
  )
  const cents = await createChecker(t, Multiple('0.01', { minimum: -100, maximum: 10_000 }))
  const exact = [1.13, 0.07, 4.35, 1.1, 9999.99, -1.01, 0, 5]
  t.same(await verdicts(cents, exact), exact)
  t.same(await verdicts(cents, [1.135, 0.001, 1.130_000_1, 10_001, '1.13']), [
    ...Array<string>(3).fill('!decimals'),
    '!maximum',
    '!type',
  ])
  const all = await createChecker(t, Multiple('0.01'))
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: -1e12, max: 1e12 }), async (hundredths) => {
      const value = Number(`${hundredths}e-2`)
      return 'value' in (await all(value))
    }),
    { numRuns: 200 },
  )
})

await t.test('ids, slugs, countries and telephone numbers have one spelling', async (t) => {
  const id = '01a214b6-9333-73c2-af78-e149552e961f'
  t.same(
    await verdicts(await createChecker(t, Uuid()), [
      id.toUpperCase(),
      `urn:uuid:${id}`,
      `{${id}}`,
      id.replaceAll('-', ''),
      '',
    ]),
    [id, ...Array<string>(4).fill('!uuid')],
  )
  t.same(
    await verdicts(await createChecker(t, Uuid({ version: 4 })), [id, id.replace('-7', '-4')]),
    ['!uuid', id.replace('-7', '-4')],
  )
  t.same(await verdicts(await createChecker(t, Slug()), ['a-b-2', 'A', 'a--b', '-a', 'a b']), [
    'a-b-2',
    ...Array<string>(4).fill('!slug'),
  ])
  t.same(await verdicts(await createChecker(t, CountryCode()), ['DE', 'de', 'XX', 'DEU']), [
    'DE',
    ...Array<string>(3).fill('!enum'),
  ])
  t.same(
    await verdicts(await createChecker(t, Phone()), [
      '+34 911 23 45 67',
      '(0)911',
      '+1',
      '+34 911 23 45 67 ext 5',
      '٣٤٥٦',
    ]),
    ['+34911234567', ...Array<string>(4).fill('!phone')],
  )
  t.same(
    await verdicts(await createChecker(t, Phone({ defaultCountry: 'ES', countries: ['ES'] })), [
      '911 23 45 67',
      '+49 30 901820',
    ]),
    ['+34911234567', '!phone_country'],
  )
})

await t.test('dates exist, and are compared with the clock', async (t) => {
  const past = await createChecker(t, PastDate())
  t.same(
    await verdicts(past, [
      '2026-11-26',
      '2000-02-29',
      '2026-11-27',
      '2026-02-30',
      '1900-02-29',
      '26-11-2026',
      '0000-01-01',
      '2026-13-01',
    ]),
    [
      '2026-11-26',
      '2000-02-29',
      '!date_not_past',
      '!date',
      '!date',
      '!date',
      '!date_too_far',
      '!date',
    ],
  )
  const future = await createChecker(t, FutureDate({ format: 'date-time', maxDays: 30 }))
  t.same(
    await verdicts(future, [
      '2026-11-26T12:00:01Z',
      '2026-11-26T13:00:00+02:00',
      '2026-11-26T12:00:00Z',
      '2027-11-26T12:00:00Z',
      '2026-11-27',
      '2026-11-27T25:00:00Z',
    ]),
    [
      '2026-11-26T12:00:01Z',
      '!date_not_future',
      '!date_not_future',
      '!date_too_far',
      '!date_time',
      '!date_time',
    ],
  )
  const range = await createChecker(t, DateRange({ maxDays: 7, allowEmpty: false }))
  const week = { from: '2026-11-01', to: '2026-11-08' }
  t.same(
    await verdicts(range, [
      week,
      { ...week, to: '2026-11-09' },
      { ...week, to: '2026-11-01' },
      { from: '2026-11-02', to: '2026-11-01' },
      { from: 'x', to: 'y' },
      {},
    ]),
    [week, '!range_too_long', '!range_reversed', '!range_reversed', '!date', '!required'],
  )
})

await t.test('settings outside their range stop the boot', async (t) => {
  const code = new PARAPET_INPUT_GUARD_INVALID_TYPE('', '').code
  const refused: (() => unknown)[] = [
    () => SafeText({ maxLength: 0 }),
    () => SafeFilename({ extensions: ['.png'] }),
    () => SafeUrl({ schemes: ['javascript'] }),
    () => SafeUrl({ schemes: [] }),
    () => SafeRedirect({ origin: 'https://a.com/path' }),
    () => SafeHtml({ maxLength: 100_001 }),
    () => SafeText({ maxLength: 10_001, normalize: 'NFKC' }),
    () => SafeText({ maxLength: 5001, confusables: 'reject' }),
    () => SafeHtml({ allow: { tags: ['script'], attributes: {}, schemes: [] } }),
    () => SafeHtml({ allow: { tags: ['xmp'], attributes: {}, schemes: [] } }),
    () => SafeHtml({ allow: { tags: ['a'], attributes: { a: ['onclick'] }, schemes: [] } }),
    () =>
      SafeHtml({ allow: { tags: ['a'], attributes: { a: ['href'] }, schemes: ['javascript'] } }),
    () => SafeJson({ maxDepth: 0 }),
    () => Money({ currencies: ['euro'] }),
    () => Money({ minimum: 0.5 }),
    () => Multiple('0.05'),
    () => Phone({ defaultCountry: 'XX' }),
    () => SafeText({ maxLength: 5, normalize: 'nfc' as never }),
    () => SafeText({ maxLength: 5, minLength: 9 }),
    () => SafeText({ maxLength: 5, trimm: true } as never),
    () => SafeText({ maxLength: 5, multiline: 'yes' as never }),
    () => SafeHtml({ allow: 'all' as never }),
    () => SafeHtml({ onUnsafe: 'drop' as never }),
    () => SafeEmail({ mx: 'yes' as never }),
    () => SafeEmail({ disposable: 'no' as never }),
    () => PersonName({ maxLength: 5, minLength: -1 }),
    () => PastDate({ format: 'time' as never }),
    () => PastDate({ maxDays: -1 }),
    () => DateRange({ maxDays: 0 }),
    () => Uuid({ version: 1 as never }),
    () => SafeJson({ depth: 1 } as never),
  ]
  for (const make of refused) t.throws(make, { code, statusCode: 500 }, String(make))
})

await t.test('every naughty string has a stated verdict', async (t) => {
  const strings = readVectors<string[]>(t, 'input/blns.json')
  if (strings === null) return
  const counts: Record<string, number> = {}
  const free = await createChecker(
    t,
    SafeText({ maxLength: 20_000, minLength: 0, multiline: true, trim: false, normalize: 'none' }),
  )
  for (const text of strings) {
    const verdict = await free(text)
    if ('value' in verdict) t.equal(verdict.value, text, 'free text is unchanged')
    const name = 'value' in verdict ? 'unchanged' : verdict.code
    counts[name] = (counts[name] ?? 0) + 1
  }
  t.ok(counts['unchanged']! > 440, JSON.stringify(counts))
  const known = [
    'unchanged',
    'control_character',
    'bidi_character',
    'invisible_character',
    'lone_surrogate',
    'PARAPET_INPUT_GUARD_BODY_REFUSED',
  ]
  t.same(
    Object.keys(counts).filter((each) => !known.includes(each)),
    [],
  )
  for (const schema of [
    SafeFilename(),
    SearchQuery(),
    PersonName(),
    SafeEmail(),
    SafeUrl(),
    Slug(),
    Phone(),
    Uuid(),
    PastDate(),
    SafeHtml(),
  ]) {
    const check = await createChecker(t, schema)
    for (const text of strings) {
      const verdict = await check(text)
      if ('value' in verdict)
        t.same(await check(verdict.value), verdict, 'a result is its own result')
    }
  }
})

await t.test('100 KB of hostile text takes no time in any type', async (t) => {
  const types = {
    SafeEmail: SafeEmail(),
    PersonName: PersonName(),
    SearchQuery: SearchQuery(),
    SafeFilename: SafeFilename(),
    SafeUrl: SafeUrl(),
    SafeRedirect: SafeRedirect({ origin: 'https://a.com' }),
    SafeHtml: SafeHtml(),
    Slug: Slug(),
    Phone: Phone(),
    Uuid: Uuid(),
    PastDate: PastDate(),
    SafeText: SafeText({ maxLength: 100_000, multiline: true }),
  }
  const units = [
    'a',
    'a.',
    '-',
    '<',
    '<a ',
    '%',
    '\u0301',
    '\u0344\u0323',
    'a\u0344\u0323',
    '9',
    ' ',
    '@a.',
    '../',
    "'",
    '\ud83d\ude00',
  ]
  let slowest = ['', 0] as [string, number]
  for (const [name, schema] of Object.entries(types)) {
    const check = await createChecker(t, schema)
    for (const unit of units) {
      const text = unit.repeat(Math.ceil(100_000 / unit.length)).slice(0, 100_000)
      const start = process.cpuUsage()
      await check(text)
      const { user, system } = process.cpuUsage(start)
      if (user + system > slowest[1])
        slowest = [`${name} of ${JSON.stringify(unit)}`, user + system]
    }
  }
  t.comment(`slowest: ${slowest[0]}, ${slowest[1] / 1000} ms with the request around it`)
  // Far above what is measured (a few ms), far below what a quadratic check would take.
  t.ok(slowest[1] < 500_000, `${slowest[0]} took ${slowest[1]} µs`)
})

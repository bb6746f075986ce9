/** The corpora of attacks and of harmless texts, as requests. */
import { parse } from 'node:querystring'
import type { RequestParts } from '../src/inspect/types.ts'

/** A line of `libinjection.jsonl` or `gotestwaf.jsonl`. */
export interface Payload {
  /** 1 is an attack. */
  readonly l: 0 | 1
  /** The class, or a finer one. */
  readonly c: string
  /** The payload, as in a query string. */
  readonly p: string
  readonly where?: readonly string[]
}

/** A line of `crs-regression.jsonl`. */
export interface Stage {
  readonly l: 0 | 1
  readonly rule: number
  readonly grp: string
  readonly method: string
  readonly uri: string
  readonly headers: Readonly<Record<string, string>>
  readonly data?: string
}

/** A labelled request. */
export interface Labelled {
  readonly attack: boolean
  readonly group: string
  readonly text: string
  readonly parts: RequestParts
}

/** The payload in the query, encoded by a client; in a header or the body where it is meant for that. */
export function requestOf({ l, c, p, where = [] }: Payload): Labelled {
  const label = { attack: l === 1, group: c, text: p }
  if (where.includes('UserAgent'))
    return { ...label, parts: { url: '/', headers: { 'user-agent': p } } }
  if (where.includes('XMLBody') || where.includes('SOAPBody'))
    return { ...label, parts: { url: '/', body: p } }
  if (where.includes('GraphQL')) return { ...label, parts: { url: '/graphql', body: { query: p } } }
  return { ...label, parts: { url: `/search?q=${encodeURIComponent(wellFormed(p))}` } }
}

/** The payload as a field of a JSON body. */
export function bodyOf({ l, c, p }: Payload): Labelled {
  return { attack: l === 1, group: c, text: p, parts: { url: '/', body: { q: p } } }
}

/** The payload as it is in the query. */
export function rawOf({ l, c, p }: Payload): Labelled {
  return {
    attack: l === 1,
    group: c,
    text: p,
    parts: { url: `/search?q=${p.replaceAll('&', '%26').replaceAll('#', '%23')}` },
  }
}

/** A stage of the tests of the core rule set, with its body parsed as a server would. */
export function stageOf(stage: Stage): Labelled {
  const headers = Object.fromEntries(
    Object.entries(stage.headers).map(([name, value]) => [name.toLowerCase(), value]),
  )
  const body =
    stage.data === undefined ? undefined : bodyFrom(stage.data, headers['content-type'] ?? '')
  return {
    attack: stage.l === 1,
    group: stage.grp,
    text: `${stage.rule} ${stage.method} ${stage.uri} | ${stage.data ?? ''} | ${JSON.stringify(headers)}`,
    parts: { url: stage.uri, headers, body },
  }
}

function bodyFrom(data: string, type: string): unknown {
  if (/json/i.test(type)) {
    try {
      return JSON.parse(data)
    } catch {
      return data
    }
  }
  if (/multipart/i.test(type)) return multipartOf(data)
  if (/xml|text/i.test(type)) return data
  return { ...parse(data.trim()) }
}

/** As `@fastify/multipart` attaches the parts to the body. */
function multipartOf(data: string): unknown {
  const body: Record<string, unknown> = {}
  for (const [i, part] of data.split(/\r?\n?-{2,}[\w'-]{4,70}\r?\n?/).entries()) {
    const [head = '', ...rest] = part.split(/\r?\n\r?\n/)
    const filename = /filename\*?=["']?([^"'\r\n]*)/i.exec(head)?.[1]
    const fieldname = /\bname=["']?([^"';\r\n]*)/i.exec(head)?.[1]
    if (fieldname === undefined) continue
    const value = rest.join('\n\n')
    const mimetype = /content-type:\s*([^\r\n]*)/i.exec(head)?.[1]
    body[`${fieldname}${i === 0 ? '' : ''}`] = {
      fieldname,
      filename,
      mimetype,
      fields: body,
      value: filename === undefined ? value : undefined,
    }
  }
  return body
}

/** Lone surrogates cannot be encoded. */
function wellFormed(text: string): string {
  return text.toWellFormed()
}

/** What people write into a field, much of it with a word that an attack has as well. */
export const ordinaryTexts: readonly string[] = [
  'We drove along the coast.',
  'https://idp.example.com/authorize?client_id=1&redirect_uri=https%3A%2F%2Fapp.example.com%2Fcb',
  'https://example.com/?profile=https://example.org/anna&homepage=https://anna.example',
  'Did you read https://example.com/a?',
  'https://cdn.example.com/img/java.png',
  'Prompt that allows the user to select from a list of options.',
  'coast. house',
  'boast.',
  'roast. chicken',
  'Lost the key ring.',
  'toast.',
  'Two eggs and toast. No butter.',
  'Northwind Traders',
  'northwind',
  'tempdb is full again',
  'C:\\fakepath\\photo.jpg',
  'C:\\Users\\anna\\x.doc',
  'D:\\photos\\2024\\a.png',
  'POLYGON((30 10, 40 40, 20 40, 10 20, 30 10))',
  'LINESTRING(30 10, 10 30)',
  'MULTIPOINT((10 40), (40 30))',
  'GEOMETRYCOLLECTION(POINT(4 6),LINESTRING(4 6,7 10))',
  'Replace the conveyor belt(s) today',
  'belt(s)',
  'melt(s)',
  'query Find($search: String!) { users(search: $search) { id } }',
  'query Q($type: Kind!, $in: [ID!], $sort: Sort) { list(type: $type) { id } }',
  'mutation M($set: Input!, $size: Int = 10) { a(b: $set) { id } }',
  'Please rename getUser() to loadUser()',
  'getUser()',
  'getVersion()',
  'load_user() fails',
  'Put the key into your .env file',
  'the mail goes to /dev/null',
  'add it to /etc/hosts',
  'edit /etc/hosts and restart',
  'what to do if status == done',
  'java.util.List import',
  'import java.util.Map;',
  'callback: function() { return 1 }',
  'either 5 or 10 = enough',
  'Please order by 12, 13 or 14',
  'select name from users where active',
  'Use `npm run build` and then `./run.sh`',
  'title | more | less',
  'run curl https://example.com/install.sh',
  'the <script> element is described here',
  'Put the <script> tag at the end of the page',
  'Hello {{ request.name }}',
  'Dear {{ user.name }}, your order {{ order.id }}',
  'Hi {{name}}',
  'Hi ${name}, you owe ${amount}',
  '{{ settings.title }}',
  'Hi\ncc: bob\nbye',
  'Shopping\nlist eggs\n',
  'I need\nhelp\n',
  'Attachments:\ndata\nimages\n',
  'I want to\nquit\n',
  'Steps:\n1 check the oil\n2 close the lid\n',
  'Rooms\nb12 store room\n',
  'console.log(1)',
  'set process.env.NODE_ENV',
  'process.env.PORT',
  "const fs = require('./fs')",
  'the v-if directive: v-if="x"',
  "ab'or'1",
  "D'Or = gold",
  'first line\nprice = 3',
  'name = Bob\nage = 4',
  'store instance-data in S3',
  'Sing while (and only while) driving',
  ['', 'home', 'anna', '.config', 'x'].join('/'),
  'user: anna\r\nstatus: away\r\n',
  'Subject: hello\nFrom: me\n\nHi',
  'Location: Dublin\nTime: 5 pm',
  'Host: Anna\nLink: see below',
  'Agenda\n1 list the goals\n2 select a chair\n3 copy the notes\n',
  'To do:\nlist items\nhelp mum\ntop up phone\n',
  'Rock & Roll; Jazz',
  'cats; dogs; find a home',
  'Tom & Jerry; echo of the past',
  'a; cat is asleep',
  'the drop table in the hall',
  'insert coin; update your profile',
  'delete from my list',
  'union of students; select committee',
  'Where is 1 or 2 = 3?',
  'if 1 or 2 is in stock',
  'x or y = z',
  "John's and Mary's = theirs",
  "'tis 5 o'clock -- bye",
  'It\'s "fine" -- or is it?',
  "O'Neill; or O'Neil",
  "#1 fan's wish",
  '5\' 10" or 6\' 2"',
  'alert (red)',
  'alert(s) today',
  'confirm (yes/no)',
  'Prompt: write a poem',
  'onclick is an event',
  'on load = heavy',
  'document.title',
  'window of opportunity',
  'location = Paris',
  'style = bold',
  'src = source',
  'href="/about"',
  '<a href="https://example.com/x?y=1">link</a>',
  '<p style="color: red">x</p>',
  '<img src="/a.png" alt="x">',
  'cd ../.. then make',
  'npm install -g pnpm',
  'docker run -it ubuntu bash',
  'git clone https://example.com/a.git',
  'ls -la shows all files',
  'chmod 755 file',
  'sudo apt-get install curl',
  'ping me at 5',
  'sleep (8 hours)',
  'sleep(8h)',
  'benchmark (2024)',
  'eval(x) is slow',
  'exec (chief)',
  'javascript: the good parts',
  'JavaScript: a guide',
  'template: {{title}}',
  'price ${price}',
  'a {% b %} c',
  '50% {discount}',
  '(a)(b=c)',
  '(&(a=b)',
  'f(x)(y)',
  'objectClass',
  'user.constructor',
  'constructor(props) {',
  'this.name = name',
  'db.users',
  'I use db.find',
  '__proto__ is bad',
  '<!DOCTYPE html>',
  '<!-- comment -->',
  '<?xml version="1.0"?><a/>',
  'localhost',
  'http://localhost:3000',
  'http://localhost:3000/cb',
  'https://192.168.1.20/app',
  'http://10.0.0.5:8080/',
  'http://127.0.0.1:5173/',
  'mailto:bob@example.com',
  'tel:+353',
  'urn:isbn:1',
  'file.php',
  'index.php?id=1',
  '/wp-admin',
  '/var/log/syslog shows it',
  '/usr/local/bin is in the path',
  'The /proc/cpuinfo output is below',
  "the password is 'or'",
  'SELECT is a keyword',
  'ORDER BY',
  'GROUP BY name',
  '1 || 2',
  'a && b',
  'true or false',
  'not null',
  'is null',
  'between 1 and 5',
  "like 'this'",
  'cast(s)',
  'convert (units)',
  'char(s)',
  'count(s)',
  'database (new)',
  '@@',
  '@@ -1,3 +1,4 @@',
  'diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,3 +1,4 @@\n-old\n+new',
  '$100',
  '$HOME',
  '$PATH is set',
  'echo $HOME',
  '$(document).ready(function () { x() })',
  '`a`',
  '**bold** `code` _x_',
  '> quote\n> more',
  '```js\nconst a = 1\n```',
  '```sql\nSELECT id FROM t\n```',
  '- [ ] task\n- [x] done',
  '| a | b |\n|---|---|\n| 1 | 2 |',
  "key: value\nother: 'x'",
  'a=1\nb=2',
  '[section]\nkey = value',
  'Get / HTTP',
  'POST the letter',
  'status 200 OK',
  'Content-Type: text/html',
  'Set-Cookie is a header',
  'cookie; recipe',
  'top 10',
  'help',
  'data',
  'quit',
  'list',
  'id',
  'ls',
  'who',
  'cat',
  'date',
  'more',
  'sort',
  'find',
  '1 or 2',
  'yes or no',
  'Q&A',
  'AT&T',
  'R&D; sales',
  '<3',
  '->',
  '=>',
  '::',
  'std::vector<int>',
  'List<String>',
  'Map<String, List<Integer>>',
  '<T extends Foo>',
  'if (a < b) { return c }',
  'for (let i = 0; i < n; i++) {}',
  'x = y ? 1 : 2',
  'a[0](b)',
  'fn()()',
  '(() => {})()',
  'function foo() {',
  'let x = 1',
  'const a = b',
  'var a = 1;',
  'var x',
  'return false',
  'return to sender; const',
  'def f(x): return x',
  'import os',
  'class A: pass',
  'public static void main(String[] args)',
  'System.out.println("x")',
  'Exception in thread main java.lang.NullPointerException\n\tat com.example.A.b(A.java:10)',
  'Traceback (most recent call last):\n  File "a.py", line 1, in <module>',
  "TypeError: Cannot read properties of undefined (reading 'x')\n    at foo (/app/src/a.js:1:2)",
  'ERROR 1064 (42000): You have an error in your SQL syntax',
  '2 eggs\n1 cup milk\n',
  'Mon-Fri 9-5',
  'Nested (a (b (c)))',
  '((()))',
  '!!!',
  '???',
  '...',
  '***',
  '~~~',
  '100%',
  '%20',
  '50%+',
  'a+b',
  '1+1=2',
  'c++',
  'σ = 5',
  'emoji 😀',
  'Ünïcödé',
  "it''s",
  "''",
  '""',
  "'",
  '"',
  ';',
  '--',
  '/*',
  '*/ comment',
  '/* css */ a { b: c }',
  'a { color: red; background: url(/x.png) }',
  '@import the goods',
  '@media print',
  'expression (math)',
  'behaviour: good',
]

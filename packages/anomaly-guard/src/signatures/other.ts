/** XML entities, header and mail injection, LDAP, NoSQL, prototype pollution, scanners. */
import { signature as s, type Signature } from './signature.ts'

const xxe: readonly Signature[] = [
  s('xxe.entity', 1, '<!entity', /<!entity\s/),
  s(
    'xxe.doctype',
    0.9,
    '<!doctype',
    /<!doctype\s(?!html\s?(?:>|public\s?"-\/\/w3c))[^>[]{0,80}?(?:\[|system|public)/,
  ),
  s(
    'xxe.include',
    0.85,
    'xinclude xi:include xs:include xsl:include xsl:import',
    /xinclude|x[is]:include|xsl:(?:include|import)/,
  ),
  s(
    'xxe.schema',
    0.75,
    'schemalocation xsi:nonamespace',
    /schemalocation\s?=\s?["'](?<!nonamespaceschemalocation=["'])[a-z]{3,5}:[^"'\s]{0,160}["']|(?:schemalocation|xsi:nonamespace\w{0,20})\s?=\s?["'][^"']{0,160}(?:file:|ftp:|localhost|\/\/\d{1,3}\.\d|:\d{2,5}\/)/,
  ),
  s(
    'xxe.encoding',
    0.9,
    'utf-7 utf-16be ibm037 cp037 utf-32',
    /(?<=(?:encoding|charset)\s?=\s?["']?\s?)(?:utf-7|ibm037|cp037|utf-32)/,
  ),
  s('xxe.utf7', 0.9, '+adw +ad4 +aciqp adw- acia'.split(' ').slice(0, 3), /\+ad[w4](?:-|[a-z])/),
]

const HEADERS =
  'set-cookie|content-(?:type|length|disposition|encoding|security-policy)|strict-transport-security|location|refresh|host|x-[a-z-]{2,30}|transfer-encoding|connection|access-control-[a-z-]{5,20}|cache-control|remote-addr|status|server|http\\/\\d|referer|link|user-agent|cookie'
const crlf: readonly Signature[] = [
  s('crlf.header', 0.94, ['\n'], new RegExp(`\\n\\s?(?:${HEADERS})\\s?(?::|\\d)`), {
    parts: ['path', 'query', 'header', 'cookie', 'name'],
  }),
  s(
    'crlf.header-in-body',
    0.9,
    ['set-cookie', 'content-length', 'http/1', 'http/2', 'http/0', 'content-type'],
    /(?<=[\n;]\s?)(?:set-cookie\s?:|content-(?:length|type)\s?:\s?[\d\w]|http\/\d(?:\.\d)?\s\d{3})/,
  ),
  s(
    'crlf.request-line',
    0.85,
    'get post head put delete options connect trace patch propfind',
    /(?:get|post|head|put|delete|options|connect|trace|patch|propfind)\s?\s\S{1,200}\s\s?http\/\d/,
  ),
  s('crlf.name', 0.85, ['\n'], /\n/, { parts: ['name', 'path'] }),
  s('crlf.line', 0.4, ['\n'], /\n\s?[a-z_-]{2,30}\s?=/, {
    parts: ['query'],
  }),
  s(
    'crlf.mail',
    0.9,
    [
      'rcpt to',
      'mail from',
      'bcc:',
      'cc:',
      'ehlo',
      'helo',
      'vrfy',
      'expn',
      'auth ',
      'starttls',
      'rset',
      'noop',
      'quit',
      'data',
      'retr',
      'user ',
      'pass ',
      'stat',
      'uidl',
      'dele ',
      'help',
      'etrn',
      'turn',
      'xclient',
      'list',
      'top ',
      'apop ',
    ],
    /(?<=\n\s?)(?:rcpt\sto\s?:|mail\sfrom\s?:|bcc\s?:|(?:ehlo|helo|vrfy|expn|retr|dele|apop|etrn|xclient)\s[\w.<=+/-]{1,80}\s?(?:$|\n|[\d=])|(?:rset|noop|starttls|uidl|capa)\s?(?:$|\n))/,
  ),
  s(
    'crlf.mail-word',
    0.4,
    ['cc:', 'auth ', 'quit', 'data', 'stat', 'help', 'turn', 'user ', 'list', 'top '],
    /(?<=\n\s?)(?:cc\s?:|(?:auth|user|help|list|top)\s[\w.<=+/-]{1,80}\s?(?:$|\n|[\d=])|(?:quit|data|stat|turn|help)\s?(?:$|\n))/,
  ),
  s(
    'crlf.command',
    0.9,
    'quit data rset noop stat capability fetch login logout',
    /(?<=^\n(?:[a-z]{0,4}\d{1,6}\s)?)[a-z]{4,10}(?:\s|$)/,
  ),
  s(
    'crlf.imap',
    0.45,
    'capability fetch select search append status examine create delete rename subscribe list lsub store copy noop logout login authenticate starttls check close expunge uid quit',
    /(?<=\n\s?[a-z]{0,4}\d{1,6}\s)[a-z]{3,12}(?:\s|$)/,
  ),
]

const ldap: readonly Signature[] = [
  s(
    'ldap.filter',
    0.85,
    [')(', '(|(', '(&(', '(!(', '*(|', '*)(', ')) (', '(| (', '(& ('],
    /\)\s?\(\s?[|&!]?\s?\(?[a-z]{2,30}\s?[~<>]?=|\)\s?\(\s?[|&!]\s?[()]|[*(]\([|&!]\s?\(|\(\s?[|&!]\s?\(\s?[a-z]{2,30}[<>~]?=|\*\)\(/,
  ),
  s(
    'ldap.attribute',
    0.85,
    'objectclass= userpassword samaccountname= memberof= uidnumber',
    /objectclass\s?=\s?[*a-z]|userpassword\s?(?:[:=])|(?:samaccountname|memberof)\s?=\s?\*/,
  ),
  s('ldap.matching-rule', 0.9, ':', /:(?:\d{1,4}\.){3,10}\d{1,4}:=/),
]

const OPERATORS =
  '$where $ne $nin $in $gt $gte $lt $lte $regex $exists $or $and $not $nor $eq $elemmatch $expr $function $accumulator $text $all $size $mod $slice $rename $inc $push $pull $lookup $unionwith $jsonschema $natural $max $min $sum $bit $pop $each $position $sort $geowithin $near'
const nosql: readonly Signature[] = [
  s(
    'nosql.operator',
    0.85,
    OPERATORS,
    /\$(?:where|expr|function|accumulator)['"]?\s?:|(?<=["'[\\])\$[a-z]{2,14}[\\'"]{0,4}\s?[:\]]|(?<=\{\s?)\$[a-z]{2,14}\s?:|\$[a-z]{2,14}\]?\s?=\s?[>{[]/,
    { whole: true },
  ),
  s('nosql.operator-name', 0.9, OPERATORS, /(?<=^|[[.])\$[a-z]{2,14}(?=$|[\].])/, {
    parts: ['name'],
    whole: true,
  }),
  s(
    'nosql.shell',
    0.95,
    'db.',
    /(?<![\w.])db\.[\w.]{1,40}\.?(?:find|insert|update|remove|drop|count|aggregate|save|getcollection|eval|distinct|mapreduce)\w{0,12}\s?\(/,
  ),
  s(
    'nosql.script',
    0.8,
    'this. tojson( tojsononeline( objectid( date() sleep(',
    /(?<=['"|&(;!]\s?|return\s)this\.[\w.]{1,40}\s?(?:[=!<>]=?|\.match|\[|\.length)|tojson(?:oneline)?\(\s?(?:this|db|\w)/,
  ),
]

const prototype: readonly Signature[] = [
  s('prototype.proto', 0.94, '__proto__'),
  s(
    'prototype.constructor',
    0.95,
    'constructor',
    /constructor\s?(?:\]?\s?\[\s?['"]?prototype|\.prototype)/,
  ),
]

const AGENTS =
  'sqlmap nikto nuclei nessus openvas acunetix netsparker dirbuster gobuster feroxbuster wfuzz havij masscan zgrab nmap w3af arachni jaeles whatweb wpscan projectdiscovery .nasl dirsearch joomscan skipfish vega/ burpsuite webinspect appscan qualys zmeu morfeus paros grendel brutus fimap commix xsser hydra zaproxy bsqlbf absinthe sqlninja metasploit whatwaf tplmap ffuf cgichk nsauditor jorgee'
const scanner: readonly Signature[] = [
  s(
    'scanner.agent',
    0.9,
    [
      ...AGENTS.split(' '),
      'fuzz faster',
      'openvas-vt',
      'openvasvt',
      'web vulnerability',
      'webshag',
      'sql power',
    ],
    undefined,
    { parts: ['agent'] },
  ),
  s(
    'scanner.introspection',
    0.8,
    '__schema introspectionquery',
    /__schema\s?\{|introspectionquery/,
  ),
  s(
    'scanner.include',
    0.95,
    '<!--#',
    /<!--#\s?(?:exec|include|echo|config|printenv|set|if|fsize|flastmod)/,
  ),
]

export const other: readonly Signature[] = [
  ...xxe,
  ...crlf,
  ...ldap,
  ...nosql,
  ...prototype,
  ...scanner,
]

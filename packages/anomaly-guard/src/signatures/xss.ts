/** Cross-site scripting. */
import { signature as s, type Signature } from './signature.ts'

/** The beginning of a tag of any name. */
const TAGS = Array.from('abcdefghijklmnopqrstuvwxyz').flatMap((letter) => [
  `<${letter}`,
  `< ${letter}`,
])
const EVENTS =
  'onabort onactivate onafter onanimation onauxclick onbefore onbegin onblur onbounce oncanplay oncell onchange onclick onclose oncontext oncontrol oncopy oncue oncut ondata ondblclick ondeactivate ondrag ondrop onend onerror onfilter onfinish onfocus onform onfullscreen ongot onhashchange onhelp oninput oninvalid onkey onlayout onload onlose onmedia onmessage onmouse onmove ononline onoffline onoutofsync onpage onpaste onplay onpointer onpopstate onprogress onproperty onready onrepeat onreset onresize onresume onreverse onrow onscroll onsearch onseek onselect onshow onslot onstart onstop onstorage onsubmit onsuspend onsync ontime ontoggle ontouch ontransition onunload onurl onvolume onwait onwebkit onwheel onzoom'

export const xss: readonly Signature[] = [
  s(
    'xss.script-tag',
    0.94,
    ['<script', '</script', '< script', '</ script', '<\nscript'],
    /<\s?\/?\s?script(?![a-z])/,
  ),
  s('xss.script-name', 0.85, ':script', /(?<=<[a-z]{1,10}):script/),
  s(
    'xss.handler',
    0.85,
    EVENTS,
    /(?<=[\s"'`/<>;=)(,]|^)on[a-z]{1,28}\s?(?:=|<[a-z]>|\(\)\s?=)(?!=)/,
  ),
  s('xss.handler-in-tag', 0.9, TAGS, /<\s?[a-z][^<>]{0,240}?[\s/"'`]on[a-z]{3,28}\s?=/),
  s(
    'xss.active-tag',
    0.8,
    '<iframe <object <embed <applet <svg <math <base <frameset <frame <isindex <bgsound <layer <ilayer <xml <xss <plaintext <marquee <keygen <portal <noscript <template <vmlframe <animate <set <foreignobject <listing <xmp',
    /<(?:iframe|object|embed|applet|svg|math|base|frameset|frame|isindex|bgsound|layer|ilayer|xml|xss|plaintext|marquee|keygen|portal|noscript|template|vmlframe|animate|set|foreignobject|listing|xmp)(?![\w@.-])/,
  ),
  s('xss.namespaced-tag', 0.75, '<v: <x: <svg: <html: <t: <o: <xsl:', /<[a-z]{1,4}:[a-z]{2,20}/),
  s(
    'xss.meta',
    0.85,
    '<meta <link <base',
    /<(?:meta|link|base)[\s/][^<>]{0,160}?(?:http-equiv|href|charset|rel\s?=|url\s?=|content)/,
  ),
  s(
    'xss.import-tag',
    0.85,
    ['<?import', '<?xml-stylesheet', '<? import', '<import'],
    /<\??\s?(?:import|xml-stylesheet)/,
  ),
  s('xss.style-tag', 0.75, '<style', /<\/?style[\s/>]/),
  s(
    'xss.javascript-url',
    0.9,
    'javascript vbscript livescript mocha',
    /(?:javascript|vbscript|livescript|mocha)\s?:\s?(?:[\w$.]{1,40}\s?[(=`[.{;]|\/\/|\/\*|["'`\\([{%!~+<>-]|\d|&|[a-z])(?<!:\s[a-z])/,
  ),
  s(
    'xss.javascript-attribute',
    0.95,
    'javascript vbscript',
    /(?<=[=("'`]\s?)(?:java|vb)script\s?:/,
  ),
  s(
    'xss.split-javascript',
    0.85,
    ['script:', 'script :'],
    /(?<=[=("'`]\s?(?:j\s?a\s?v\s?a|v\s?b)\s?)s\s?c\s?r\s?i\s?p\s?t\s?:|script\s?:\s?(?:alert|confirm|prompt|eval)/,
  ),
  s(
    'xss.data-url',
    0.85,
    'data:',
    /data:\s?(?:text\/(?:html|javascript|xml|vbscript|x-)|image\/svg|application\/(?:xhtml|javascript|x-))/,
  ),
  s('xss.data-attribute', 0.85, 'data:', /(?<=(?:src|href|data|action|code)\s?=\s?["']?\s?)data:/),
  s(
    'xss.dialog',
    0.85,
    'alert confirm prompt',
    /(?<![\w-])(?:alert|confirm|prompt)\s?(?:\((?!s\))(?<!\s\((?=[a-z ]))|`|\?\.|\.(?:call|apply|bind|source)|<x>|&lpar)/,
  ),
  s(
    'xss.dialog-value',
    0.9,
    'alert confirm prompt eval',
    /(?<=[([=,:!]\s?)(?:alert|confirm|prompt|eval)\s?[)\],](?:\s?[(`[]|$|\s?\/\/)/,
  ),
  s(
    'xss.eval',
    0.8,
    'import( eval( eval` execscript( settimeout( setinterval( setimmediate( msgbox',
    /(?:import\s?\(\s?["'`](?:https?:)?\/\/|(?<![\w])(?:eval|execscript|settimeout|setinterval|setimmediate)\s?[(`]\s?(?!\(\s?\)\s?=>)[\w"'`(/[]|msgbox[\s+(])/,
  ),
  s(
    'xss.document',
    0.9,
    'document',
    /document\s?(?:\?\.|\.|\[\s?["'`]|\)\s?\[)\s?(?:cookie|domain|location|write|body|create|getelement|queryselector|url|referrer|documentelement|head|forms|implementation|defaultview|all)/,
  ),
  s(
    'xss.window',
    0.8,
    'window self top parent frames globalthis this',
    /(?<![\w.-])(?:window|self|top|parent|frames|globalthis|this)\s?\[\s?(?:["'`+(/]|\d{1,6}\D)|window\s?\.\s?(?:location|open|name|onerror|eval|alert|document)|(?:self|top|parent)\.(?:location|alert|document|eval|frames|name)/,
  ),
  s(
    'xss.location',
    0.8,
    'location',
    /(?<![\w-])location\s?(?:\.\s?(?:href|hash|replace|assign|search)|(?<!\s)=\s?["'`/a-z(]|\(\s?["'`])/,
  ),
  s('xss.from-char-code', 0.9, 'fromcharcode fromcodepoint', /from(?:charcode|codepoint)/),
  s('xss.atob', 0.8, 'atob btoa unescape(', /(?<![\w])(?:atob|btoa|unescape)\s?[(`]/),
  s(
    'xss.constructor',
    0.9,
    'constructor',
    /constructor\s?(?:\.\s?constructor|\[|\(\s?['"`])|(?<=[\])'"`]\.?\s?\[?\s?['"`]?)constructor/,
  ),
  s(
    'xss.dom-sink',
    0.8,
    'innerhtml outerhtml srcdoc insertadjacenthtml importscripts textcontent',
    /(?:innerhtml|outerhtml|srcdoc|textcontent)\s?\+?=|insertadjacenthtml\s?\(|importscripts\s?\(/,
  ),
  s(
    'xss.css',
    0.85,
    'expression( -moz-binding behavior: behaviour: @import xss: binding:',
    /expression\s?\(|-moz-binding|behaviou?r\s?:\s?url|@import\s?(?:url|['"\\])|(?:xss|binding):\s?(?:expr|url)/,
  ),
  s(
    'xss.style-expression',
    0.75,
    'style',
    /style\s?=\s?["']?[^"'<>]{0,80}(?:expression|url\s?\(|@im|\\[0-9a-f]{2}|javascript|\/\*)/,
  ),
  s(
    'xss.list-call',
    0.85,
    ['[].', '[ ].', '] .'],
    /\[\s?\]\s?\.\s?(?:map|sort|some|filter|find|every|foreach|constructor|push|join|concat|at|reduce)/,
  ),
  s(
    'xss.array-call',
    0.8,
    '.some( .map( .find( .filter( .foreach( .every( .sort(',
    /\.(?:some|map|find|filter|foreach|every|sort)\(\s?(?:alert|confirm|prompt|eval)/,
  ),
  s('xss.symbols-only', 0.9, '[] ![ +[ [+', /[()[\]!+\s{}]{24}/),
  s('xss.throw', 0.7, 'throw', /throw\s?[/(+\w]{0,20}(?:onerror|alert|name|\/)/),
  s('xss.onerror-eval', 0.85, 'onerror', /onerror\s?=\s?(?:eval|alert|prompt|confirm)/),
  s(
    'xss.attribute-url',
    0.75,
    'src href action formaction background lowsrc dynsrc xlink:href poster code data',
    /(?<=[\s"'/])(?:src|href|action|formaction|background|lowsrc|dynsrc|xlink:href|poster|code|data)\s?=\s?["'`]?\s?(?:\/\/[^\s/]|javas|vbs|data:|x\s?onerror|[&%]|http[^\s"'<>]{1,80}\.js\b)/,
  ),
  s('xss.cdata', 0.7, '<![cdata[ <!--[if ]]>', /<!\[cdata\[|<!--\[if|\]\]>\s?</),
  s('xss.cookie-set', 0.85, '.cookie', /\.cookie\s?[;=]/),
  s(
    'xss.fetch',
    0.6,
    'fetch( xmlhttprequest navigator. localstorage sessionstorage postmessage',
    /fetch\s?\(\s?["'`/]|xmlhttprequest|navigator\.(?:send|cred)|(?:local|session)storage[.[]|postmessage\s?\(/,
  ),
  s(
    'xss.tag',
    0.15,
    TAGS,
    /<\s?[a-z][\w:-]{0,20}[\s/](?!(?:style|class|id|title|alt|lang|dir|width|height|align|target|rel|name|type|colspan|rowspan|xmlns(?::[a-z]{1,12})?|xsi:[a-z]{1,30})\s?=)[^<>]{0,60}=/,
  ),
]

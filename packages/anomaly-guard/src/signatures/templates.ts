/** Injection into templates, and into the log messages of Log4j, which are templates as well. */
import { signature as s, type Signature } from './signature.ts'

const template: readonly Signature[] = [
  s(
    'template.arithmetic',
    0.95,
    ['{{', '${', '#{', '*{', '@{', '<%', '@(', '~{'],
    /(?:\{\{|[$#*@~]\{|<%=?|@\()\s?['"]?\d{1,8}['"]?\s?[*+/-]\s?['"]?\d/,
  ),
  s(
    'template.statement',
    0.85,
    ['{%'],
    /\{%-?\s?(?:if|for|set|import|include|raw|extends|block|debug|load|with|macro|endif|print|do|call|from|filter)(?![a-z])/,
  ),
  s(
    'template.freemarker',
    0.95,
    ['<#assign', '<#', '?new()', '[#assign', '?api', '?eval'],
    /<#(?:assign|list|if|include|import|macro|function)|\?new\(\)|\[#assign/,
  ),
  s(
    'template.velocity',
    0.9,
    ['#set', '#evaluate', '#foreach', '$class', '#include(', '#parse('],
    /#(?:set|evaluate|foreach|include|parse)\s?\(\s?["'$]|\$class\.(?:inspect|forname|type)/,
  ),
  s(
    'template.object',
    0.9,
    ['{{', '${', '#{', '*{'],
    /(?:\{\{|[$#*]\{)[^}]{0,60}?(?:constructor|__|self\.|config\.(?:items|from|__)|config\s?[}[|]|request\.(?:application|environ|__|class|getclass|args|cookies)|settings\.secret|\.class|runtime|exec\W|system\(|process\.|lipsum|cycler|joiner|_self|environment|root\.process|global\.|t\(java|initparam|\(['"\w]|dump\(\))/,
  ),
  s(
    'template.name',
    0.4,
    ['{{', '${', '#{', '*{'],
    /(?:\{\{|[$#*]\{)[^}]{0,60}?(?:config|request\.|settings|exec|system|process|range\.|app\.|class(?!\w)|session|param|header|cookie)/,
  ),
  s('template.asp', 0.85, ['<%', '%>'], /<%[=@!#:-]?\s?[\w('"]|<%\s?$/),
  s('template.el', 0.85, ['t(java', 't(org', 'new java.', 'new java/']),
  s(
    'template.angular',
    0.9,
    ['v-', 'ng-', '_c.', '$on.', '[v-'],
    /(?:v-(?:on|bind|html)|ng-(?:init|app|csp|bind|include|click|focus|src)|_c\.|\$on\.)\s?(?:[\]=("']|constructor)/,
  ),
]

const log4shell: readonly Signature[] = [
  s('log4shell.jndi', 1, 'jndi', /jndi\s?:|jndi.{0,12}(?:ldap|rmi|dns|iiop|http)/),
  s(
    'log4shell.lookup',
    0.95,
    '${',
    /\$\{\s?(?:jndi|lower|upper|env|sys|ctx|k8s|main|bundle|docker|java|date|base64|script|spring|web|log4j|map|sd|event|marker|::|:)\s?:/,
  ),
  s('log4shell.nested', 0.95, '${', /\$\{[^}$]{0,60}\$\{[^}]{0,40}[:}]/),
  s('log4shell.default', 0.9, '${', /\$\{[^}]{0,40}:-[^}]{0,20}\}/),
]

export const templates: readonly Signature[] = [...template, ...log4shell]

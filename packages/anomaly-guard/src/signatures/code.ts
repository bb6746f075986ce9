/** Injection of code that a server runs: PHP, Java, JavaScript, Python, Ruby, Perl. */
import { signature as s, type Signature } from './signature.ts'

/** Classes of gadget chains and of the Java runtime; attackers name them, users do not. */
const JAVA_NAMES = [
  'CloneTransformer',
  'ForClosure',
  'InstantiateFactory',
  'InstantiateTransformer',
  'InvokerTransformer',
  'PrototypeCloneFactory',
  'PrototypeSerializationFactory',
  'WhileClosure',
  'ProcessBuilder',
  'ConstantTransformer',
  'ChainedTransformer',
  'TemplatesImpl',
  'JdbcRowSetImpl',
  'BadAttributeValueExpException',
  'XMLDecoder',
  'ScriptEngineManager',
  'getRuntime',
]
const JAVA_WORDS = JAVA_NAMES.map((name) => name.toLowerCase())

/** The middle of the base64 forms of a name at its three possible places, in lower case. */
function base64Of(name: string): string[] {
  return [0, 1, 2].map((offset) => {
    const encoded = Buffer.from('\0'.repeat(offset) + name).toString('base64')
    // The first and last characters depend on what is around the name.
    const start = offset === 0 ? 0 : offset + 1
    return encoded.slice(start, Math.floor(((name.length + offset) * 8) / 6)).toLowerCase()
  })
}

const ENCODED = [
  ...new Set([...JAVA_NAMES, ...JAVA_WORDS, 'runtime', 'Runtime'].flatMap(base64Of)),
].filter((text) => text.length >= 8)

const PHP_FUNCTIONS =
  'phpinfo( system( exec( passthru( shell_exec( proc_open( popen( pcntl_exec( assert( eval( base64_decode( file_get_contents( file_put_contents( fopen( fwrite( readfile( fsockopen( call_user_func call_user_func_array( create_function( preg_replace( gzinflate( gzuncompress( bzdecompress( str_rot13( unserialize( move_uploaded_file( array_map( array_filter( ob_start( register_shutdown_function( show_source( highlight_file( php_uname( getenv( putenv( ini_set( ini_get( dl( posix_ symlink( chmod( curl_exec( curl_init( parse_ini_file( var_dump( print_r( scandir( glob( opendir( extract( parse_str( mb_ereg_replace( ereg_replace( assert_options( usort( iterator_apply( apache_setenv( gethostbyname( checkdate( array_diff( sodium_crypto pg_enter chr( print( md5( die( set_error_handler('

export const code: readonly Signature[] = [
  s(
    'code.php-tag',
    0.95,
    ['<?php', '<?=', '<? ', '<?\n', '[php]', '{/php}', '{php}', '<script language="php'],
    /<\?(?:php|=|\s)(?!xml)|\[\/?php\]|\{\/?php\}|<script/,
  ),
  s(
    'code.php-function',
    0.8,
    PHP_FUNCTIONS,
    /(?<![\w.>-])[a-z_0-9]{2,30}\s?\(|(?:call_user_func|posix_|sodium_crypto|pg_enter)[a-z_]{0,60}\s?\(/,
  ),
  s(
    'code.php-function-spaced',
    0.75,
    'phpinfo system passthru shell_exec proc_open popen call_user_func file_get_contents base64_decode assert_options preg_replace bzdecompress gethostbyname array_diff pg_enter_pipeline_mode checkdate create_function unserialize curl_exec',
    /[a-z_0-9]{6,60}\s?\(/,
    { whole: true },
  ),
  s(
    'code.php-variable',
    0.9,
    ['$_', '$ _', '$globals', '$http_', '$this->', '$argv', '$php_self'],
    /\$\s?_?(?:get|post|request|server|cookies?|files|session|env)(?![a-z])|\$(?:globals|http_(?:raw_)?(?:get|post|cookie|env|server|session)|argv|php_self)|\$_[[(]|\$this->/,
  ),
  s(
    'code.php-serialized',
    0.95,
    ['o:', 'c:', 's:', 'a:', '|o:'],
    /(?<![a-z])[oc]:\d{1,4}:"[^"]{0,80}":\d{1,4}:\{/,
  ),
  s(
    'code.php-interpolation',
    0.8,
    ['${', '{$', '$ {', '${@'],
    /\{\$\{|\$\s?\{\s?(?:@|['"]\w{1,20}['"]\s?\.|\$\w)/,
  ),
  s(
    'code.php-setting',
    0.85,
    'auto_prepend_file auto_append_file allow_url_include allow_url_fopen disable_functions open_basedir safe_mode session.auto_start mbstring. php_value php_admin_value suhosin. opcache. zend. output_handler extension_dir sendmail_path error_log= engine=',
    /[a-z_.]{5,40}\s?(?:=|\n|\s)|mbstring\.|opcache\.|suhosin\./,
  ),
  s(
    'code.php-wrapper',
    0.9,
    'php:// expect:// phar:// zip:// zlib: compress. glob:// ogg:// rar:// ssh2. data:// bzip2:// ssh2:',
    /(?:php|expect|phar|zip|glob|ogg|rar|data):\/\/|zlib:|(?:compress\.(?:zlib|bzip2)|ssh2(?:\.\w{1,10})?):\/\//,
  ),
  s(
    'code.callable',
    0.85,
    [')(', '](', '"(', "'(", '}(', '} ('],
    /(?<=\(\s?["'\\]?\s?(?:system|exec|passthru|shell_exec|assert|eval|phpinfo|popen|print_r|var_dump|file_get_contents)\s?["']?\s?|\\x[0-9a-f]{2}[^"']{0,30}["'])(?:\)\s?\(|["']\s?\()/,
  ),
  s(
    'code.variable-function',
    0.75,
    ['$_[', '${', '$a(', '$b(', '$$', '](', ') {', '[0]', '@-'],
    /\$\$?_?\[[^\]]{0,30}\]\s?\(|\$\{[^}]{1,30}\}\s?\(|\$[a-z_]\w{0,12}\s?\(\s?(?:\$|['"]|\))|(?<=\(\s?\[?\s?(?:system|exec|passthru|assert)\s?)\]\s?\[/,
  ),
  s(
    'code.system-call',
    0.85,
    'system',
    /(?<![\w])(?:\[?\s?['"]?)system['"]?\s?\]?\s?\)?\s?(?:\[\s?0\s?\])?\s?(?:\{[^}]{0,10}\})?\s?\(\s?['"\w$]/,
  ),
  s(
    'code.require',
    0.95,
    'child_process require( process. global.process module. console. node: spawnsync execsync',
    /child_process|require\s?\(\s?['"`](?:node:)?(?:child|fs|net|http|os|vm|dns|tls|cluster|worker|process|module)|process\.(?:mainmodule|binding|dlopen|kill)|global\.process|module\.(?:constructor|_load)|(?:spawn|exec|fork)(?:file)?sync/,
  ),
  s(
    'code.node',
    0.4,
    'require( process. module. console.',
    /require\s?\(\s?['"`]|process\.(?:env|exit|argv|cwd)|module\.exports|console\.(?:log|info|debug|error|warn)\s?\(/,
  ),
  s(
    'code.javascript',
    0.75,
    'eval( function( function* new settimeout( string. json. json.stringify object. reflect. proxy( .tostring.call',
    /(?<![\w])(?:eval\s?\(|new\s(?:function|proxy|xmlhttp|image)\s?\(|string\.(?:fromcharcode|raw)|reflect\.\w{2,20}\s?\()/,
  ),
  s('code.function', 0.4, 'function(', /function\(\s?\)\s?\{/),
  s(
    'code.loop',
    0.8,
    'while( while for( do{ do',
    /(?:while\s?\(\s?(?:true|!|\d|[+-]?\s?infinity|[[{"'(]|null|curdate|new|\w{1,20}\s?[-<])|for\s?\(\s?;|(?<=[;\s]|^)do\s?\{)/,
  ),
  s(
    'code.statement',
    0.75,
    ['var ', 'let ', 'const ', 'return', 'if(', 'function', ';}'],
    /(?<=[;'"})]\s?)(?:(?:var|let|const)\s\w{1,20}\s?=|return\s?(?:true|false|\d|this|\w{1,20}\s?[=!]=)|function\s?\w{0,20}\()/,
  ),
  s('code.declaration', 0.4, ['var ', 'let ', 'const '], /(?<=^)[a-z]{3,5}\s\w{1,20}\s?=/),
  s('code.interpolation', 0.4, '${', /\$\{[a-z_]{3,30}\s?\}/),
  s(
    'code.python',
    0.94,
    '__import__ __class__ __mro__ __subclasses__ __globals__ __builtins__ __bases__ __init__ __reduce__ os.system os.popen os.exec subprocess. !!python gethostbyname importlib pty.spawn',
    /__(?:import|class|mro|subclasses|globals|builtins|bases?|init|reduce)__|os\.(?:system|popen|exec|spawn)|subprocess\.\w|!!python|socket\.gethostbyname|importlib|pty\.spawn/,
  ),
  s(
    'code.python-import',
    0.7,
    'import',
    /(?<=[;[:({]\s?|exec\s)import\s(?:os|socket|subprocess|sys|pty|urllib)/,
  ),
  s(
    'code.ruby',
    0.9,
    'process.spawn process.exec kernel. io.popen open3. file.read %x %q open(|',
    /process\.(?:spawn|exec|daemon|fork)|kernel\.(?:exec|system|open|spawn|fork)|io\.(?:popen|read|sysopen)|open3\.|%x[{(['"]|open\s?\(\s?["']?\|/,
  ),
  s(
    'code.perl',
    0.9,
    ['@{[', '@{ [', '${\\', 'qx{', 'qx(', 'qx/', '|ls'],
    /@\s?\{\s?\[|\$\{\s?\\|qx[{(/]/,
  ),
  s(
    'code.asp',
    0.85,
    'server.createobject createobject( execute( response.write request.form request.querystring server.mappath wscript.shell runat= executeglobal ev al("ex"',
    /(?:createobject|execute(?:global)?)\s?\(|response\.(?:write|redirect)|request\.(?:form|querystring|item)|server\.(?:mappath|create|execute|scripttimeout)|wscript\.shell|runat\s?=/,
  ),
  s(
    'code.split-words',
    0.75,
    ['"&"', "'&'", '"+"', "'+'", '"."', "'.'"],
    /(?:["'][&+.]["'][^"'&+.]{0,12}){3}/,
  ),
  s(
    'code.java-class',
    0.85,
    'java. javax. com.sun. sun.reflect sun.misc org.apache. org.springframework org.omg. org.hibernate com.opensymphony freemarker. ognl. groovy. org.mozilla com.mchange com.bea. javassist. bsh. jdk. org.python org.codehaus',
    /(?<![\w])(?:java\.(?:io\.(?:file|buffered|input|print)|lang|util\.(?:scanner|hashmap|concurrent|jar)|net\.(?:url|socket)|nio|beans|security|rmi|runtime|evil)|javax\.\w{2,20}\.|(?<!\/)java\.[a-z]{2,20}\.?[a-z]{0,20}$|com\.(?:sun|opensymphony|mchange|bea)\.|sun\.(?:reflect|misc)|org\.(?:apache|omg|hibernate|mozilla|python|codehaus)\.|org\.springframework|freemarker\.|ognl\.|groovy\.|javassist\.|bsh\.)/,
  ),
  s('code.java-package', 0.4, 'java.', /(?<![\w])java\.(?:io|util|net|sql|awt|text|math)\./),
  s('code.java-gadget', 0.9, JAVA_WORDS),
  s(
    'code.java-runtime',
    0.8,
    'runtime',
    /(?<![\w-])runtime\s?[.)]\s?(?:\w{0,30}(?:transformer|factory|closure)|getruntime|getproperty|filewriter|exec|availableprocessors|evil|java)/,
  ),
  s('code.java-encoded', 0.85, ENCODED),
  s(
    'code.java-serialized',
    0.9,
    'ro0ab kztaau cs7qaf aced0005',
    /(?<![a-z0-9+/])(?:ro0ab|kztaau|cs7qaf)|aced0005/,
  ),
  s(
    'code.spring',
    0.9,
    'classloader class.module .getclass getclass( .forname( class.forname #_memberaccess @java @ognl #context xwork.methodaccessor #request',
    /class\.(?:module|classloader|forname)|classloader\.|getclass\s?\(|\.forname\s?\(|#_memberaccess|@(?:java|ognl)|#context\[|methodaccessor/,
  ),
  s(
    'code.upload',
    0.8,
    '.php .phtml .phar .jsp .asp .cgi .war .pht .exe .htaccess .hta .shtml .cfm',
    /\.(?:php\d?|phtml|pht|phar|jspx?|jspf|aspx?|ashx|asmx|cgi|war|hta|shtml|cfm|htaccess)(?:\s?\.|[.\s;%\\]|$)/,
    { parts: ['filename'] },
  ),
  s('code.upload-session', 0.8, 'sess_', /^sess_[a-z0-9,-]{6,250}$/, { parts: ['filename'] }),
]

/** Injection of commands of a shell. */
import { signature as s, type Signature } from './signature.ts'

/** Commands whose names are hardly words of a language. */
const UNIX =
  'wget curl nslookup ifconfig whoami uname netstat traceroute tracert ipconfig systeminfo chmod chown chgrp chroot mkfifo mknod getent hostname telnet xterm tcpdump nmap ncat netcat socat rsync sftp tftp ssh scp w3m zsh ksh csh tcsh dash busybox nodejs gcc clang awk gawk mawk egrep fgrep xargs tee mkdir rmdir unlink shred gunzip bunzip2 gzip bzip2 xzcat zcat lsof pgrep pkill killall crontab iptables ip6tables useradd usermod userdel passwd adduser lsblk lscpu lsmod dmesg sysctl systemctl journalctl setfacl base64 xxd hexdump od nl tac printenv setsid nohup strace ltrace gdb kubectl apt-get dpkg yum dnf pacman pip ansible ansible-playbook visudo vipw vigr chfn chsh ldconfig ldd objdump readelf gpasswd groupadd cpulimit taskset phpinfo sqlite3 mysqldump psql pg_dump redis-cli mongo'
/** Commands that may be words: more is asked of what follows them. */
const SHORT =
  'node deno ls id ps nc rm cp mv dd du df sh env tar cd pwd eval printf vi vim ex ip arp tr bg fg bash python python2 python3 perl grep sed php php5 php7 php8 sudo'
/** Commands that are words: at the end of a text, or between bars as in a title, they are no command. */
const ENGLISH =
  'cat at who top set find kill less more head sort cut date echo ping type dir copy del move net time touch zip last file test sleep exec source alias read timeout nice column screen expect nano ed dig host route mount patch make join split paste open start reg fold fmt uniq comm diff history jobs wait finger reboot shutdown halt poweroff fish ruby lua tail rev docker mysql openssl watch lynx mongo gem npm apk'
const WORDS = `${SHORT} ${ENGLISH}`
const WINDOWS =
  'powershell pwsh cmd.exe wmic regsvr32 rundll32 certutil bitsadmin mshta wscript cscript schtasks tasklist taskkill icacls attrib msiexec installutil regasm regsvcs msbuild cmstp diskshadow dnscmd esentutl extrac32 findstr forfiles gpscript hh.exe ieexec infdefaultinstall makecab mavinject odbcconf pcalua pcwrun presentationhost regedit register-cimprovider replace rpcping runonce scriptrunner vssadmin bcdboot bcdedit nltest whoami systeminfo'
/** Behind what a shell begins another command with, a path included. */
const behind = (separators: string) =>
  `(?<=(?:${separators}|&&|\\$\\(|[<>]\\(|\\{,?)\\s?(?:sudo\\s|time\\s|nohup\\s|exec\\s|env\\s|\\(|-|!|"\\s?)?(?:\\/?[a-z/]{0,24}\\/)?)`
const AFTER = behind('[;|`\\n]')
const AFTER_WORD = behind('[;|`&]')

/** The end of a command, or what comes before another one. */
const END = '\\s?(?:$|[;|`>)]|&(?![a-z#])|<<)'
/** The rest of a command line: options, paths, addresses, variables. */
const REST =
  '(?:\\s(?:-{1,2}[a-z]|\\/[a-z?*.]|~\\/|\\.{1,2}\\/|\\.\\s|https?:|ftp:|\\$|%|[\\w.-]{1,40}(?:\\/|\\.[a-z]{2,4}(?![a-z]))|["\'][^"\']{0,60}["\']\\s?(?:$|[;|`&>])|[a-z]:\\\\|\\d{1,3}\\.\\d{1,3}|\\+[a-z])|\\+[/-])'
const ARGUMENT = `(?:${END}|${REST})`
/** Right behind a separator, without a blank. */
const ADJACENT = '(?<=[;|`&(]\\/?[a-z/]{0,24})'

export const command: readonly Signature[] = [
  s(
    'command.after-separator',
    0.85,
    UNIX,
    new RegExp(`${AFTER}[a-z][a-z0-9-]{1,20}(?![\\w])(?!\\s?(?:[=:](?!\\/)|,))`),
    { shell: true, whole: true },
  ),
  s(
    'command.short-after-separator',
    0.85,
    SHORT,
    new RegExp(`${AFTER_WORD}[a-z]{1,8}\\d?(?![\\w-])${ARGUMENT}`),
    { shell: true, whole: true },
  ),
  s(
    'command.after-line-feed',
    0.85,
    `${SHORT} cat echo who find`,
    new RegExp(`(?<=\\n\\s?)[a-z]{1,8}\\d?(?![\\w-])${ARGUMENT}`),
    { shell: true, whole: true, parts: ['path', 'query', 'header', 'cookie', 'name'] },
  ),
  s(
    'command.word-after-separator',
    0.85,
    ENGLISH,
    new RegExp(`${AFTER_WORD}[a-z]{1,8}(?![\\w-])${REST}|${ADJACENT}[a-z]{1,8}(?![\\w-])${END}`),
    { shell: true, whole: true },
  ),
  s(
    'command.after-ampersand',
    0.85,
    UNIX,
    new RegExp(`${AFTER_WORD}[a-z][a-z0-9-]{1,20}(?![\\w-])${ARGUMENT}`),
    { shell: true, whole: true },
  ),
  s('command.word-separated', 0.35, WORDS, new RegExp(`${AFTER_WORD}[a-z]{1,8}(?![\\w-])`), {
    shell: true,
    whole: true,
  }),
  s(
    'command.windows',
    0.85,
    WINDOWS,
    /(?<![\w])[a-z][a-z0-9.]{2,14}(?:\.exe)?\s?(?:\/[a-z]|-[a-z]{1,3}|\s["'$&(]|\.exe|\s(?:iex|http|create|process|add|query|users)|\s[\w.-]{1,40}[\\/.:<])|(?<=[;|&]\s?)[a-z][a-z0-9.]{2,14}/,
    { whole: true },
  ),
  s(
    'command.line',
    0.8,
    UNIX,
    new RegExp(
      `(?<=^|[\\s=(;|&\`'"{,])(?<!\\.\\s)[a-z][a-z0-9-]{1,20}(?![\\w-])\\s(?:-{1,2}[a-z]{1,2}(?![a-z])|--[a-z]{2}|\\/(?:etc|bin|usr|var|tmp|dev|proc|home|root)|\\$|https?:\\/\\/|ftp:\\/\\/|\\d{1,3}(?:\\.\\d{1,3}){3}|[\`|;])`,
    ),
    { shell: true, whole: true },
  ),
  s(
    'command.word-line',
    0.75,
    WORDS,
    new RegExp(
      `(?<=^|[\\s=(;|&\`'"{,])[a-z]{1,8}(?![\\w-])\\s?(?:(?<=\\s)-[a-z]{1,3}(?![a-z])\\s?\\S|(?<=[\\s])\\/(?:etc|bin|usr|var|tmp|dev|proc|home|root|windows)|<\\s?\\/|(?<=\\s)\\+?\\/[?*a-z]{1,6}[?*/])`,
    ),
    { shell: true, whole: true },
  ),
  s(
    'command.tool',
    0.75,
    'ansible ansible- strace ltrace cpulimit taskset watch timeout setarch unshare nsenter flock chronic fakeroot',
    /(?<=^|[\s=;|&`("'])[a-z-]{5,12}(?:-(?:playbook|galaxy|console|pull|vault|doc|config|inventory))?\s(?:-\w\s?\w{0,10}\s?(?:-\w\s)?)?(?:whoami|who|ifconfig|id|ls|cat|ps|sh|bash|uname|install|collection|--[a-z]|[\w-]{1,30}\.ya?ml)/,
    { shell: true },
  ),
  s(
    'command.path',
    0.85,
    '/bin/ /sbin/ bin/',
    /(?:(?<![\w.])|(?<=\\[nr]))\/(?:usr\/(?:local\/)?)?s?bin\/[a-z?*]|(?<![\w./-])(?:usr\/)?s?bin\/(?:cat|ls|sh|bash|zsh|ksh|id|ps|nc|wget|curl|python|perl|php|ping|uname|whoami|rm|cp|mv|env|visudo|passwd|su|sudo|top|tail|head|more|less|gcc|awk|tar|echo)(?![\w.-])|(?<=\/(?:usr|local)\/s?)bin\/[a-z?*]|(?<=(?:^|[^\w.])\/s?)bin\/[a-z?*]/,
    { shell: true },
  ),
  s(
    'command.glob-path',
    0.8,
    ['/?', '?/', '/*/', '*/', '/e??', '/etc/', '/b?'],
    /(?:\/[?*]{1,4}[a-z?]{0,4}\/|\?{2,3}\/|\/[a-z?*]{1,4}\?[a-z?*]{0,4}\/|\/etc\/[^\s/]{0,12}[?*[][^\s]{0,12})[a-z?*[]/,
  ),
  s(
    'command.substitution',
    0.75,
    ['$(', '`'],
    /\$\(\s?(?!document|window|this|function|selector|element|event|item|node|el\W)(?:\(|[a-z./<])|`\s?\.{0,2}\//,
  ),
  s('command.ifs', 0.95, '${ifs $ifs %ifs', /[$%]\{?ifs/),
  s(
    'command.empty-expansion',
    0.8,
    ['$@', '$*', '$u', '$_', '$!', '${', '$1', '$9'],
    /(?<=[a-z/])\$(?:[@*!]|u(?=[\s/+a-z])|_(?=[a-z/+\s])|\{[a-z@*_]{1,10}\})(?:[a-z/]|\s?[/+-])/,
  ),
  s(
    'command.quoted-word',
    0.75,
    ["'", '"', '\\', '^'],
    /(?<=(?:^|[;|&`\s/=(])[a-z]{1,6})(?!''(?:s|t|re|ll|ve|d|m)(?![a-z]))(?:''|""|\\|'[a-z]{1,6}'|"[a-z]{1,6}"|\^)[a-z]{1,12}(?=[\s+;|&/]\s?[/\-a-z.]|$)/,
  ),
  s(
    'command.redirect',
    0.85,
    ['/dev/tcp', '/dev/udp', '/dev/null', '2>&1', '0>&1', '>&', '<<<', '>/', '> /', '< /', '</etc'],
    /\/dev\/(?:tcp|udp|null)|[012]?>&\s?\/?[\d-]|<<<\s?["'(`\w]|>\s?\/(?:tmp|var|etc|dev|home)|<\s?\/etc/,
  ),
  s(
    'command.pipe',
    0.8,
    '|',
    /\|\s?(?:sh|bash|zsh|ksh|dash|perl|python\d?|php|nc|tee|xargs|base64|rev|wc|grep|awk|sed|id|ls|ps|getent|curl|wget)(?=$|[\s;|&)`+'"#(]|\$)|\|(?:cat|tr|sort|more|less|head|tail|who|set|dir|type|net|ping|vi|at|echo)(?=$|[\s;|&)`+'"#(]|\$)|\|\sset\s\//,
    { shell: true },
  ),
  s('command.shellshock', 0.95, ['() {', '(){', '( ) {'], /(?<![\w)\]])\(\s?\)\s?\{\s?(?:[:_;]|$)/),
  s('command.function', 0.9, [':|:', ':(){'], /:\s?\(\s?\)\s?\{|:\s?\|\s?:\s?&/),
  s(
    'command.windows-for',
    0.85,
    'for',
    /(?<![\w])for\s(?:\/[dflr]\s.{0,60}?)?%{1,2}\s?[^\s%]{1,8}\sin\s?\(/,
  ),
  s(
    'command.windows-if',
    0.75,
    'if',
    /(?<![\w])if\s(?![^\n]{0,80}\{)(?:\/i\s)?(?:not\s)?(?:(?:exist|defined|errorlevel|cmdextversion)\s["%\w]|["'(%[][^\n]{0,60}?(?:==|\s(?:equ|neq|lss|leq|gtr|geq)\s)|\w{1,30}\s?==\s?\w)/,
  ),
  s('command.windows-set', 0.8, 'set', /(?<=[|&;(]\s?)set\s\/[ap]\s/),
  s(
    'command.windows-variable',
    0.85,
    '%comspec% %systemroot% %windir% %temp% %appdata% %programfiles%',
  ),
  s(
    'command.windows-shell',
    0.9,
    'cmd cmd.exe',
    /cmd(?:\.exe)?\s?(?:\/|\+\/)[ckv](?![a-z])|cmd\.exe/,
  ),
  s(
    'command.windows-net',
    0.85,
    'net reg sc',
    /(?:(?<![\w.])net\s(?:(?:user|localgroup)\s?$|(?:user|localgroup|share|use|view|start|stop|accounts)\s(?:[\w.*\\:$-]{1,40}\s?){0,3}\/[a-z]|use\s\w:)|(?<![\w.])(?:reg\s(?:add|query|delete|export|save)|sc\s(?:create|config|query))\s)/,
  ),
  s(
    'command.powershell',
    0.9,
    'invoke- iex( iex iwr iwmi get-wmiobject start-process new-object downloadstring frombase64string -encodedcommand -executionpolicy get-childitem get-content set-executionpolicy add-type import-module get-process get-service new-item remove-item out-file write-output write-host convertto- start-bitstransfer -argumentlist',
    /(?:invoke-(?:expression|webrequest|command|restmethod|item|wmimethod|history|mimikatz|shellcode|method|sqlcmd|cimmethod)|(?<![\w])iex\s?\(|(?<=[;|&]\s?)(?:iex|iwr|iwmi)\s|get-(?:wmiobject|childitem|content|process|service)|start-(?:process|bitstransfer)|new-(?:object\s(?:net|system|io|-)|item)|downloadstring|frombase64string|-encodedcommand|-executionpolicy|set-executionpolicy|add-type|import-module|remove-item|out-file|write-(?:output|host)|convertto-|-argumentlist)/,
  ),
  s(
    'command.braces',
    0.8,
    ['{,', ',}', '{cat', '{ls', '{id', '{wget', '{curl', '{ifconfig', '{ping'],
    /\{,?\s?(?:[a-z/?]{2,12}(?:,[^\s}{]{1,40}){1,4}\}?|ifconfig\}|[a-z]{2,10},\})/,
  ),
  s(
    'command.history',
    0.7,
    ['!-', '~+', '~-', '~0', '!1'],
    /^(?:!-?\d{1,2}(?:!-?\d{1,2})?|~[+-]\d?|~\d{1,2})$/,
  ),
  s(
    'command.sqlite',
    0.8,
    ['.shell', '.system', '.databases', '.import', '.tables', '.output'],
    /(?<=[;\n]\s?)\.(?:shell|system|databases|import|tables|output|open|read)/,
  ),
  s('command.alias', 0.8, 'alias', /alias\s(?:[+-]\w\s)?\w{1,12}\s?=/),
  s(
    'command.option-injection',
    0.8,
    '--exec --upload-pack --remote -oproxycommand --checkpoint-action --use-askpass',
    /--(?:exec|upload-pack|checkpoint-action|use-askpass)\s?=|-oproxycommand|--remote\s?=/,
  ),
  s(
    'command.delay',
    0.85,
    'sleep timeout ping',
    new RegExp(`${AFTER_WORD}(?:sleep|timeout|ping)\\s(?:[-/]\\w\\s)?\\d{1,5}`),
    { shell: true, whole: true },
  ),
  s(
    'command.bare',
    0.75,
    'whoami ifconfig ipconfig netstat uname systeminfo tasklist printenv ls',
    /(?<=^\s?)(?:(?:whoami|ifconfig|ipconfig|netstat|uname|systeminfo|tasklist|printenv)(?:\s?$|\s[-/])|ls\s-[a-z]{1,5}\s?$)/,
    { shell: true, whole: true },
  ),
]

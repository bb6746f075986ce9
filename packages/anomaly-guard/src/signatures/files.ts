/** Path traversal, files that are nobody's business, and requests that the server should not make. */
import { signature as s, type Signature } from './signature.ts'

const traversal: readonly Signature[] = [
  s(
    'traversal.dots',
    1,
    '../ ..\\ ..;/ ..0x ..| .|. ..% ..// ..\\\\',
    /(?<!(?:\]\(|(?:href|src)\s?=\s?["']?))\.{2,3}(?:[/\\]{1,4}|;\/|0x2f|0x5c|\|\/|%(?:25)?(?:2f|5c|c0|u))\s?(?:\.[/\\]{1,3})?\.{2,3}(?:[/\\;|%]|0x|$)/,
  ),
  s(
    'traversal.step',
    0.8,
    '../ ..\\ ..;/ /.. \\..',
    /(?<!\w|\.|\]\(|(?:href|src)\s?=\s?["']?)\.\.(?:[/\\]|;\/)|[/\\]\.\.(?:[/\\]|$)/,
    {
      parts: ['path', 'query', 'header', 'cookie', 'filename', 'name'],
    },
  ),
  s('traversal.step-in-body', 0.4, '../ ..\\ /.. \\..'),
  s(
    'traversal.encoded-dots',
    0.9,
    '0x2e0x2e 0x5c0x2e ..0x2f ..0x5c %2e%2e .%2e %2e. ..%c0 ..%25 %252e c0ae c0af ..5c %%32 ..% .%00 uff0e',
    /0x2e0x2e|0x5c0x2e|\.\.0x(?:2f|5c)|%(?:25)?2e(?:%(?:25)?2e|\.)|\.%(?:25)?2e|\.\.%(?:c0|25|c1)|%%32|\.\.(?:%[a-z0-9]{2}){1,3}\.\./,
  ),
  s(
    'traversal.dotted',
    0.75,
    './. .../ ....',
    /(?:\.\/){2}\.|\.{3,4}[/\\]{1,4}\.{0,3}|[/\\]\.{3,4}[/\\]/,
  ),
  s(
    'traversal.passwd',
    0.94,
    '/etc/ /etc\\ \\etc\\ etc/passwd etc\\passwd etc/shadow',
    /[/\\]?etc[/\\]{1,4}\.?[/\\]{0,2}(?:passwd|shadow|group|hosts|hostname|issue|motd|fstab|crontab|profile|sudoers|ssh|apache|nginx|httpd|mysql|my\.cnf|php|resolv|sysconfig|release|redhat|debian|os-release|services|inetd|security|master|gshadow|subuid|subgid|init|rc|cron|ssl|pam|ld\.so|environment|bash|network|exports|samba|vsftpd|proftpd|postfix|aliases|opt)/,
    { shell: true },
  ),
  s(
    'traversal.proc',
    0.9,
    '/proc/ \\proc\\ proc/self',
    /[/\\]?proc[/\\]{1,3}(?:self|version|cmdline|cpuinfo|meminfo|mounts|net|sys|\d{1,6}|environ|stat|sched|modules|partitions|filesystems|devices|config)/,
    { shell: true },
  ),
  s(
    'traversal.windows',
    0.9,
    'boot.ini win.ini system.ini system32 windows/ windows\\ winnt/ winnt\\ ntuser.dat autoexec.bat inetpub php.ini my.ini sam desktop.ini unattend web.config pagefile.sys',
    /(?:boot|win|system|php|my|desktop)\.ini|system32|(?:windows|winnt)[/\\]{1,3}(?:win\.ini|system(?:32|\.ini)|repair|panther|debug|iis)|ntuser\.dat|autoexec\.bat|inetpub[/\\]|unattend\.xml|web\.config|pagefile\.sys/,
  ),
  s(
    'traversal.drive',
    0.4,
    ':/ :\\',
    /(?<=(?:^|[\s"'=(/\\,])[a-z])(?::[/\\]{1,3}[a-z0-9_$%.]{2,40}(?:[/\\.]|$))/,
  ),
  s(
    'traversal.share',
    0.85,
    '\\\\',
    /(?<=^|[\s"'=(@,])\\\\[\w.:?-]{1,60}[\\/][\w$.?-]{1,60}[\\/]?/,
  ),
  s(
    'traversal.logs',
    0.85,
    '/var/log /var/www /var/lib /var/spool /usr/local /opt/ /home/ /root/ /tmp/ /boot/ /dev/ /sys/ /usr/',
    /\/(?:var\/(?:log|www|lib|spool|run|mail|apache|adm|cache)|usr\/(?:local\/(?:apache|etc|php|bin|lib|mysql|nginx)|lib|pkg|share)|opt\/(?:lampp|xampp|apache|nginx|tomcat)|root\/\.|home\/[^/\s]{1,30}\/\.(?:ssh|aws|bash|git|netrc|pgpass|gnupg|kube|docker|my\.cnf|mysql)|boot\/(?:grub|vmlinuz)|dev\/(?:tcp|udp|random|sd|shm|mem|fd))/,
  ),
  s(
    'traversal.secret-file',
    0.85,
    '.htpasswd .htaccess .ssh/ id_rsa id_dsa authorized_keys wp-config .bash_history .bashrc .git/ .svn/ .aws/ .env .npmrc .netrc .pgpass .my.cnf .kube/ .docker/ web-inf meta-inf known_hosts .mysql_history server.xml tomcat-users .profile',
    /(?<![\w])\.(?:htpasswd|htaccess|ssh\/|bash_history|bashrc|git\/|svn\/|aws\/|env(?![\w])|npmrc|netrc|pgpass|my\.cnf|kube\/|docker\/|mysql_history|profile$)|id_[rd]sa|authorized_keys|known_hosts|wp-config\.|(?:web|meta)-inf|tomcat-users|conf\/server\.xml/,
  ),
  s('traversal.hidden', 0.75, '/.', /\/\.(?!well-known(?:\/|$))[a-z][a-z0-9_-]{1,40}/, {
    parts: ['path'],
  }),
  s(
    'traversal.backup',
    0.75,
    '.bak .old .sql .swp .orig .backup .dump .rdb .mdb .key .pem .pfx .p12 ~',
    /\.(?:bak|old|sql|swp|orig|backup|dump|rdb|mdb|key|pem|pfx|p12)(?:\/|$)|~(?:\/|$)/,
    { parts: ['path'] },
  ),
]

const ssrf: readonly Signature[] = [
  s(
    'ssrf.metadata',
    0.95,
    '169.254. metadata.google 100.100.100.200 fd00:ec2 192.0.0.192 metadata.azure a9fe:a9fe instance-data',
    /169\.254\.169\.254|169\.254\.\d|metadata\.(?:google|azure|internal)|100\.100\.100\.200|fd00:ec2|192\.0\.0\.192|a9fe:a9fe|(?<=\/\/)instance-data/,
  ),
  s(
    'ssrf.scheme',
    0.85,
    'gopher: dict: file: ldap: ldaps: tftp: jar: netdoc: sftp: smb: ftp:// ftps: imap: pop3: rtsp: telnet: svn: ssh: rsync: ws: mailto: local_file: view-source: cvs: finger: git: irc: nfs: turn: stun: sip: mms: chrome: about:',
    /(?<![\w-])(?:gopher|dict|file|ldaps?|tftp|jar|netdoc|sftp|smb|ftps?|imaps?|pop3|rtsp|telnet|svn|ssh|rsync|local_file|view-source|cvs|finger|nfs|turns?|stuns?|sips?):(?:\/\/|\\\\|\/)(?!\/?\/?$)/,
    { parts: ['path', 'query', 'header', 'cookie', 'name'] },
  ),
  s(
    'ssrf.scheme-in-body',
    0.8,
    'gopher: dict: file: jar: netdoc: local_file: ftp: ldap:',
    /(?<![\w-])(?:gopher|dict|jar|netdoc|local_file|ldap):\/{1,3}\S|file:\/{1,3}(?:localhost\/|127\.|[./]{0,4}(?:etc|proc|dev|sys|var|root|home\/[^/]{1,30}\/\.|windows|boot|[a-z]:?[\\/]windows))|ftp:\/\/\d{1,3}\.\d/,
  ),
  s('ssrf.file-in-body', 0.4, 'file:', /(?<![\w-])file:\/{1,3}\S/),
  s(
    'ssrf.disguised-address',
    0.8,
    ['http:/', 'https:/', 'http:\\', 'http:', '://'],
    /(?<=^|[\s="'(,|]|https?)(?:https?)?:[/\\]{0,4}(?:[^\s/@]{0,40}@)?(?:\d{8,10}(?![\w.-])|0x[0-9a-f]{2}|0\d{1,11}(?:\.|[/:]|$)|\d{1,3}\.\d{1,8}(?:[/:]|$)|\[[0-9a-f:.]{2,45}\])/,
    { parts: ['query', 'body', 'cookie'] },
  ),
  s(
    'ssrf.address',
    0.4,
    ['http://', 'https://'],
    /https?:\/\/(?:[^\s/@]{0,40}@)?(?:127\.\d|0\.0\.0\.0|localhost(?!:\d{4}\/)|\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?![\w.]))/,
    { parts: ['query', 'cookie'] },
  ),
  s(
    'ssrf.localhost',
    0.75,
    'localhost. ip6-localhost ipv6-localhost localtest.me .nip.io .xip.io .sslip.io .internal .local/ .localdomain lvh.me',
    /(?:localhost\.\w|ipv?6-localhost|localtest\.me|\.(?:nip|xip|sslip)\.io|localdomain|lvh\.me)/,
    { parts: ['query', 'cookie'] },
  ),
  s(
    'ssrf.remote-include',
    0.75,
    'http:// https:// ftp:// ftps http? https? ftps?',
    /(?:^|=)(?:https?|ftps?):\/\/[^\s"'<>]{1,120}\?\s?$|^(?:https?|ftps?)\?$|(?<=(?:path|include|config|root|dir(?!ect)|(?<!pro)file|(?<!home)page|base|conf|lib|module)\w{0,20}\]?=)(?:https?|ftps?):\/\//,
    { parts: ['query', 'body', 'cookie'] },
  ),
  s(
    'ssrf.callback',
    0.9,
    'burpcollaborator interact.sh oast. oastify .dnslog webhook.site pingb.in requestbin ngrok.io canarytokens ceye.io .r87. bxss.me xss.ht',
    /(?<![a-z0-9])(?:oast\.(?:pro|live|site|online|fun|me)|burpcollaborator\.|interact\.sh|oastify\.|\.dnslog|webhook\.site|pingb\.in|requestbin\.|ngrok\.io|canarytokens\.|ceye\.io|\.r87\.|bxss\.me|xss\.ht(?![a-z]))|\.(?:dnslog|r87\.)/,
  ),
  s('ssrf.unix-socket', 0.9, 'unix: unix%3a', /unix:[a-z/.]{1,200}\|/),
  s(
    'ssrf.data',
    0.75,
    'data:',
    /^data:\s?[a-z]{2,12}\/[a-z0-9.+-]{2,30}(?:;|,|$)(?!base64,(?:iv|r0lg|\/9j|ukl|phn2))/,
    { parts: ['query'] },
  ),
]

export const files: readonly Signature[] = [...traversal, ...ssrf]

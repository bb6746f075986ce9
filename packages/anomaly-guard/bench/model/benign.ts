/** Makes harmless values as users and programs send them, for the training of the model. */
import type { Random } from '../../src/forest/random.ts'

const list = (text: string) => text.split(/\s*;\s*/)
const FIRST = list(
  "Anna;Liam;Siobhan;Zoë;O'Brien;D'Angelo;Jean-Luc;María;Björn;Nguyễn;Fatima;Oleg;Mary-Ann;Dr. Who;St. John;Sean O'Neill;D'or;L'Oréal",
)
const NOUNS = list(
  'table;chair;lamp;union;select committee;order form;key;lock;case;dress;ring;gift set;wall clock;union jack;drop earrings;table runner;index card;view finder;group photo;cross stitch;where house;script font;alert sign;cookie jar;frame;form;style guide;body lotion;image;link bracelet;object;meta data;base coat;cat food;echo dot;bash;ping pong;sleep mask;exec chair;find;head band;less sugar;more;sort;top hat;touch screen;date palm;id card;host gift;java coffee;python skin;ruby ring;perl necklace;process;system;database book;user manual;password book;admin desk;root beer;passport',
)
const ADJECTIVES = list(
  'vintage;blue;hand-made;1950\'s;2 3/4";14";18\' long;large;"rose gold";all-natural;100% cotton;new & used;50/50;1 & 1/2 inch;no. 5;(new);[sold];A+;C#;C++;.NET;under $20;10-pack;8x10;5\' 10";80% wool',
)
const VERBS = list(
  'I would like to select;please update;do not delete;how do I insert;where is;can you drop;show me;is there a;do you like;looking for;I want to order;can I join;please create;having trouble with;waiting for;not in;between;and then;or maybe;in order to;as for',
)
const ENDS = list(
  "from the list;from table 4;where it is;or not;and more;in (or near) Paris;by next week;, thanks!;?;...;- thanks -;-- Bob;like this one;for my mother's birthday;if it's not too late;and/or similar;so that we can go on;(see below);=);:-);;-);<3;with union label;is not working;and 1 other;or 2 of them",
)
const PATHS = list(
  '/home;/products/list;/search;/api/v1/users;/img/logo.png;/docs/select-an-item;/order/by/date;/css/style.css;/a/b/c.html;/blog/2024/01/union-station;/wiki/SQL;/path/to/file.txt',
)
const KEYS = list(
  'id;page;sort;order;q;utm_source;ref;lang;token;filter;from;to;group;limit;offset;callback;url;_ga;session',
)
const AGENTS = list(
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36;Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15;curl/8.4.0;python-requests/2.31.0;Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0;PostmanRuntime/7.36;Googlebot/2.1 (+http://www.google.com/bot.html)',
)
const HTML = list(
  '<b>bold</b> text;<p>Hello <i>world</i></p>;<a href="/about">About us</a>;<br />;line one<br>line two;a < b and b > c;x <= y;1 < 2;<enter name here>;&lt;name&gt;;<span class="note">note</span>;<img class="size-full wp-image-12" alt="a cat">;<li>one</li><li>two</li>;<h1>Title</h1>;<ul><li>first</li></ul>;<strong>new!</strong>;Smith &amp; Sons;5 > 3;-> next;<- back;=> result',
)
const CODE = list(
  'const a = b + c;function name(x) { return x };if (a == b) { print(c) };SELECT is a keyword of SQL;use `npm install` first;git commit -m "fix";see #123;TODO: fix;x = [1, 2, 3];{"a":1,"b":[true,false,null]};{"name":"O\'Brien","tags":["a","b"]};key=value; path=/; secure;a=1&b=2&c=3;#!note;v1.2.3-beta.4;foo_bar.baz;$5.00;$100 or best offer;50% off;100%;user@example.com;(555) 123-4567;+1 555 0100;2024-01-31T12:00:00Z;12:30:45;192.0.2.1;2001:db8::1;0xFF;#ff0000;rgb(255, 0, 0);1,234.56;1.5e10;-42;1/2;3*4=12;E=mc^2;a^2+b^2=c^2;f(x) = 2x + 1;C:\\Users\\me\\file.txt;file (1).pdf;résumé.docx;photo_2024.jpg;~/notes;@handle;#hashtag;re: [EXT] order;Q&A;R&D;rock & roll;AT&T;w/o;n/a;N/A;--;---;***;...;:);<3;*bold*;_under_;`code`;"quoted";\'single\';it\'s;don\'t;rock \'n\' roll;\'90s;80\'s;6\'2";5\'4"',
)

/** One harmless value. */
export function makeBenign(random: Random): string {
  const pick = (from: readonly string[]) => from[random.below(from.length)]!
  const number = () => String(random.below(10 ** (1 + random.below(6))))
  const word = () =>
    Array.from(
      { length: 2 + random.below(9) },
      () => 'etaoinshrdlucmfwygpbvk'[random.below(22)]!,
    ).join('')
  const token = () => {
    const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/='
    return Array.from(
      { length: 8 + random.below(60) },
      () => letters[random.below(letters.length)]!,
    ).join('')
  }
  const query = () =>
    Array.from(
      { length: 1 + random.below(5) },
      () => `${pick(KEYS)}=${random.next() < 0.5 ? number() : word()}`,
    ).join('&')
  const quoted = () => pick(['"', "'"]) + pick(NOUNS) + pick(['"', "'", '" ', "' "])
  const sentence = () =>
    `${pick(VERBS)} ${pick(['a ', 'the ', '', number() + ' '])}${pick(NOUNS)} ${pick(ENDS)}`
  const makers: (() => string)[] = [
    () => `${pick(ADJECTIVES)} ${pick(NOUNS)}`,
    () =>
      `${pick(NOUNS)} ${pick(['and', 'or', '&', '-', '+', 'with', 'in', 'not', 'by', ',', '/', 'x'])} ${pick(NOUNS)}`,
    () =>
      `${number()} ${pick(['and', 'or', 'x', 'by', 'in', 'to', 'for', '-', '+', '/'])} ${pick([number(), pick(NOUNS), 'a half'])}`,
    () =>
      `${quoted()} ${pick(['', '+', '-', 'and', 'or', '-- '])} ${pick([quoted(), pick(NOUNS), `-${pick(NOUNS)}`])}`,
    () =>
      `${pick(NOUNS)} ${number()}${pick(['"', "'", '" x ', "' by ", '"-'])} ${pick(['', number() + '"', pick(NOUNS)])}`,
    () => `${pick(FIRST)} ${pick(['', pick(NOUNS), pick(FIRST), number()])}`,
    sentence,
    () => `${sentence()} ${sentence()}`,
    () => `${pick(FIRST)}: "${sentence()}"`,
    () =>
      `http${pick(['', 's'])}://${word()}.example${pick(PATHS)}${pick(['', `?${query()}`, `?${query()}#${word()}`])}`,
    () => `${pick(PATHS)}?${query()}`,
    query,
    token,
    () => `${token()}--`,
    () => pick(AGENTS),
    () => pick(HTML),
    () => `${sentence()} ${pick(HTML)} ${pick(NOUNS)}`,
    () => pick(CODE),
    () => `${pick(CODE)} ${pick(CODE)}`,
    () => `${pick(NOUNS)} ${pick(CODE)}`,
    () =>
      JSON.stringify({
        [pick(KEYS)]: pick(NOUNS),
        [pick(KEYS)]: random.below(99),
        [word()]: [pick(FIRST), sentence()],
      }),
    () => `${word()};${word()};${number()}`,
    () => `(${pick(NOUNS)}) ${number()}`,
    () => `${pick(ADJECTIVES)} ${pick(ADJECTIVES)} ${pick(NOUNS)}, ${pick(NOUNS)}; ${pick(NOUNS)}`,
  ]
  makers.push(
    () =>
      `[${pick(NOUNS)}](${pick(['#', './', 'https://' + word() + '.example/'])}${word()}${pick(['', '.md', '/'])})${pick(['', ' ' + sentence(), '.'])}`,
    () =>
      `${pick(['#', '##', '-', '*', '>'])} ${pick([sentence(), pick(NOUNS), word() + '(' + word() + ', [' + word() + '])'])}`,
    () => `${word()}.${word()}(${pick(['', word(), word() + ', ' + word(), '"' + word() + '"'])})`,
    () =>
      `${pick(FIRST)} ${word()} <${word()}.${word()}@${word()}.example> (https://${word()}.example/${word()})`,
    () =>
      `${pick(['./', '../', '/', ''])}${word()}/${word()}${pick(['.js', '.d.ts', '.html', '.png', '', '/' + word()])}`,
    () => `git+https://${word()}.example/${word()}/${word()}.git`,
    () => `@${word()}/${word()}-${word()}`,
    () =>
      `${pick(['^', '~', '>=', ''])}${random.below(20)}.${random.below(20)}.${random.below(20)} ${pick(['', '|| ^5', '- 6.0.0', '<3'])}`,
    () =>
      `<${pick(['p', 'div', 'span', 'a', 'img', 'td', 'h2'])} ${pick(['class', 'id', 'title', 'name', 'alt', 'lang', 'href'])}="${pick([word(), pick(NOUNS), '/' + word(), 'https://' + word() + '.example'])}">${pick([sentence(), pick(NOUNS), ''])}`,
    () => `${sentence()} (${pick([sentence(), pick(NOUNS), 'e.g. ' + word()])})`,
    () =>
      `'${pick(NOUNS)}' ${pick(['and', 'or', 'is not', 'in', 'vs.', '&', '->', '=', '/'])} '${pick(NOUNS)}'`,
    () =>
      `${pick(NOUNS)} = ${pick([number(), quoted(), word()])}${pick(['', ';', ', ', ' and ' + pick(NOUNS) + ' = ' + number()])}`,
    () =>
      `${word()}: ${pick([quoted(), number(), word()])}, ${word()}: ${pick([quoted(), number(), word()])}`,
    () =>
      `${pick(['between', 'from', 'not', 'select', 'order', 'group', 'limit', 'like', 'and', 'or', 'into', 'where'])} ${number()} ${pick(['and', 'to', 'or', 'by', 'in'])} ${number()} ${pick(['', pick(NOUNS)])}`,
    () => `${sentence()}\n${sentence()}\n- ${pick(NOUNS)}\n- ${pick(NOUNS)}`,
  )
  const value = makers[random.below(makers.length)]!()
  const chance = random.next()
  return chance < 0.2
    ? value.toUpperCase()
    : chance < 0.3
      ? value.slice(0, random.below(value.length))
      : value
}

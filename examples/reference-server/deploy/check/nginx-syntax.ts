/** Reads nginx's configuration as directives. `nginx -t` checks the syntax; this is for the rules. */

/** One directive. */
export interface Directive {
  readonly name: string
  readonly values: readonly string[]
  /** The directives of its block; `undefined`: it has none. */
  readonly block?: readonly Directive[]
}

const TOKEN = /\s*(?:#[^\n]*|("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[{};]|[^\s{};]+))/gy

/** @throws Error a block is not closed, or closed twice. */
export function parseNginx(text: string): readonly Directive[] {
  const tokens = [...text.matchAll(TOKEN)].flatMap(([, token]) => token ?? [])
  const [directives, end] = readBlock(tokens, 0)
  if (end !== tokens.length) throw new Error('a block is closed twice')
  return directives
}

function readBlock(tokens: readonly string[], start: number): [Directive[], number] {
  const directives: Directive[] = []
  let words: string[] = []
  let at = start
  for (; at < tokens.length && tokens[at] !== '}'; at += 1) {
    const token = tokens[at]!
    if (token !== ';' && token !== '{') {
      words.push(token.replace(/^(["'])(.*)\1$/s, '$2'))
      continue
    }
    const [name = '', ...values] = words
    words = []
    if (token === ';') directives.push({ name, values })
    else {
      const [block, end] = readBlock(tokens, at + 1)
      if (tokens[end] !== '}') throw new Error(`the block of "${name}" is not closed`)
      directives.push({ name, values, block })
      at = end
    }
  }
  return [directives, at]
}

/** Every directive of that name, at any depth. */
export function findDirectives(directives: readonly Directive[], name: string): Directive[] {
  return directives.flatMap((each) => [
    ...(each.name === name ? [each] : []),
    ...findDirectives(each.block ?? [], name),
  ])
}

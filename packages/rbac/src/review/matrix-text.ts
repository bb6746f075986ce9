/** Renders the matrix as Markdown and as HTML. */

type Table = readonly (readonly string[])[]

/** Renders a table as Markdown. The first row is the heading. */
export function writeMarkdown(table: Table): string {
  const lines = table.map((row) => `| ${row.map(escapeMarkdown).join(' | ')} |`)
  const rule = `|${table[0]!.map(() => '---').join('|')}|`
  return [lines[0], rule, ...lines.slice(1)].join('\n')
}

/** Renders a table as HTML. The first row is the heading. */
export function writeHtml(table: Table): string {
  const [head, ...body] = table
  const rows = body.map((cells) => writeHtmlRow(cells, 'td')).join('\n')
  return `<table>\n<thead>${writeHtmlRow(head!, 'th')}</thead>\n<tbody>\n${rows}\n</tbody>\n</table>`
}

function writeHtmlRow(cells: readonly string[], tag: 'td' | 'th'): string {
  return `<tr>${cells.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join('')}</tr>`
}

function escapeMarkdown(text: string): string {
  return text.replaceAll(/[\\|`*_<>[\]]/g, '\\$&').replaceAll(/\s+/g, ' ')
}

function escapeHtml(text: string): string {
  const entities: Record<string, string> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&#39;',
  }
  return text.replaceAll(/[&<>"']/g, (sign) => entities[sign]!)
}

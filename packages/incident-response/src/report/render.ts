/** Writes reports. Texts of people and of attackers are shown, never interpreted. */
import { outlineOf, type Section } from './outline.ts'
import { timeText, type PostMortem } from './post-mortem.ts'

/** Writes Markdown. @see CommonMark 0.31, section 2.4 */
export function renderMarkdown(report: PostMortem): string {
  const { incident } = report
  const lines = [
    `# ${escapeMarkdown(incident.title)}`,
    '',
    `Incident \`${incident.id}\`, report of ${timeText(report.generatedAt)}.`,
    ...outlineOf(report).flatMap(sectionLines),
    '',
    '## Lessons learned',
    '',
    '- What went well?',
    '- What went wrong?',
    '- What will be changed, by whom, until when?',
    '',
  ]
  return lines.join('\n')
}

function sectionLines({ title, head, rows, none }: Section): string[] {
  const table = [head, head.map(() => '---'), ...rows.map((row) => row.map(escapeMarkdown))]
  const body = rows.length === 0 ? [none] : table.map((row) => `| ${row.join(' | ')} |`)
  return ['', `## ${title}`, '', ...body]
}

function escapeMarkdown(text: string): string {
  return text
    .replaceAll(/[\p{Cc}\u2028\u2029]+/gu, ' ')
    .replaceAll(/[\\`*_{}[\]<>()#+!|~&-]/g, (mark) => `\\${mark}`)
    .replaceAll(/:\/\//g, ':\\//')
}

const STYLE = `body{font:14px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1a1a1a}
table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}
th,td{border:1px solid #bbb;padding:.3rem .5rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}
th{background:#f0f0f0}h1{font-size:1.6rem}h2{font-size:1.15rem;break-after:avoid}tr{break-inside:avoid}
@media print{body{margin:0;max-width:none;font-size:11px}}`

/** Writes one HTML page for screen and paper, without scripts and without other files. */
export function renderHtml(report: PostMortem): string {
  const { incident } = report
  const sections = outlineOf(report).map(sectionHtml).join('\n')
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex"><title>${escapeHtml(incident.title)}</title>
<style>${STYLE}</style></head><body>
<h1>${escapeHtml(incident.title)}</h1>
<p>Incident <code>${escapeHtml(incident.id)}</code>, report of ${timeText(report.generatedAt)}.</p>
${sections}
</body></html>
`
}

/** The style of the page, for the hash in a Content-Security-Policy. */
export const reportStyle = STYLE

function sectionHtml({ title, head, rows, none }: Section): string {
  const heading = `<h2>${escapeHtml(title)}</h2>`
  if (rows.length === 0) return `${heading}<p>${escapeHtml(none)}</p>`
  const cells = (row: readonly string[], tag: string) =>
    `<tr>${row.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join('')}</tr>`
  const body = rows.map((row) => cells(row, 'td')).join('\n')
  return `${heading}<table><thead>${cells(head, 'th')}</thead><tbody>${body}</tbody></table>`
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (mark) => ENTITIES[mark]!)
}

/** The register of processing activities. @see GDPR, article 30(1) */
import type { LegalBasis, RegisteredSource } from './source.ts'

/** The controller, as the register and the receipts of consent name it. */
export interface Controller {
  readonly name: string
  readonly contact: string
  /** The data protection officer. */
  readonly officer?: string
  readonly jurisdiction?: string
}

/** One activity of the register. */
interface ProcessingActivity {
  readonly name: string
  readonly purpose: string
  readonly legalBasis: LegalBasis
  readonly subjectCategories: readonly string[]
  readonly dataCategories: readonly string[]
  readonly recipients: readonly string[]
  readonly transfers: string
  readonly retention: string
  readonly storedIn: string
  readonly measures: readonly string[]
}

/** The register. */
export interface ProcessingRegister {
  readonly controller: Controller
  readonly activities: readonly ProcessingActivity[]
}

/** Makes the register from the registry of sources. */
export function createRegister(
  controller: Controller,
  sources: readonly RegisteredSource[],
): ProcessingRegister {
  return {
    controller,
    activities: sources.map((source) => ({
      name: source.name,
      purpose: source.purpose,
      legalBasis: source.legalBasis,
      subjectCategories: source.subjectCategories,
      dataCategories: source.categories,
      recipients: source.recipients,
      transfers: source.transfers ?? 'none',
      retention:
        source.retentionDays === null ? 'as long as the account' : `${source.retentionDays} days`,
      storedIn: source.storedIn,
      measures: [
        ...(source.encrypted ? ['encrypted by the application'] : []),
        ...(source.erase === undefined ? [] : ['erased on request']),
        ...(source.sweep === undefined ? [] : ['removed after the retention period']),
      ],
    })),
  }
}

const COLUMNS: readonly (readonly [title: string, cell: (each: ProcessingActivity) => string])[] = [
  ['Activity', ({ name }) => name],
  ['Purpose', ({ purpose }) => purpose],
  ['Legal basis', ({ legalBasis }) => legalBasis],
  ['People', ({ subjectCategories }) => subjectCategories.join(', ')],
  ['Data', ({ dataCategories }) => dataCategories.join(', ')],
  ['Recipients', ({ recipients }) => recipients.join(', ') || 'none'],
  ['Third countries', ({ transfers }) => transfers],
  ['Kept', ({ retention }) => retention],
  ['Stored in', ({ storedIn }) => storedIn],
  ['Measures', ({ measures }) => measures.join(', ') || 'none'],
]

/** The register as a page of Markdown. */
export function renderRegister({ controller, activities }: ProcessingRegister): string {
  const row = (cells: readonly string[]) => `| ${cells.map(escapeCell).join(' | ')} |`
  const { name, contact, officer } = controller
  return [
    '# Register of processing activities',
    '',
    `Controller: ${escapeCell(name)}, ${escapeCell(contact)}`,
    ...(officer === undefined ? [] : ['', `Data protection officer: ${escapeCell(officer)}`]),
    '',
    row(COLUMNS.map(([title]) => title)),
    `|${COLUMNS.map(() => '---|').join('')}`,
    ...activities.map((activity) => row(COLUMNS.map(([, cell]) => cell(activity)))),
    '',
  ].join('\n')
}

function escapeCell(text: string): string {
  return text.replaceAll(/[\\|`*_<>[\]#]/g, String.raw`\$&`).replaceAll(/\s+/g, ' ')
}

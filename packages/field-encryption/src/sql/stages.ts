/**
 * The stages in which a table with rows is moved to encryption, while two versions of the app use it.
 *
 * @see docs/adr/0802-plaintext-columns-beside-ciphertext.md
 */
import type { Migration } from '@parapet/kit'
import { columnsOf } from '../blind-index/blind-index.ts'
import { addCheck, addColumns, checksOf, createIndexes, validateCheck } from './column-sql.ts'
import { quoteBuiltName, quoteName } from './identifiers.ts'
import { migrationId } from './migration-id.ts'
import type { TableLayout } from '../schema/table-layout.ts'

/** The migrations of each stage, for kit's `migrate`: each stage in the list after the ones before it. */
export interface MigrationStages {
  /** Adds columns, constraints that are NOT VALID, and indexes. No row is rewritten. */
  readonly prepare: readonly Migration[]
  /** Checks all rows. It fails while a row is not encrypted: run `reencrypt` again. */
  readonly validate: readonly Migration[]
  /** Drops the plaintext columns. It refuses to run before `validate`. */
  readonly drop: readonly Migration[]
}

/** Of the migrations of other tables, not of each other: the stages of a table keep their order. */
const independent = true

/** A member and the other column that holds its plaintext. */
interface Pair {
  readonly member: string
  readonly column: string
}

/** Creates the {@link MigrationStages} of a table. */
export function createStages(layout: TableLayout): MigrationStages {
  const { table, plaintext } = layout
  const pairs = [...plaintext].flatMap(([member, column]): Pair[] =>
    member === column ? [] : [{ member, column }],
  )
  // Rows that are encrypted in place hold plaintext until they are adopted.
  const isInPlace = ({ column }: { readonly column: string }) => plaintext.get(column) === column
  const checks = checksOf(layout)
  const adopted = pairs.map((pair) => adoptedCheck(table, pair))
  const prepare = [
    ...addColumns(layout),
    ...checks.filter((check) => !isInPlace(check)).map((check) => addCheck(table, check)),
    ...outdatingTrigger(layout, pairs),
  ]
  const validate = [
    ...[...checks.filter(isInPlace), ...adopted].map((check) => addCheck(table, check)),
    ...[...checks, ...adopted].map((check) => validateCheck(table, check)),
  ]
  const drop = pairs.flatMap((pair) => dropColumn(table, pair))
  const text = prepare.join('\n')
  const id = (step: string) => migrationId(layout, text, step)
  const indexes = createIndexes(layout, true).map((sql, index) => ({
    id: id(`2_index_${String(index).padStart(3, '0')}`),
    sql,
    inTransaction: false,
    independent,
  }))
  return {
    prepare: [{ id: id('1_prepare'), sql: `${text}\n`, independent }, ...indexes],
    validate: [{ id: id('3_validate'), sql: `${validate.join('\n')}\n`, independent }],
    drop:
      drop.length === 0
        ? []
        : [
            {
              id: id('4_drop'),
              sql: `${[...drop, ...dropTrigger(table)].join('\n')}\n`,
              independent,
            },
          ],
  }
}

function adoptedCheck(table: string, { member, column }: Pair) {
  const condition = `${quoteName(column)} IS NULL OR ${quoteName(member)} IS NOT NULL`
  return { name: `${table}_${member}_adopted`, condition }
}

/**
 * An older version of the app changes the plaintext only: its ciphertext is then removed, so that the
 * row is read from the plaintext, and adopted again.
 */
function outdatingTrigger({ table, indexes }: TableLayout, pairs: readonly Pair[]): string[] {
  if (pairs.length === 0) return []
  const name = triggerName(table)
  const bodies = pairs.map(({ member, column }) => {
    const tokens = indexes.filter(({ members }) => members.some((each) => each.name === member))
    const cleared = [member, ...tokens.flatMap(({ name, index }) => columnsOf(name, index))]
    const [sealed, plain] = [quoteName(member), quoteName(column)]
    return `  IF NEW.${plain}::text IS DISTINCT FROM OLD.${plain}::text
    AND NEW.${sealed} IS NOT DISTINCT FROM OLD.${sealed} THEN
    ${cleared.map((each) => `NEW.${quoteName(each)} := NULL;`).join(' ')}
  END IF;`
  })
  return [
    `CREATE OR REPLACE FUNCTION ${name}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
${bodies.join('\n')}
  RETURN NEW;
END $$;`,
    `DROP TRIGGER IF EXISTS ${name} ON ${quoteName(table)};`,
    `CREATE TRIGGER ${name} BEFORE UPDATE ON ${quoteName(table)} FOR EACH ROW EXECUTE FUNCTION ${name}();`,
  ]
}

function dropTrigger(table: string): string[] {
  const name = triggerName(table)
  return [
    `DROP TRIGGER IF EXISTS ${name} ON ${quoteName(table)};`,
    `DROP FUNCTION IF EXISTS ${name}();`,
  ]
}

function triggerName(table: string): string {
  return quoteBuiltName(`parapet_${table}_outdated`)
}

function dropColumn(table: string, pair: Pair): string[] {
  const { name } = adoptedCheck(table, pair)
  const check = quoteBuiltName(name).slice(1, -1)
  return [
    `DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = to_regclass('${quoteName(table)}')
    AND conname = '${check}' AND convalidated) THEN
    RAISE EXCEPTION 'rows of "${table}" may not be encrypted yet: run the stage "validate" first';
  END IF;
END $$;`,
    `ALTER TABLE ${quoteName(table)} DROP COLUMN ${quoteName(pair.column)};`,
  ]
}

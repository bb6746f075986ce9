/**
 * Columns that the database itself encrypts by pgcrypto, for reports in SQL. The key is a setting of
 * the transaction; no statement, view or function contains it.
 *
 * @see https://www.postgresql.org/docs/current/pgcrypto.html
 */
import { quoteName } from './identifiers.ts'

/**
 * The statements that create the functions, the columns and a view with the decrypted columns. The
 * functions' bodies are bound when they are created, so that a `search_path` cannot replace what they
 * call.
 */
export function pgcryptoSql(table: string, members: readonly string[]): string {
  const columns = members.map((name) => {
    const column = quoteName(name)
    return `ALTER TABLE ${quoteName(table)} ADD COLUMN IF NOT EXISTS ${column} bytea;`
  })
  const opened = members.map(
    (name) => `parapet_open(t.${quoteName(name)}) AS ${quoteName(`${name}_plain`)}`,
  )
  return `
CREATE EXTENSION IF NOT EXISTS pgcrypto;
CREATE OR REPLACE FUNCTION parapet_field_key() RETURNS text LANGUAGE plpgsql STABLE
  SET search_path = pg_catalog, pg_temp AS $$
  DECLARE field_key text := current_setting('app.field_key', true);
  BEGIN
    IF field_key IS NULL OR field_key = '' THEN
      RAISE EXCEPTION 'this transaction has no field key' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN field_key;
  END $$;
CREATE OR REPLACE FUNCTION parapet_seal(plaintext text) RETURNS bytea LANGUAGE sql VOLATILE STRICT
  RETURN pgp_sym_encrypt(plaintext, parapet_field_key(), 'cipher-algo=aes256, s2k-mode=1');
CREATE OR REPLACE FUNCTION parapet_open(sealed bytea) RETURNS text LANGUAGE sql STABLE STRICT
  RETURN pgp_sym_decrypt(sealed, parapet_field_key());
${columns.join('\n')}
DROP VIEW IF EXISTS ${quoteName(`${table}_decrypted`)};
CREATE VIEW ${quoteName(`${table}_decrypted`)} WITH (security_invoker = true, security_barrier = true) AS
  SELECT t.*, ${opened.join(', ')} FROM ${quoteName(table)} t;`
}

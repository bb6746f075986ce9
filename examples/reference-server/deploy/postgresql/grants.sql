-- What the roles may do with the tables. parapet_migrator runs it after each migration; again is harmless.

DO $$
DECLARE
  schema_name text;
BEGIN
  -- Also the schemas that a library made for itself, such as the one of the jobs.
  FOR schema_name IN
    SELECT nspname FROM pg_namespace
     WHERE pg_get_userbyid(nspowner) = current_user AND nspname !~ '^(pg_|information_schema)'
  LOOP
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO parapet_app', schema_name);
    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM parapet_app, parapet_auditor', schema_name);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO parapet_app', schema_name);
    EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA %I TO parapet_app', schema_name);
  END LOOP;
END $$;

-- The ledger of the migrations is read at each start.
REVOKE INSERT, UPDATE, DELETE ON parapet_migrations FROM parapet_app;

-- No role updates an entry of the audit log, and each has only what its part needs.
DO $$
DECLARE
  table_name text;
BEGIN
  FOR table_name IN
    SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE tablename LIKE 'audit\_log\_%'
  LOOP
    EXECUTE format('REVOKE ALL ON %s FROM parapet_app', table_name);
  END LOOP;
END $$;

-- As grantsFor({ writer, reader, sequencer }) of @parapet/audit-log says; a test compares them.
GRANT INSERT ON audit_log_inbox TO "parapet_app";
GRANT SELECT (writer, seq, index) ON audit_log_events TO "parapet_app";
GRANT SELECT ON audit_log_state, audit_log_events, audit_log_tiles, audit_log_checkpoints, audit_log_subject_keys, audit_log_values, audit_log_erasures, audit_log_blobs, audit_log_cursors, audit_log_cosigned, audit_log_secret_check TO "parapet_auditor", "parapet_app";
GRANT SELECT, INSERT, DELETE ON audit_log_inbox TO "parapet_app";
GRANT INSERT ON audit_log_state, audit_log_events, audit_log_tiles, audit_log_checkpoints, audit_log_subject_keys, audit_log_values, audit_log_erasures, audit_log_blobs, audit_log_cursors, audit_log_cosigned, audit_log_secret_check TO "parapet_app";
GRANT UPDATE ON audit_log_state, audit_log_tiles, audit_log_erasures, audit_log_cursors, audit_log_cosigned, audit_log_secret_check TO "parapet_app";
GRANT DELETE ON audit_log_events, audit_log_subject_keys, audit_log_values TO "parapet_app";

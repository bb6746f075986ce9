-- The roles of the service and its database. The superuser runs it once; again is harmless.
--
--   psql --dbname=postgres --file=roles.sql     then give each role its password:
--   psql --dbname=postgres --command='\password parapet_app'
--
-- parapet_migrator  owns the tables and changes them; used by one job at each release
-- parapet_app       reads and writes rows; the server. No DDL, and no change of the audit log
-- parapet_auditor   reads the audit log and nothing else; auditors and the verifier
-- parapet_backup    reads everything, writes nothing
-- parapet_drill     makes and drops databases of its own; the restore drill
-- parapet_rows      cannot log in; what the server does on behalf of a user, bound by row-level security

SELECT format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', name)
  FROM unnest(ARRAY['parapet_migrator', 'parapet_app', 'parapet_auditor', 'parapet_backup', 'parapet_drill']) AS name
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec

ALTER ROLE parapet_drill CREATEDB;

-- Row-level security binds parapet_rows: the server takes this role for each statement on behalf of a user.
-- Its own statements (a login finds every account), migrations, dumps and drills see whole tables.
SELECT 'CREATE ROLE parapet_rows NOLOGIN NOBYPASSRLS'
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'parapet_rows')
\gexec
GRANT parapet_rows TO parapet_app;
GRANT parapet_rows TO parapet_migrator WITH ADMIN OPTION;
ALTER ROLE parapet_app BYPASSRLS;
ALTER ROLE parapet_migrator BYPASSRLS;
ALTER ROLE parapet_backup BYPASSRLS;
ALTER ROLE parapet_drill BYPASSRLS;
GRANT pg_read_all_data TO parapet_backup;
ALTER ROLE parapet_backup SET default_transaction_read_only = on;
ALTER ROLE parapet_auditor SET default_transaction_read_only = on;
ALTER ROLE parapet_backup SET statement_timeout = 0;
-- One transaction keeps the snapshot, idle for as long as the dump takes.
ALTER ROLE parapet_backup SET idle_in_transaction_session_timeout = 0;
ALTER ROLE parapet_app CONNECTION LIMIT 80;
ALTER ROLE parapet_migrator CONNECTION LIMIT 5;

SELECT 'CREATE DATABASE parapet OWNER parapet_migrator'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'parapet')
\gexec

-- PostgreSQL lets everyone connect to every database, and make temporary tables in it.
REVOKE ALL ON DATABASE parapet FROM PUBLIC;
REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE postgres TO parapet_drill;
GRANT CONNECT ON DATABASE parapet TO parapet_app, parapet_auditor, parapet_backup;

\connect parapet
ALTER SCHEMA public OWNER TO parapet_migrator;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO parapet_app, parapet_auditor, parapet_backup;

"""What PostgreSQL is asked. Each row of an answer is one line of JSON, and every statement only reads."""

SETTINGS = """
SELECT row_to_json(answer) FROM (
  SELECT name, CASE name
    WHEN 'primary_conninfo' THEN regexp_replace(regexp_replace(
      setting, 'password *= *(''([^''\\\\]|\\\\.)*''|[^ ]*)', '', 'gi'), '://[^@/]*@', '://', 'g')
    WHEN 'archive_command' THEN substring(setting from 'pgbackrest.*--stanza[= ]([^ "'']+)')
    ELSE setting END AS setting
  FROM pg_settings WHERE name IN
  ('server_version_num', 'data_directory', 'cluster_name', 'primary_conninfo', 'archive_command')) answer
"""
STATE = "SELECT row_to_json(answer) FROM (SELECT pg_is_in_recovery() AS replica) answer"
IDENTIFIER = (
    "SELECT row_to_json(answer) FROM (SELECT system_identifier::text AS identifier FROM pg_control_system()) answer"
)
RECEIVER = """
SELECT row_to_json(answer) FROM (SELECT status, conninfo FROM pg_stat_wal_receiver) answer
"""
FOLLOWERS = """
SELECT row_to_json(answer) FROM (
  SELECT host(client_addr) AS address FROM pg_stat_replication WHERE state IN ('streaming', 'catchup')) answer
"""
DATABASES = """
SELECT row_to_json(answer) FROM (
  SELECT datname AS name, pg_get_userbyid(datdba) AS owner, pg_database_size(oid) AS bytes
  FROM pg_database WHERE NOT datistemplate AND datallowconn ORDER BY datname) answer
"""
# Whether a table has a row is asked of the table: statistics are empty after a restore and on a replica.
TABLES = """
SELECT row_to_json(answer) FROM (
  SELECT nspname AS schema, relname AS name, pg_get_userbyid(relowner) AS owner,
    query_to_xml(format('SELECT 1 FROM %I.%I LIMIT 1', nspname, relname), false, true, '')::text <> '' AS filled,
    ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = largest.oid AND attnum > 0 AND NOT attisdropped
          AND atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype) ORDER BY attnum) AS moments
  FROM (SELECT c.oid, nspname, relname, relowner FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE relkind = 'r' AND relpersistence = 'p' AND nspname <> 'information_schema' AND nspname !~ '^pg_'
        AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                        AND d.deptype = 'e')
        ORDER BY pg_relation_size(c.oid) DESC, nspname, relname LIMIT 50) largest
  ORDER BY nspname, relname) answer
"""

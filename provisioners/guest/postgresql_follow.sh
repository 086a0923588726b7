# Fills a place with a copy of a running primary. Its environment: PLACE BIN CONNINFO PASSFILE_TEXT.
# It may be begun anew at any time. Prints lines as `postgresql_fill` does.
set -euo pipefail
umask 022
export LC_ALL=C HOME=/var/lib/postgresql
data=$PLACE/data pass=$PLACE/pass
cd /
as() { setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"; }
phase() { printf '@phase\t%s\t%s\n' "$1" "$EPOCHREALTIME"; }

phase clean
rm -rf -- "$data" "$pass"
install -d -o postgres -g postgres -m 0700 "$data"
install -o postgres -g postgres -m 0600 /dev/null "$pass"
printf '%s\n' "$PASSFILE_TEXT" >"$pass"
phase copy
as env PGPASSFILE="$pass" "$BIN/pg_basebackup" --pgdata="$data" --dbname="$CONNINFO" --no-password --wal-method=stream \
    --checkpoint=fast --progress 2>&1 |
    awk '{ if (match($0, /\([0-9]+%\)/)) { now = int(substr($0, RSTART + 1)); if (now > last) {
        last = now; print "@percent\t" now; fflush() } } else { print; fflush() } }'
rm -f -- "$pass"
phase checks
before=$EPOCHREALTIME state=ok
said=$(as "$BIN/pg_verifybackup" --quiet --no-parse-wal "$data" 2>&1) || state=bad
printf '@check\tthe copy is whole (pg_verifybackup)\t%s\t%s\t%s\n' "$state" \
    "$(awk "BEGIN { print $EPOCHREALTIME - $before }")" "$(printf '%s' "$said" | head -n 3 | tr '\n\t' '  ')"
rm -f -- "$data/backup_manifest"
printf '# Emptied: a replica has the settings of its own machine.\n' >"$data/postgresql.auto.conf"
install -o postgres -g postgres -m 0600 /dev/null "$data/standby.signal"
printf '@fact\tsystem_identifier\t%s\n' \
    "$(as "$BIN/pg_controldata" "$data" | sed -n 's/^Database system identifier: *//p')"
phase end
printf '@done\n'

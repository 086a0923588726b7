# Fills a place with data, starts a server on it that only this machine's user postgres can reach, checks it, and ends it.
# What to do stands in the environment: KIND PLACE BIN PROCESSORS PRIVATE_CONF DATABASE OWNER ROLES_SQL INIT_SQL CHECKS_SQL
# and, by kind, STANZA LABEL SEGMENTS, or DUMP FORMAT. Where pgBackRest fetches the backup itself: REPOSITORY, its path in a
# bucket, HOSTS, lines of /etc/hosts that lead there, and PGBACKREST_*. It may be begun anew at any time.
# Prints with tabs between: `@phase NAME TIME`, `@percent NUMBER`, `@fact NAME VALUE`, `@doing NAME` before a check and
# `@check NAME ok|bad SECONDS DETAIL` after it, `@done`; other lines are the programs' own.
set -euo pipefail
umask 022
export LC_ALL=C HOME=/var/lib/postgresql PGHOST=$PLACE/private PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
data=$PLACE/data private=$PLACE/private repository=${REPOSITORY:-$PLACE/repository}
cd /

as() { setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"; }
psql() { as "$BIN/psql" --no-psqlrc --quiet --no-align --tuples-only --set=ON_ERROR_STOP=1 "$@"; }
# A check's detail is the first line of what it prints.
check() {
    local name=$1 before=$EPOCHREALTIME said state=ok
    shift
    printf '@doing\t%s\n' "$name"
    said=$("$@" 2>&1) || state=bad
    said=$(printf '%s' "$said" | grep -v '^$' | head -n 3 | tr '\n\t' '  ' | cut -c1-600 || true)
    printf '@check\t%s\t%s\t%s\t%s\n' "$name" "$state" "$(awk "BEGIN { print $EPOCHREALTIME - $before }")" "$said"
}

clean() {
    local process
    for process in $(find /proc/[0-9]*/cwd -maxdepth 0 -lname "$data*" 2>/dev/null | cut -d/ -f3); do
        kill -KILL "$process" 2>/dev/null || true
    done
    rm -rf -- "$data" "$private" "$PLACE/tablespaces" "$PLACE/log"
    install -d -o postgres -g postgres -m 0700 "$data" "$private"
    printf '%s' "$PRIVATE_CONF" >"$private/postgresql.conf"
    printf 'local all postgres peer\n' >"$private/pg_hba.conf"
    : >"$private/pg_ident.conf"
}

start() {
    as "$BIN/pg_ctl" --pgdata="$private" --log="$PLACE/private/log" --wait --silent --timeout=604800 start || not_started
    # While it replays its log without hot standby, pg_ctl already calls it started.
    until "$BIN/pg_isready" --quiet; do
        as "$BIN/pg_ctl" --pgdata="$private" status >/dev/null || not_started
        sleep 0.3
    done
    psql --command='SELECT 1' >/dev/null || die "PostgreSQL lets nobody in with this data"
}
not_started() {
    grep -E 'FATAL|PANIC|ERROR|LOG:  (invalid|incorrect|unexpected|could not)' "$PLACE/private/log" | tail -n 6 >&2 || true
    die "PostgreSQL does not start with this data"
}
stop() { as "$BIN/pg_ctl" --pgdata="$private" --mode=fast --wait --silent --timeout=604800 stop; }

new_cluster() {
    as "$BIN/initdb" --pgdata="$data" --data-checksums --encoding=UTF8 --locale=C.UTF-8 --auth=peer >/dev/null
    : >"$data/postgresql.auto.conf"
    start
    psql --file=- <<<"$ROLES_SQL"
    psql --set=database="$DATABASE" --set=owner="$OWNER" --file=- \
        <<<'CREATE DATABASE :"database" OWNER :"owner" TEMPLATE template0 ENCODING '"'UTF8';"
}

fill_init() {
    phase make
    new_cluster
    psql --dbname="$DATABASE" --file=- <<<"$INIT_SQL"
}

# Runs a command that knows these hosts too. No other process sees them, and nothing of them stays.
with_hosts() {
    if [ -z "${HOSTS:-}" ]; then
        "$@"
        return
    fi
    { cat /etc/hosts && printf '%s' "$HOSTS"; } >"$private/hosts"
    # shellcheck disable=SC2016  # the inner shell's own
    unshare --mount -- bash -c 'mount --bind -- "$0" /etc/hosts && exec "$@"' "$private/hosts" "$@"
}

# Restores as root, because the repository's files may be anybody's.
backrest() {
    with_hosts pgbackrest --config=/dev/null --stanza="$STANZA" --repo1-path="$repository" --pg1-path="$data" \
        --lock-path="$private/lock" --log-level-file=off --log-level-stderr=off "$@"
}
fill_pgbackrest() {
    phase restore
    install -d "$PLACE/tablespaces"
    # A file that is damaged is as damaged at a second try, which pgBackRest makes after 15 seconds.
    backrest --log-level-console=detail --job-retry=0 --process-max="$PROCESSORS" --set="$LABEL" --type=immediate \
        --target-action=promote --tablespace-map-all="$PLACE/tablespaces" restore |
        awk '/DETAIL: / { if (match($0, /[0-9.]+%\)/)) { now = int(substr($0, RSTART)); if (now > last) {
            last = now; print "@percent\t" now; fflush() } } next } { print; fflush() }'
    local each segment found
    for each in $SEGMENTS; do
        segment=${each%-*}
        backrest --log-level-console=warn archive-get "$segment" "$data/pg_wal/$segment" ||
            die "the WAL segment $segment cannot be read from the archive"
        # pgBackRest keeps the digest in the file's name, and does not compare it when it reads.
        found=$(sha1sum <"$data/pg_wal/$segment")
        [ "${found%% *}" = "${each#*-}" ] || die "the WAL segment $segment is damaged: its SHA-1 is ${found%% *}"
    done
    printf '# Emptied by the restore: what stood here was prod'"'"'s.\n' >"$data/postgresql.auto.conf"
    chown -R postgres:postgres -- "$data" "$PLACE/tablespaces"
    phase recovery
    start
    psql --file=- <<<"$ROLES_SQL"
}

# A dump names roles that a new cluster does not have.
dumped_roles() {
    awk '
        function add(name) { if (name !~ /^(CURRENT_|SESSION_|PUBLIC$|public$)/) print name }
        /^ALTER .* OWNER TO .*;$/ { sub(/^.* OWNER TO /, ""); sub(/;$/, ""); add($0); next }
        /^(GRANT|REVOKE) .* (TO|FROM) [^ ]*( WITH GRANT OPTION)?;$/ {
            sub(/ WITH GRANT OPTION;$/, ";"); sub(/^.* (TO|FROM) /, ""); sub(/;$/, ""); add($0); next }
        /^ALTER DEFAULT PRIVILEGES FOR ROLE / { sub(/^ALTER DEFAULT PRIVILEGES FOR ROLE /, ""); sub(/ .*$/, ""); add($0) }
    ' | sed -e 's/^"\(.*\)"$/\1/' -e 's/""/"/g' -e 's/\\/\\\\/g' | sort -u
}
missing_roles() {
    { echo 'CREATE TEMP TABLE wanted (name text); COPY wanted FROM STDIN;' && cat && printf '%s\n' '\.' &&
        echo "SELECT format('CREATE ROLE %I', name) FROM wanted WHERE name NOT IN (SELECT rolname FROM pg_roles) \gexec"; } |
        psql --file=-
}
plain() { case $DUMP in *.gz) gzip -dc -- "$repository/$DUMP" ;; *) cat -- "$repository/$DUMP" ;; esac; }
fill_pg_dump() {
    phase restore
    new_cluster
    if [ "$FORMAT" = plain ]; then
        plain | dumped_roles | missing_roles
        case $DUMP in *.gz) reading "$repository/$DUMP" gzip -dc ;; *) reading "$repository/$DUMP" cat ;; esac |
            psql --single-transaction --output=/dev/null --dbname="$DATABASE" --file=-
    else
        as "$BIN/pg_restore" --schema-only --file=- -- "$repository/$DUMP" | dumped_roles | missing_roles
        as "$BIN/pg_restore" --exit-on-error --verbose --jobs="$PROCESSORS" --dbname="$DATABASE" -- "$repository/$DUMP" 2>&1
    fi
    psql --dbname="$DATABASE" <<<'ANALYZE;'
}

amcheck() {
    local said code=0
    said=$(as "$BIN/pg_amcheck" --all --install-missing --jobs="$PROCESSORS" 2>&1) || code=$?
    # What it installed goes again: prod has no such extension.
    psql <<<"SELECT format(E'\\\\connect %I\n%s', datname, \$\$SELECT 'DROP EXTENSION amcheck' FROM pg_extension
            WHERE extname = 'amcheck' AND extnamespace = 'pg_catalog'::regnamespace \\gexec\$\$)
        FROM pg_database WHERE datallowconn AND datname !~ '[[:cntrl:]=]'" | psql
    printf '%s' "$said"
    return "$code"
}
pages() { as "$BIN/pg_checksums" --check --pgdata="$data" | grep -E 'Blocks scanned|Bad checksums' | tr '\n' ' '; }

exec 3>&1
phase clean
clean
"fill_$KIND"
phase checks
# Each question is asked on its own: an error in one says nothing of the others.
as "$BIN/psql" --no-psqlrc --quiet --no-align --tuples-only --dbname="$DATABASE" --file=- <<<"$CHECKS_SQL" 2>&1 || true
check "every table and index is readable (pg_amcheck)" amcheck
phase stop
stop
phase pages
check "every page has its checksum (pg_checksums)" pages
rm -rf -- "$private"
phase end
printf '@done\n'

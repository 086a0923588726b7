# Fills a place with data, starts a server on it that only root on this machine can reach, checks it, and ends it.
# What to do stands in the environment: KIND PLACE PRIVATE_CONF ROLES_SQL DATABASE_SQL DATABASE INIT_SQL TABLES HEARTBEAT_SQL
# and, for a dump, DUMP. TABLES has a line for each: its name, a tab, and the question whether it has rows.
# It may be begun anew at any time. Prints lines as `postgresql_fill` does.
set -euo pipefail
umask 022
export LC_ALL=C HOME=/root
data=$PLACE/data private=$PLACE/private repository=$PLACE/repository
socket=$private/socket
cd /

# A statement in which an error is may have megabytes; older clients do not show it, and do not know the option.
sql() { mariadb --no-defaults --socket="$socket" --user=root --batch --skip-column-names --binary-mode \
    --loose-skip-print-query-on-error "$@"; }
told() { printf '@check\t%s\t%s\t%s\t%s\n' "$1" "$2" "$(awk "BEGIN { print $EPOCHREALTIME - $3 }")" \
    "$(printf '%s' "$4" | grep -v '^$' | head -n 3 | tr '\n\t' '  ' | cut -c1-600 || true)"; }
check() {
    local name=$1 before=$EPOCHREALTIME said state=ok
    shift
    printf '@doing\t%s\n' "$name"
    said=$("$@" 2>&1) || state=bad
    told "$name" "$state" "$before" "$said"
}

clean() {
    local process
    for process in $(find /proc/[0-9]*/cwd -maxdepth 0 -lname "$data*" 2>/dev/null | cut -d/ -f3); do
        kill -KILL "$process" 2>/dev/null || true
    done
    rm -rf -- "$data" "$private"
    install -d -o mysql -g mysql -m 0700 "$data" "$private"
    printf '%s' "$PRIVATE_CONF" >"$private/my.cnf"
}
start() {
    mariadb-install-db --no-defaults --user=mysql --datadir="$data" --auth-root-authentication-method=socket \
        --skip-test-db >"$private/log" 2>&1 || { tail -n 6 "$private/log" >&2; die "no empty database can be made"; }
    setsid mariadbd --defaults-file="$private/my.cnf" --user=mysql >>"$private/log" 2>&1 &
    server=$!
    watch &
    watcher=$!
    until mariadb-admin --no-defaults --socket="$socket" --user=root ping >/dev/null 2>&1; do
        kill -0 "$server" 2>/dev/null || { grep -i error "$private/log" | tail -n 6 >&2; die "MariaDB does not start"; }
        sleep 0.1
    done
}
# For tables of Aria and MyISAM the server would wait, for ever, until somebody makes room.
watch() {
    local said
    until said=$(grep -m 1 'Disk is full' "$private/log"); do
        sleep 1
        kill -0 "$server" 2>/dev/null || return 0
    done
    echo "${said%% Waiting for*}"
    kill -KILL "$server"
}
stop() {
    kill "$watcher" 2>/dev/null || true
    mariadb-admin --no-defaults --socket="$socket" --user=root shutdown
    wait "$server"
}

fill_init() {
    sql "$DATABASE" <<<"$INIT_SQL"
}
fill_mysqldump() {
    case $DUMP in
    *.gz) reading "$repository/$DUMP" gzip -dc | sql "$DATABASE" ;;
    *) reading "$repository/$DUMP" sql "$DATABASE" ;;
    esac
    # The dump of a whole server brings prod's own accounts. Root stays the one that only root on this machine can be.
    sql <<<"FLUSH PRIVILEGES; CREATE OR REPLACE USER root@localhost IDENTIFIED VIA unix_socket;
        GRANT ALL PRIVILEGES ON *.* TO root@localhost WITH GRANT OPTION;"
    definers | sql
}
# A view, trigger, routine or event works only if the account is there that it is defined by, which the dump of one
# database does not bring. Prints SQL that makes those accounts, with which nobody can log in.
definers() {
    sql --raw <<<"
        WITH found AS (
            SELECT definer, table_schema AS place FROM information_schema.views
            UNION SELECT definer, trigger_schema FROM information_schema.triggers
            UNION SELECT definer, routine_schema FROM information_schema.routines
            UNION SELECT definer, event_schema FROM information_schema.events),
        account AS (SELECT definer, place, SUBSTRING_INDEX(definer, '@', -1) AS host FROM found),
        quoted AS (SELECT host, LEFT(definer, CHAR_LENGTH(definer) - CHAR_LENGTH(host) - 1) AS name,
            CONCAT('\`', REPLACE(place, '\`', '\`\`'), '\`') AS place FROM account)
        SELECT CONCAT('CREATE USER IF NOT EXISTS ', QUOTE(name), '@', QUOTE(host), ' ACCOUNT LOCK; ',
            'GRANT ALL PRIVILEGES ON ', place, '.* TO ', QUOTE(name), '@', QUOTE(host), ';')
        FROM quoted WHERE host <> '' AND NOT EXISTS
            (SELECT * FROM mysql.global_priv AS known WHERE known.user = quoted.name AND known.host = quoted.host);"
}
readable() {
    local said
    said=$(mariadb-check --no-defaults --socket="$socket" --user=root --all-databases --check \
        --process-views=YES 2>&1) || {
        printf '%s' "$said"
        return 1
    }
    # A table of which there is more to say than OK has a line of its own before what is said; a note is no fault.
    said=$(printf '%s\n' "$said" | awk '/[[:space:]]OK$/ || /^[Nn]ote *:/ { next }
        /^([Ee]rror|[Ww]arning|info|status) *:/ { print table ": " $0; next } { table = $0 }')
    printf '%s' "$said"
    [ -z "$said" ]
}
answers() { [ "$(sql <<<'SELECT 1')" = 1 ]; }
has_rows() {
    local found
    found=$(sql "$DATABASE" <<<"$1") || {
        printf '%s' "$found"
        return 1
    }
    [ "$found" = 1 ] || die "it is empty"
}

exec 3>&1
phase clean
clean
phase make
start
sql <<<"$DATABASE_SQL"
phase restore
"fill_$KIND"
sql <<<"$ROLES_SQL"
phase checks
fact version "$(sql <<<'SELECT VERSION()')"
check "server accepts connections" answers
while IFS=$'\t' read -r name question; do
    if [ -n "$name" ]; then check "table $name has rows" has_rows "$question"; fi
done <<<"$TABLES"
if [ -n "$HEARTBEAT_SQL" ]; then
    if beat=$(sql "$DATABASE" <<<"$HEARTBEAT_SQL" 2>&1); then
        fact heartbeat "${beat/NULL/}"
    else
        fact "heartbeat fault" "$(printf '%s' "$beat" | tr '\n\t' '  ')"
    fi
fi
check "every table and index is readable (CHECK TABLE)" readable
phase stop
stop
rm -rf -- "$private"
phase end
printf '@done\n'

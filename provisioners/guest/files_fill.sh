# Fills a place with plain files and checks each. Its environment: PLACE OWNER. May be begun anew at any time.
# Prints lines as `postgresql_fill` does.
set -euo pipefail
umask 022
export LC_ALL=C
cd "$PLACE"
phase() { printf '@phase\t%s\t%s\n' "$1" "$EPOCHREALTIME"; }

phase clean
rm -rf -- data
mkdir data
phase restore
if [ -d repository ]; then cp -a --reflink=auto -- repository/. data/; fi
chown -R -- "$OWNER:" data
phase checks
before=$EPOCHREALTIME state=ok
if [ -e sums ]; then said=$(cd data && sha256sum --check --quiet -- ../sums 2>&1) || state=bad; else said=; fi
extra=$(cd data && find . -type f -printf '%P\n' | LC_ALL=C sort | comm -13 <(sed 's/^[^ ]*  //' ../sums 2>/dev/null | LC_ALL=C sort) - | head -n 3)
if [ -n "$extra" ]; then state=bad said="$said; not in the backup: $extra"; fi
printf '@check\tevery file is as in the backup (SHA-256)\t%s\t%s\t%s\n' "$state" \
    "$(awk "BEGIN { print $EPOCHREALTIME - $before }")" "$(printf '%s' "$said" | head -n 3 | tr '\n\t' '  ')"
phase end
printf '@done\n'

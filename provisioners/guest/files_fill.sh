# Fills a place with plain files and checks each. Its environment: PLACE OWNER. May be begun anew at any time.
# Prints lines as `postgresql_fill` does.
set -euo pipefail
umask 022
export LC_ALL=C
cd "$PLACE"

phase clean
rm -rf -- data
mkdir data
phase restore
if [ -d repository ]; then cp -a --reflink=auto -- repository/. data/; fi
rmdir -- data/lost+found 2>/dev/null || true # the disk's own, where it came on one
chown -R -- "$OWNER:" data
phase checks
before=$EPOCHREALTIME state=ok
# Compares the list of what is to be there with what is; each entry has a type, a name and a link's target.
unlike() { find data ! -type d -printf '%y\t%P\t%l\0' | sort -z | comm -z "$1" list - | cut -z -f2 | sed -z -n 1,3p | tr '\0\n' ' ?'; }
said=
if [ -e list ]; then
    said=$(cd data && sha256sum --check --quiet --strict -- ../sums 2>&1) || state=bad
    extra=$(unlike -13) missing=$(unlike -23)
    if [ -n "$missing" ]; then state=bad said="missing: $missing"$'\n'$said; fi
    if [ -n "$extra" ]; then state=bad said="not in the backup: $extra"$'\n'$said; fi
fi
printf '@check\tevery file is as in the backup (SHA-256)\t%s\t%s\t%s\n' "$state" \
    "$(awk "BEGIN { print $EPOCHREALTIME - $before }")" "$(printf '%s' "$said" | head -n 3 | tr '\n\t' '  ')"
rm -f -- sums list
phase end
printf '@done\n'

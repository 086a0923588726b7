# shellcheck shell=bash
# The toolchain: the Pulumi CLI with its Python language host, and the libvirt plugin. Each is a part with a digest and
# a directory of its own, so that what was finished before a cut stays finished; the toolchain is a folder of links.

PULUMI_VERSION=3.259.0 # plugins/pulumi/go.mod and pyproject.toml name the same; tests/run compares them
RECIPE=1                # to be raised when what this file does with the modules changes
TOOLCHAIN=
CLI_PART=
LIBVIRT_PART=

toolchain_directory() {
    if [ -z "$TOOLCHAIN" ]; then
        CLI_PART=$CACHE/parts/pulumi-$RECIPE-$(digest_of plugins/{pulumi,language-python}/go.{mod,sum})
        LIBVIRT_PART=$CACHE/parts/libvirt-$RECIPE-$(digest_of plugins/libvirt/go.{mod,sum} 'plugins/libvirt/*.go' 'plugins/libvirt/*/*.go')
        TOOLCHAIN=$CACHE/toolchain/$(printf '%s\n' "$CLI_PART" "$LIBVIRT_PART" | sha256sum | cut -c1-12)
    fi
    printf '%s\n' "$TOOLCHAIN"
}

require_toolchain() {
    toolchain_directory >/dev/null
    if ! toolchain_is_whole; then
        take_lock
        toolchain_is_whole || make_toolchain
        release_lock
    fi
    link_to .toolchain "$TOOLCHAIN"
}

# The links must lead somewhere, and a Pulumi of the user's own must still be the file that it was.
toolchain_is_whole() {
    [ -e "$TOOLCHAIN/complete" ] && [ -x "$TOOLCHAIN/bin/pulumi" ] && [ -x "$TOOLCHAIN/bin/pulumi-language-python" ] &&
        [ -x "$TOOLCHAIN/bin/pulumi-resource-libvirt" ] &&
        [ "$(<"$TOOLCHAIN/complete")" = "$(file_mark "$TOOLCHAIN/bin/pulumi")" ]
}

file_mark() { stat -L -c '%s %Y' "$1"; }

make_toolchain() {
    rm -rf "$TOOLCHAIN"
    if ! [ -e "$CLI_PART" ] && ! own_pulumi >/dev/null; then
        make_whole "$CLI_PART" fill_cli
    fi
    [ -e "$LIBVIRT_PART" ] || make_whole "$LIBVIRT_PART" fill_libvirt
    make_whole "$TOOLCHAIN" fill_toolchain
}

fill_toolchain() {
    local cli=$CLI_PART
    [ -e "$cli" ] || cli=$(own_pulumi) || return
    mkdir "$1/bin" && ln -s "$cli"/pulumi "$cli"/pulumi-language-python* "$LIBVIRT_PART"/pulumi-* "$1/bin/" &&
        file_mark "$1/bin/pulumi" >"$1/complete"
}

# The directory of the user's own Pulumi, where it is of our version and has its Python language host beside it. Its own
# installer puts it into a home; sudo's PATH does not lead there.
own_pulumi() {
    local program
    for program in "$(type -P pulumi)" {"$HOME","$(home_of "${SUDO_USER-}")"}/.pulumi/bin/pulumi; do
        program=$(readlink -e -- "$program") && [ -x "${program%/*}/pulumi-language-python" ] &&
            [ -e "${program%/*}/pulumi-language-python-exec" ] &&
            [[ $(PULUMI_SKIP_UPDATE_CHECK=true "$program" version 2>/dev/null) =~ ^v?${PULUMI_VERSION//./\.}$ ]] &&
            printf '%s\n' "${program%/*}" && return
    done
    return 1
}

# make_whole hands over a new directory; where one of the two ways left something half done, it is emptied again.
fill_cli() {
    fetch_release "$1" && return
    find "$1" -mindepth 1 -delete
    require_go 'Pulumi'
    say "building Pulumi $PULUMI_VERSION and its Python language host; 5 to 8 minutes on two cores"
    local variable=github.com/pulumi/pulumi/sdk/v3/go/common/version.Version exec_script
    # With a leading v, as the official release says it. Other programs compare the two.
    build pulumi "$1/pulumi" github.com/pulumi/pulumi/pkg/v3/cmd/pulumi "-X $variable=v$PULUMI_VERSION" &&
        build language-python "$1/pulumi-language-python" \
            github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python &&
        exec_script=$(cd "$ROOT/plugins/pulumi" && go list -m -f '{{.Dir}}' github.com/pulumi/pulumi/sdk/v3) &&
        install -m 0755 "$exec_script/python/cmd/pulumi-language-python-exec" "$1/"
}

# build MODULE OUTPUT PACKAGE [LINKER FLAGS]
build() {
    without_downloads go build -C "$ROOT/plugins/$1" -trimpath -buildvcs=false -ldflags "-s -w ${4-}" -o "$2" "$3"
}

# Go names each of some hundred modules that it fetches; only its faults are worth a line.
without_downloads() { "$@" 2> >(grep -v '^go: downloading ' >&2) 9>&-; }

# The schema is made from the provider and then put into the plugin, so it is built in a copy. So is the Terraform provider,
# of which one file is another: plugins/libvirt/instead/timeout.go says why.
fill_libvirt() {
    require_go 'the libvirt plugin'
    say "building the libvirt plugin; 1 to 5 minutes on two cores"
    local source upstream=github.com/dmacvicar/terraform-provider-libvirt
    source=$(mktemp -d)
    cp -R "$ROOT/plugins/libvirt/." "$source" &&
        (cd "$source" && without_downloads go mod download "$upstream" &&
            cp -R --no-preserve=mode "$(go list -m -f '{{.Dir}}' "$upstream")" upstream &&
            mv instead/timeout.go upstream/libvirt/ && go mod edit -replace "$upstream=./upstream" &&
            without_downloads go run -trimpath -buildvcs=false ./schema >schema.json &&
            without_downloads go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$1/pulumi-resource-libvirt" .)
    local status=$?
    rm -rf "$source"
    return $status
}

# The official release, where the internet can be reached. The digests come from another host than the archive, so that
# one altered copy is noticed. Without internet this ends in seconds, and says nothing.
fetch_release() {
    local machine name
    case $(uname -m) in x86_64) machine=x64 ;; aarch64) machine=arm64 ;; *) return 1 ;; esac
    name=pulumi-v$PULUMI_VERSION-linux-$machine.tar.gz
    local -a get=(curl --silent --fail --location --connect-timeout 3)
    "${get[@]}" --max-time 20 -o "$1/sums" "https://github.com/pulumi/pulumi/releases/download/v$PULUMI_VERSION/\
pulumi-$PULUMI_VERSION-checksums.txt" 2>/dev/null || return 1
    say "fetching the official release of Pulumi $PULUMI_VERSION, 60 to 100 MB"
    "${get[@]}" --speed-time 20 --speed-limit 10000 -o "$1/$name" "https://get.pulumi.com/releases/sdk/$name" || return 1
    if ! (cd "$1" && grep -F "  $name" sums | sha256sum --check --quiet >&2); then
        say "$name does not have the digest that its makers published; building it instead"
        return 1
    fi
    tar -xzf "$1/$name" -C "$1" --strip-components=1 && rm "$1/$name" "$1/sums" && [ -x "$1/pulumi-language-python" ]
}

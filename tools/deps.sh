#!/bin/bash
# tools/deps.sh: installs what Lethe needs and this machine lacks, with apt (Debian 12, Ubuntu 24.04 and later). Says what it does. Where nothing is
# missing it changes nothing and needs no network.
set -u

# package, then the test that says it is there
needs='
gcc               command -v gcc
g++               command -v g++
libc6-dev         has_header stdio.h
make              command -v make
pkg-config        command -v pkg-config
libdnnl-dev       has_header oneapi/dnnl/dnnl.h
libjansson-dev    has_library jansson
libpcre2-dev      has_library libpcre2-8
libutf8proc-dev   has_library libutf8proc
libssl-dev        has_library libcrypto
zlib1g-dev        has_library zlib
libzstd-dev       has_library libzstd
libcmocka-dev     has_library cmocka
liblapacke-dev    has_header lapacke.h
libopenblas-dev   has_library openblas
universal-ctags   is_universal_ctags
'

has_library() { pkg-config --exists "$1"; }
has_header() { echo "#include <$1>" | gcc -E -x c - -o /dev/null; }
is_universal_ctags() { ctags --version | grep -q Universal; }

list_missing() {
    while read -r package probe; do
        [ -z "$package" ] && continue
        # A name-only probe of a failed tool chain fails as well: then the package is named and apt finds it installed, which is harmless.
        $probe >/dev/null 2>&1 </dev/null || echo "$package"
    done <<<"$needs"
}

missing=$(list_missing | tr '\n' ' ')
if [ -z "$missing" ]; then
    echo "deps: everything is there"
    exit 0
fi
echo "deps: missing: $missing"
if ! command -v apt-get >/dev/null; then
    echo "deps: no apt-get here: install these Debian packages' counterparts by hand" >&2
    exit 1
fi
as_root=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "deps: run as root: apt-get install $missing" >&2; exit 1; }
    as_root="sudo DEBIAN_FRONTEND=noninteractive"
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt_quietly() { # says nothing unless it fails
    $as_root apt-get "$@" >"$log" 2>&1 </dev/null || { cat "$log" >&2; echo "deps: 'apt-get $*' failed" >&2; exit 1; }
}
apt_quietly update
# shellcheck disable=SC2086 # a list of package names
apt_quietly install -y --no-install-recommends $missing
still=$(list_missing | tr '\n' ' ')
if [ -n "$still" ]; then
    echo "deps: installed, but still not usable: $still" >&2
    exit 1
fi
echo "deps: installed $missing"

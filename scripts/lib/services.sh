# shellcheck shell=bash
# Debian and npm packages for the tests, installed without leaving a server of theirs running or enabled.

# $1: a file with a command, or the path of a file, and the package that holds it on each line.
install_services() {
  local command package missing=()
  while read -r command package; do
    [[ $command == /* && -e $command ]] || command -v "$command" >/dev/null || missing+=("$package")
  done <"$1"
  if ((${#missing[@]} == 0)); then return; fi
  if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
    echo "not root or no apt-get: going on without ${missing[*]}" >&2
    return
  fi
  echo "installing Debian packages: ${missing[*]}"
  without_starting_services apt_install "${missing[@]}" || echo "apt-get failed: going on without" >&2
}

# $1: a folder with a package.json and the package-lock.json that npm checks each package against.
install_npm_service() {
  if [[ $1/node_modules/.package-lock.json -nt $1/package-lock.json ]]; then return; fi
  echo "installing npm packages: $1"
  (cd -- "$1" && timeout 300 npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier >/dev/null) ||
    echo "npm failed: going on without $1" >&2
}

apt_install() {
  export DEBIAN_FRONTEND=noninteractive
  local options=(-qq -o DPkg::Lock::Timeout=300)
  timeout 300 apt-get "${options[@]}" update >/dev/null || return
  timeout 900 apt-get "${options[@]}" install -y --no-install-recommends "$@" >/dev/null || return
  # A server that has just come with its package shall not start at the next boot either.
  local package
  for package in "$@"; do
    if [[ $package == docker-registry || $package == haproxy ]] && command -v systemctl >/dev/null; then
      systemctl --quiet disable "$package.service" || true
    fi
  done
}

# Runs a command while Debian's policy-rc.d hook refuses to start services; a hook that is there stays.
without_starting_services() {
  local hook=/usr/sbin/policy-rc.d status=0
  if [[ -e $hook ]]; then
    "$@"
    return
  fi
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$hook"
  chmod 755 "$hook"
  "$@" || status=$?
  rm -f "$hook"
  trap - EXIT
  return "$status"
}

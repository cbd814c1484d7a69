# shellcheck shell=bash
# The bundle: verified as a whole before a byte of it is unpacked. docs/operations/bundle.md has the format.

: "${worst:=0}" "${bundle:=}" "${key:=}" "${site:=}" "${runtime:=k3s}"

# field NAME: a value of the manifest's head.
field() { sed -n "s/^$1 //p" "$manifest" | head -n 1; }

# check_bundle FILE|DIR: signature, then what it says about itself, then every file. Sets manifest; stops at the first failure, since
# nothing after it can be believed.
check_bundle() {
  local source=$1
  scratch=$(mktemp -d)
  manifest=$scratch/bundle.manifest
  # Both are read whole before they are checked, so they are bounded.
  if ! { member "$source" bundle.manifest && member "$source" bundle.manifest.sig; }; then
    check_result Fatal bundle.signature "no bundle.manifest or bundle.manifest.sig in $source" "make it again with: yizhan bundle build" 30
    return
  fi
  find_trusted_key || return 0
  if ! base64 -d "$manifest.sig" >"$scratch/sig" 2>/dev/null || ! openssl dgst -sha256 -verify "$trusted" -signature "$scratch/sig" "$manifest" >/dev/null 2>&1; then
    check_result Fatal bundle.signature "the signature is not of this manifest and the key $trusted" "copy the bundle again; if it stays, ask who built it for the right key" 30
    return
  fi
  check_result Ok bundle.signature "signed with $trusted"
  # Not `&&`: what a check found is in its result, and the status of this function would end the run before it is told.
  if check_head; then check_files "$source"; fi
}

member() {
  if [ -d "$1" ]; then
    head -c 1048576 "$1/$2" >"$scratch/$2" 2>/dev/null
  else
    tar -xOf "$1" --occurrence=1 "$2" 2>/dev/null | head -c 1048576 >"$scratch/$2"
  fi && [ -s "$scratch/$2" ]
}

# find_trusted_key: sets trusted. The key of the first install counts for ever; another one comes only by hand.
find_trusted_key() {
  local kept
  kept=$(r /etc/yizhan/bundle.pub)
  if [ -e "$kept" ]; then
    trusted=$kept
    if [ -n "$key" ] && ! cmp -s "$key" "$kept"; then
      check_result Fatal bundle.signature "--key is not the key of this box ($kept)" "leave --key away, or put the new key there by hand" 30
      return 1
    fi
  elif [ -r "$key" ]; then
    trusted=$key
  else
    check_result Fatal bundle.signature "no key to check the signature with" "give the public key of whoever builds your bundles: --key bundle.pub" 30
    return 1
  fi
}

check_head() {
  local of_site version arch expires newest
  if [ "$(head -n 1 "$manifest")" != "yizhan-bundle 1" ]; then
    check_result Fatal bundle.format "'$(head -n 1 "$manifest" | head -c 40)'; this script reads yizhan-bundle 1" "take the bootstrap.sh of the same release" 30
    return 1
  fi
  of_site=$(field site) version=$(field version) arch=$(field arch) expires=$(field expires)
  if ! is_site_id "$of_site" || { [ -n "$site" ] && [ "$site" != "$of_site" ]; }; then
    check_result Fatal bundle.site "it is for $(printf %q "$of_site"), not for '$site'" "take the bundle of this site" 30
    return 1
  fi
  check_result Ok bundle.site "$of_site"
  if [ "$arch" != "$(node_arch)" ]; then
    check_result Fatal bundle.arch "it is for '$arch' and this box is $(node_arch)" "yizhan bundle build --site $of_site --arch $(node_arch)" 30
    return 1
  fi
  check_result Ok bundle.arch "$arch"
  check_clock "$(field created)"
  [ "$worst" = 0 ] || return 1
  # Going back is a decision of somebody at the box; what is gone back to was accepted in its time.
  if [ -n "${going_back:-}" ]; then
    return
  fi
  if [ "$(date +%s)" -gt "$expires" ]; then
    check_result Fatal bundle.expires "it could be installed until $(date -u -d "@$expires" +%F)" "ask for a new one: an old one may lack repairs" 30
    return 1
  fi
  newest=$(state newest)
  if [ -n "$newest" ] && is_older "$version" "$newest"; then
    check_result Fatal bundle.version "$version is older than $newest, which was here already" "take $newest or newer; 'rollback' goes back one step" 30
    return 1
  fi
  check_result Ok bundle.version "$version, to be installed until $(date -u -d "@$expires" +%F)"
}

node_arch() {
  case ${YIZHAN_MACHINE:-$(uname -m)} in
    aarch64) echo arm64 ;;
    x86_64) echo amd64 ;;
    *) uname -m ;;
  esac
}

is_older() { [ "$1" != "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# Exactly the files that the manifest lists, each with its digest and size: nothing missing, nothing more, no links.
check_files() {
  local wanted=$scratch/wanted found=$scratch/found wrong
  sed -n 's/^file //p' "$manifest" | LC_ALL=C sort >"$wanted"
  if wrong=$(grep -vE '^[0-9a-f]{64} [0-9]+ [A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$' "$wanted"); then
    check_result Fatal bundle.digest "the manifest lists '$(head -n 1 <<<"$wrong")'" "make the bundle again with: yizhan bundle build" 30
    return
  fi
  # A tar file that cannot be read to its end lacks files, and that is found below.
  { list_files "$1" 2>/dev/null || true; } | LC_ALL=C sort >"$found"
  if ! wrong=$(diff "$wanted" "$found" | sed -n 's/^[<>] [0-9a-z]* [0-9]* //p' | sort -u | head -n 3 | tr '\n' ' ') || [ -n "$wrong" ]; then
    check_result Fatal bundle.digest "not as signed: $wrong" "copy the bundle again; if it stays, it was altered" 30
    return
  fi
  check_result Ok bundle.digest "$(wc -l <"$wanted") files"
}

# list_files: DIGEST SIZE PATH of each regular file; a link or device gets the digest 'link', which matches nothing.
list_files() {
  if [ -d "$1" ]; then
    (cd "$1" && find . -mindepth 1 ! -type d ! -path ./bundle.manifest ! -path ./bundle.manifest.sig -printf '%y %s %P\n') | while read -r type size path; do
      if [ "$type" = f ]; then printf '%s %s %s\n' "$(sha256sum <"$1/$path" | cut -d' ' -f1)" "$size" "$path"; else echo "link 0 $path"; fi
    done
  else
    tar -tvf "$1" | awk '$1 !~ /^[-d]/ { print "link 0 " $6 }'
    # shellcheck disable=SC2016 # tar's shell expands it.
    tar -xf "$1" --exclude=bundle.manifest --exclude=bundle.manifest.sig \
      --to-command='printf "%s %s %s\n" "$(sha256sum | cut -d" " -f1)" "$TAR_SIZE" "$TAR_FILENAME"'
  fi
}

# stage_bundle: into a folder of its own, which gets its name when it is whole and on disk.
stage_bundle() {
  local version incoming
  version=$(field version)
  staged=$(r "/var/lib/yizhan/bundles/$version")
  if [ -e "$staged/bundle.manifest" ] && cmp -s "$manifest" "$staged/bundle.manifest" && [ -z "$(list_files "$staged" | LC_ALL=C sort | diff "$scratch/wanted" -)" ]; then
    step ok "bundle $version"
    return
  fi
  if [ -n "$dry_run" ]; then
    step skipped "bundle $version" "would be copied to $staged"
    staged=$bundle
    return
  fi
  incoming=$(r "/var/lib/yizhan/bundles/.incoming")
  rm -rf "$incoming"
  mkdir -p "$incoming"
  chmod 0700 "$(r /var/lib/yizhan/bundles)"
  if ! { if [ -d "$bundle" ]; then cp -r "$bundle/." "$incoming/"; else tar -xf "$bundle" -C "$incoming" --no-same-owner; fi; }; then
    rm -rf "$incoming"
    echo "bootstrap.sh: the bundle could not be copied to $(r /var/lib/yizhan/bundles)." >&2
    return 1
  fi
  # What counts is what is on this disk: the source may be a stick that was pulled out or exchanged since.
  if ! cmp -s "$manifest" "$incoming/bundle.manifest" || [ -n "$(list_files "$incoming" | LC_ALL=C sort | diff "$scratch/wanted" -)" ]; then
    rm -rf "$incoming"
    check_result Fatal bundle.digest "the copy on this disk is not the bundle" "look at the disk (dmesg), then run it again" 30
    finish 30
  fi
  sync -f "$incoming"
  rm -rf "$staged"
  mv "$incoming" "$staged"
  step changed "bundle $version"
}

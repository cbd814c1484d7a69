# shellcheck shell=bash
# From a staged bundle to running services: want, have, change.

: "${here:=}" "${npu:=none}" "${root:=}" "${worst:=0}" "${runtime:=k3s}" "${role:=server}" "${server:=}" "${token_file:=}" "${scratch:=}" "${trusted:=}" "${manifest:=}"

# state NAME: a value of what is remembered between runs; empty when there is none.
state() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" "$(r /var/lib/yizhan/bootstrap.json)" 2>/dev/null || true; }

# remember INSTALLED PREVIOUS NEWEST
remember() {
  printf '{"site":"%s","runtime":"%s","installed":"%s","previous":"%s","newest":"%s"}\n' "$(field site)" "$runtime" "$1" "$2" "$3" >"$scratch/state"
  put "$scratch/state" /var/lib/yizhan/bootstrap.json 600
}

# Changes of the running system are for a root that runs: an image that is being prepared gets files and enabled units only.
on_this_machine() { [ -z "$root" ] || [ -n "${YIZHAN_BOOTSTRAP_COMMANDS:-}" ]; }

# put SOURCE DESTINATION MODE: the old content or the new one, never half of it, also after a power cut.
put() {
  local to
  to=$(r "$2")
  if [ -f "$to" ] && cmp -s "$1" "$to" && [ "$(stat -c %a "$to")" = "$3" ]; then
    step ok "$2"
  elif [ -n "$dry_run" ]; then
    step skipped "$2" "would be written"
  else
    mkdir -p "$(dirname "$to")"
    if ! { install -m "$3" "$1" "$to.new" && sync "$to.new" && mv "$to.new" "$to" && sync "$(dirname "$to")"; }; then
      rm -f "$to.new"
      step failed "$2"
      return 1
    fi
    case $2 in
      /var/lib/yizhan/* | /var/lib/rancher/* | /usr/local/lib/yizhan/* | /usr/share/mender/*) ;;
      *) : >"$(r /var/lib/yizhan/restart-needed)" ;;
    esac
    step changed "$2"
  fi
}

# put_text DESTINATION MODE <TEXT
put_text() { cat >"$scratch/text" && put "$scratch/text" "$1" "$2"; }

# put_all FOLDER DESTINATION MODE: every file of a folder of the bundle, when it has that folder.
put_all() {
  local file
  [ -d "$1" ] || return 0
  while IFS= read -r file; do
    put "$1/$file" "$2/$file" "$3"
  done < <(cd "$1" && find . -type f -printf '%P\n' | LC_ALL=C sort)
}

install_bundle() {
  local from=$1 version installed previous newest
  version=$(field version) installed=$(state installed) previous=$(state previous) newest=$(state newest)
  check_binaries "$from"
  check_certificates "$from/pki"
  stop_at_failure
  [ -n "$dry_run" ] || mkdir -p "$(r /var/lib/yizhan)"
  put "$trusted" /etc/yizhan/bundle.pub 644
  # What installs updates later, asked by Mender's client or by hand, stays on the box.
  put "$here/bootstrap.sh" /usr/local/lib/yizhan/edge/bootstrap.sh 755
  put "$here/update-gate.sh" /usr/local/lib/yizhan/edge/update-gate.sh 755
  put_all "$here/lib" /usr/local/lib/yizhan/edge/lib 644
  put_all "$here/mender" /usr/local/lib/yizhan/edge/mender 755
  put "$here/mender/yizhan-bundle" /usr/share/mender/modules/v3/yizhan-bundle 755
  put_all "$from/bin" /usr/local/bin 755
  install_pki "$from/pki"
  put_all "$from/licences" /etc/yizhan/licences 600
  put_all "$from/models" /var/lib/yizhan/models 644
  [ ! -e "$from/site.yaml" ] || put "$from/site.yaml" /etc/yizhan/site.yaml 644
  put_all "$from/node" /etc/yizhan/node 600
  "install_$runtime" "$from"
  start_services
  if [ "$installed" = "$version" ]; then
    remember "$version" "$previous" "${newest:-$version}"
  elif [ -n "${going_back:-}" ]; then
    remember "$version" "" "$newest"
  else
    remember "$version" "$installed" "$version"
  fi
  prune_bundles "$version"
}

# A binary of another machine is refused by its ELF header, whatever its name says: 0xB7 is AArch64, 0x3E x86-64.
check_binaries() {
  local file machine want=b7 needed
  case $runtime in k3s) needed='k3s' ;; docker) needed='' ;; containerd) needed='containerd nerdctl runc' ;; esac
  for file in $needed; do
    if [ ! -f "$1/bin/$file" ]; then
      check_result Failed "runtime.$file" "the bundle has no bin/$file, and --runtime is $runtime" "yizhan bundle build --bin $file" 50
      return
    fi
  done
  [ "$(node_arch)" = arm64 ] || want=3e
  while IFS= read -r file; do
    [ "$(head -c 4 "$file" | od -An -tx1 | tr -d ' \n')" = 7f454c46 ] || continue
    machine=$(od -An -tx1 -j18 -N1 "$file" | tr -d ' \n')
    if [ "$machine" != "$want" ]; then
      check_result Fatal bundle.arch "${file#"$1"/} is built for another processor (ELF machine 0x$machine)" "yizhan bundle build --arch $(node_arch)" 30
      return
    fi
  done < <(find "$1/bin" -type f 2>/dev/null)
}

check_certificates() {
  if [ ! -e "$1/root.crt" ]; then
    check_result Failed cert.root "the bundle has no pki/root.crt" "build it with --root-certificate: the box must know whom to trust before it first calls the centre" 40
    return
  fi
  if [ ! -e "$1/site.crt" ]; then
    check_result Warning cert.site "none in the bundle; this box makes its own key and a request" "enrol it: /etc/yizhan/pki/site.csr"
    return
  fi
  if ! openssl verify -CAfile "$1/root.crt" "$1/site.crt" >/dev/null 2>&1; then
    check_result Failed cert.site "it is expired, not valid yet, or not of this root: $(openssl x509 -noout -enddate -in "$1/site.crt" 2>&1 | head -n 1)" "issue a new one at the centre and build the bundle again" 40
  elif [ "$(openssl x509 -noout -pubkey -in "$1/site.crt")" != "$(openssl pkey -pubout -in "$1/site.key" 2>/dev/null)" ]; then
    check_result Failed cert.key "pki/site.key is not the key of pki/site.crt" "issue both again and build the bundle again" 40
  elif ! openssl x509 -checkend $((14 * 86400)) -noout -in "$1/site.crt" >/dev/null; then
    check_result Warning cert.notafter "$(openssl x509 -noout -enddate -in "$1/site.crt")" "issue a new one within two weeks"
  else
    check_result Ok cert.notafter "$(openssl x509 -noout -enddate -in "$1/site.crt")"
  fi
}

# The key of a box that makes its own never leaves it; what leaves is the request.
install_pki() {
  local pki
  pki=$(r /etc/yizhan/pki)
  put "$1/root.crt" /etc/yizhan/pki/root.crt 644
  if [ -e "$1/site.crt" ]; then
    put "$1/site.key" /etc/yizhan/pki/site.key 600
    put "$1/site.crt" /etc/yizhan/pki/site.crt 644
  elif [ -e "$pki/site.crt" ]; then
    step ok /etc/yizhan/pki/site.crt
  elif [ -e "$pki/site.csr" ]; then
    step ok /etc/yizhan/pki/site.csr
  elif [ -n "$dry_run" ]; then
    step skipped /etc/yizhan/pki/site.csr "would be made"
  else
    (umask 077 && openssl ecparam -name prime256v1 -genkey -noout -out "$pki/site.key.new" && mv "$pki/site.key.new" "$pki/site.key")
    openssl req -new -key "$pki/site.key" -subj "/CN=$(field site)" -out "$pki/site.csr.new"
    mv "$pki/site.csr.new" "$pki/site.csr"
    step changed /etc/yizhan/pki/site.csr
  fi
}

# One k3s server for each site: an agent that starts again while its server is away starts nothing.
install_k3s() {
  local image
  put_text /etc/sysctl.d/90-yizhan-kubelet.conf 644 <<'END'
vm.panic_on_oom=0
vm.overcommit_memory=1
kernel.panic=10
kernel.panic_on_oops=1
END
  if [ "$role" = server ]; then
    put_text /etc/rancher/k3s/config.yaml 600 <<END
write-kubeconfig-mode: "0600"
secrets-encryption: true
protect-kernel-defaults: true
disable-default-registry-endpoint: true
node-label: [yizhan.io/site=$(field site), yizhan.io/npu=$npu]
END
  else
    put_text /etc/rancher/k3s/config.yaml 600 <<END
server: $server
token-file: /etc/rancher/k3s/token
protect-kernel-defaults: true
node-label: [yizhan.io/site=$(field site), yizhan.io/npu=$npu]
END
    put "$token_file" /etc/rancher/k3s/token 600
  fi
  # Nothing is asked of a registry: what is not in the bundle is an error at once, not a pod that waits for a line.
  put_text /etc/rancher/k3s/registries.yaml 600 <<'END'
mirrors:
  "*":
    endpoint: []
END
  put_text /etc/nerdctl/nerdctl.toml 644 <<'END'
address = "unix:///run/k3s/containerd/containerd.sock"
namespace = "k8s.io"
snapshotter = "overlayfs"
END
  while IFS= read -r image; do
    put_link "$1/images/$image" "/var/lib/rancher/k3s/agent/images/$image"
  done < <(cd "$1/images" 2>/dev/null && find . -type f -printf '%P\n' | LC_ALL=C sort)
  if [ "$role" = server ]; then
    put_all "$1/kubernetes" /var/lib/rancher/k3s/server/manifests/yizhan 600
    put_secrets
  fi
  put_text /etc/systemd/system/k3s.service 644 <<END
[Unit]
Description=Kubernetes of this site
After=network.target

[Service]
Type=notify
ExecStart=/usr/local/bin/k3s $role
KillMode=process
Delegate=yes
LimitNOFILE=1048576
TasksMax=infinity
TimeoutStartSec=0
Restart=always
RestartSec=5s

[Install]
WantedBy=multi-user.target
END
  unit=k3s.service
}

# put_secrets: what the manifests of a site name and do not bring. The password of Orthanc is made once and stays on the box.
put_secrets() {
  local pki
  pki=$(r /etc/yizhan/pki)
  [ ! -e "$pki/site.crt" ] || put_text /var/lib/rancher/k3s/server/manifests/yizhan/zz-station-link.yaml 600 <<END
apiVersion: v1
kind: Secret
metadata: {name: station-link, namespace: edge}
data:
  site.crt: $(base64 -w0 "$pki/site.crt")
  site.key: $(base64 -w0 "$pki/site.key")
  root.crt: $(base64 -w0 "$pki/root.crt")
END
  put_text /var/lib/rancher/k3s/server/manifests/yizhan/zz-orthanc.yaml 600 <<END
apiVersion: v1
kind: Secret
metadata: {name: orthanc, namespace: edge}
stringData:
  orthanc.json: '{"AuthenticationEnabled": true, "RegisteredUsers": {"yizhan": "$(kept_secret ORTHANC_PASSWORD)"}}'
END
}

# kept_secret NAME: its value in /etc/yizhan/secrets.env, made at the first time.
kept_secret() {
  local file value
  file=$(r /etc/yizhan/secrets.env)
  value=$(sed -n "s/^$1=//p" "$file" 2>/dev/null | head -n 1)
  if [ -z "$value" ]; then
    value=$(openssl rand -hex 16)
    [ -n "$dry_run" ] || (umask 077 && { cat "$file" 2>/dev/null || true; echo "$1=$value"; } >"$file.new" && sync "$file.new" && mv "$file.new" "$file")
  fi
  printf %s "$value"
}

# Images are large: they are in the staged bundle once and under their other name without a copy.
put_link() {
  local to
  to=$(r "$2")
  if [ -f "$to" ] && { [ "$1" -ef "$to" ] || cmp -s "$1" "$to"; }; then
    step ok "$2"
  elif [ -n "$dry_run" ]; then
    step skipped "$2" "would be linked"
  else
    mkdir -p "$(dirname "$to")"
    ln -f "$1" "$to" 2>/dev/null || put "$1" "$2" 644
    : >"$(r /var/lib/yizhan/restart-needed)"
    step changed "$2"
  fi
}

install_docker() {
  if on_this_machine && ! command -v docker >/dev/null; then
    check_result Failed runtime.docker "there is no docker on this box" "install the board vendor's docker package, or take --runtime containerd, which the bundle brings" 50
    finish 50
  fi
  load_images "$1" docker load --input
  install_compose "$1" docker.service "/usr/bin/env docker compose"
}

install_containerd() {
  put_text /etc/containerd/config.toml 644 <<'END'
version = 2
END
  put_text /etc/nerdctl/nerdctl.toml 644 <<'END'
address = "unix:///run/containerd/containerd.sock"
namespace = "default"
snapshotter = "overlayfs"
END
  put_text /etc/systemd/system/containerd.service 644 <<'END'
[Unit]
Description=containerd
After=network.target

[Service]
Type=notify
ExecStart=/usr/local/bin/containerd
Delegate=yes
KillMode=process
Restart=always
RestartSec=5
LimitNOFILE=1048576
TasksMax=infinity

[Install]
WantedBy=multi-user.target
END
  unit=containerd.service
  start_services
  load_images "$1" nerdctl load --input
  install_compose "$1" containerd.service "/usr/local/bin/nerdctl compose"
}

# load_images BUNDLE COMMAND...: each image once; the mark is its digest, so that an altered one is loaded again.
load_images() {
  local from=$1 digest path mark
  shift
  while read -r digest _ path; do
    mark=/var/lib/yizhan/loaded/$runtime-$digest
    if [ -e "$(r "$mark")" ]; then
      step ok "$path"
    elif on_this_machine && [ -z "$dry_run" ]; then
      run "$@" "$from/$path"
      mkdir -p "$(r /var/lib/yizhan/loaded)"
      # What runs is of the old image until it is started anew.
      : >"$(r /var/lib/yizhan/restart-needed)"
      : >"$(r "$mark")"
      step changed "$path"
    else
      step skipped "$path" "is loaded when this root runs"
    fi
  done < <(sed -n 's/^file //p' "$manifest" | grep -E ' images/')
}

# install_compose BUNDLE ENGINE COMMAND
install_compose() {
  local services=edge
  # Mounted into containers, whose user reads them; secrets are in .env.
  put_all "$1/compose" /opt/yizhan 644
  read_images "$1"
  put_environment "$1/compose/env.example"
  put_site_pki
  put_text /etc/systemd/system/yizhan.service 644 <<END
[Unit]
Description=Yizhan at this site
Requires=$2
After=$2
# A box that asks for its certificate starts when it has one: bootstrap.sh repair.
ConditionPathExists=/opt/yizhan/pki/certificate.pem

[Service]
Type=oneshot
RemainAfterExit=yes
WorkingDirectory=/opt/yizhan
ExecStart=$3 --profile edge up --detach $services
ExecStop=$3 --profile edge down

[Install]
WantedBy=multi-user.target
END
  unit=yizhan.service
}

# read_images BUNDLE: which images it brings, by what `docker save` wrote down. Sets services to those that can be started, and tags.
read_images() {
  local file tag
  declare -gA tags=()
  while IFS= read -r file; do
    while IFS= read -r tag; do
      case $tag in
        */host:*) tags[YIZHAN_IMAGES]=${tag%/host:*} tags[YIZHAN_VERSION]=${tag##*:} ;;
        */ai-infer:*) services+=" monai-infer" ;;
        */nmt-asr:*) services+=" espnet" ;;
        *orthanc*:*) services+=" orthanc" tags[ORTHANC_IMAGE]=$tag ;;
      esac
    done < <(tar -xOf "$1/images/$file" manifest.json 2>/dev/null | grep -oE '"RepoTags":\["[^"]+"' | cut -d'"' -f4)
  done < <(cd "$1/images" 2>/dev/null && find . -type f -printf '%P\n' | LC_ALL=C sort)
}

# put_environment EXAMPLE: what the stack asks for: secrets are made once and stay, the rest is of the bundle.
put_environment() {
  local name value line
  [ -f "$1" ] || return 0
  # Modalities are on the site's network; who may send is in edge.yaml and in the site's configuration.
  tags[BIND]=0.0.0.0 tags[SITE_PKI]=/opt/yizhan/pki tags[SITE_ID]=$(field site)
  value=$(sed -n 's/^ *centreUrl: *"\{0,1\}\(https:[^" ]*\).*/\1/p' "$(r /etc/yizhan/site.yaml)" 2>/dev/null | head -n 1)
  [ -z "$value" ] || tags[CENTRE_URL]=$value
  while IFS= read -r line; do
    name=${line%%=*} value=${line#*=}
    if [[ $line != [A-Z]*=* ]]; then
      echo "$line"
    elif [ -n "${tags[$name]:-}" ]; then
      echo "$name=${tags[$name]}"
    else
      [ -n "$value" ] || value=$(kept_secret "$name")
      echo "$name=$value"
    fi
  done <"$1" >"$scratch/environment"
  put "$scratch/environment" /opt/yizhan/.env 600
}

# The station renews its certificate there, so a newer one stays. The user of the image reads it, and nobody else.
put_site_pki() {
  local from to
  from=$(r /etc/yizhan/pki) to=$(r /opt/yizhan/pki)
  if [ ! -e "$from/site.crt" ]; then
    step skipped /opt/yizhan/pki "the site has no certificate yet"
    return
  fi
  if [ -z "$dry_run" ] && [ ! -d "$to" ]; then
    mkdir -p "$to"
    chmod 0700 "$to"
    [ "$(id -u)" != 0 ] || chown 10001:10001 "$to"
  fi
  if [ ! -e "$to/certificate.pem" ] || [ "$(begins "$from/site.crt")" -gt "$(begins "$to/certificate.pem")" ]; then
    put_owned "$from/site.key" key.pem
    put_owned "$from/root.crt" root.crt
    put_owned "$from/site.crt" certificate.pem
  else
    step ok /opt/yizhan/pki
  fi
}

put_owned() {
  put "$1" "/opt/yizhan/pki/$2" 600
  [ -n "$dry_run" ] || [ "$(id -u)" != 0 ] || chown 10001:10001 "$(r "/opt/yizhan/pki/$2")"
}

# begins CERTIFICATE: Unix time; 0 when it cannot be read.
begins() { date -d "$(openssl x509 -noout -startdate -in "$1" 2>/dev/null | cut -d= -f2)" +%s 2>/dev/null || echo 0; }

# start_services: enabled always; restarted when a file changed since they last started, also when that was in a run that was cut off.
start_services() {
  local marker
  marker=$(r /var/lib/yizhan/restart-needed)
  if ! on_this_machine; then
    if [ -z "$dry_run" ] && [ ! -e "$(r "/etc/systemd/system/multi-user.target.wants/$unit")" ]; then
      mkdir -p "$(r /etc/systemd/system/multi-user.target.wants)"
      ln -s "../$unit" "$(r "/etc/systemd/system/multi-user.target.wants/$unit")"
      step changed "enable $unit"
    else
      step ok "enable $unit"
    fi
    return
  fi
  if [ ! -e "$marker" ] && systemctl is-enabled --quiet "$unit" && systemctl is-active --quiet "$unit"; then
    step ok "$unit"
    return
  fi
  run systemctl daemon-reload
  run systemctl enable "$unit"
  run systemctl restart "$unit"
  if [ -z "$dry_run" ]; then
    rm -f "$marker"
    step changed "$unit"
  else
    step skipped "$unit" "would be restarted"
  fi
}

# prune_bundles KEEP: the running one and the one before it stay.
prune_bundles() {
  local folder name previous
  previous=$(state previous)
  for folder in "$(r /var/lib/yizhan/bundles)"/*/; do
    name=$(basename "$folder")
    if [ -d "$folder" ] && [ "$name" != "$1" ] && [ "$name" != "$previous" ] && [ -z "$dry_run" ]; then
      rm -rf "$folder"
      step changed "remove bundle $name"
    fi
  done
}

rollback_bundle() { install_again "$(state previous)" rollback.previous "there is no bundle before the installed one"; }

repair_bundle() { install_again "$(state installed)" repair.installed "no bundle is installed"; }

# install_again VERSION ID WHY-NOT: a bundle that was accepted in its time and is still on the box.
install_again() {
  if [ -z "$1" ] || [ ! -d "$(r "/var/lib/yizhan/bundles/$1")" ]; then
    check_result Failed "$2" "$3" "install the one that you want with: bootstrap.sh install --bundle" 30
    finish 30
  fi
  runtime=$(state runtime)
  bundle=$(r "/var/lib/yizhan/bundles/$1") going_back=yes
  check_soc
  check_npu
  stop_at_failure
  check_bundle "$bundle"
  stop_at_failure
  install_bundle "$bundle"
}

# register: the control planes pull, so what a site does is to have their agent's manifests and its own certificate. The centre's
# registry shows the site when its station first calls.
register_site() {
  local folder plane installed
  installed=$(state installed)
  if [ -z "$installed" ]; then
    check_result Failed register.installed "nothing is installed" "bootstrap.sh install comes first" 60
    finish 60
  fi
  bundle=$(r "/var/lib/yizhan/bundles/$installed") going_back=yes runtime=$(state runtime)
  check_bundle "$bundle"
  stop_at_failure
  if [ ! -e "$(r /etc/yizhan/pki/site.crt)" ]; then
    check_result Failed register.certificate "the site has no certificate yet" "enrol it with /etc/yizhan/pki/site.csr and put the answer to /etc/yizhan/pki/site.crt" 60
    finish 60
  fi
  check_result Ok register.registry "the station calls the centre with its certificate; 'yizhan' at the centre shows the site from then on"
  folder=$bundle/register
  for plane in fleet argocd; do
    if [ ! -d "$folder/$plane" ]; then
      check_result Skipped "register.$plane" "the bundle brings nothing for it" "yizhan bundle build --register $plane=FOLDER"
    elif [ "$runtime" != k3s ]; then
      check_result Skipped "register.$plane" "it manages Kubernetes clusters, and this box runs $runtime" "install with --runtime k3s"
    else
      put_all "$folder/$plane" "/var/lib/rancher/k3s/server/manifests/yizhan-$plane" 600
    fi
  done
}

verify_installed() {
  local installed folder digest path name
  installed=$(state installed)
  if [ -z "$installed" ]; then
    check_result Failed verify.installed "nothing is installed" "bootstrap.sh install --bundle FILE" 50
    return
  fi
  runtime=$(state runtime) folder=$(r "/var/lib/yizhan/bundles/$installed") going_back=yes
  check_bundle "$folder"
  while read -r digest _ path; do
    name=/usr/local/$path
    if [ "$(sha256sum <"$(r "$name")" 2>/dev/null | cut -d' ' -f1)" = "$digest" ]; then
      check_result Ok "verify.$(basename "$path")" "as signed"
    else
      check_result Failed "verify.$(basename "$path")" "$name is missing or altered" "bootstrap.sh install --bundle FILE" 50
    fi
  done < <(sed -n 's/^file //p' "$manifest" | grep -E ' bin/')
  case $runtime in k3s) unit=k3s.service ;; *) unit=yizhan.service ;; esac
  if ! on_this_machine; then
    check_result Skipped verify.running "$root is not the root that runs" "run it on the box"
  elif systemctl is-active --quiet "$unit"; then
    check_result Ok verify.running "$unit"
  else
    check_result Failed verify.running "$unit does not run" "journalctl -u $unit" 50
  fi
  if [ -e "$(r /etc/yizhan/pki/site.crt)" ]; then
    if openssl verify -CAfile "$(r /etc/yizhan/pki/root.crt)" "$(r /etc/yizhan/pki/site.crt)" >/dev/null 2>&1; then
      check_result Ok verify.certificate "valid under the installation's root"
    else
      check_result Failed verify.certificate "expired or not of this root" "enrol the site again" 40
    fi
  else
    check_result Warning verify.certificate "the site has none yet" "enrol it with /etc/yizhan/pki/site.csr"
  fi
}
